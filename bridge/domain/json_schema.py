"""The JSON Schema engine, with bounds on what a schema can cost.

Knows draft-07 validators and how dear a pattern can be (ADR 0009). Must not know what the schemas
are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Never

from jsonschema_rs import Draft7Validator, FancyRegexOptions, ValidationError

MAX_PATTERN_TEXT = 1_000
"""Characters that a pattern is tried on. Longer text does not match: a look-ahead takes time by
the square of the length (8 s for 64 KiB, 3 ms for a thousand characters)."""

_BACKTRACKS = 10_000
_COMPILED_BYTES = 1024 * 1024


def compile_schema(schema: Mapping[str, Any]) -> Draft7Validator:
    """A validator whose patterns are bounded and which never fetches another document.

    Raises:
        ValueError: It is not a valid draft-07 schema, a pattern is not an ECMA one or too large,
            or a ``$ref`` leads out of the schema.
    """
    try:
        return Draft7Validator(
            dict(schema),
            pattern_options=_options(),
            keywords={"pattern": _Pattern},
            retriever=_refuse,
        )
    except ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path)
        raise ValueError(f"{where}: {error.message}{_advice(where)}") from error


def _options() -> FancyRegexOptions:
    return FancyRegexOptions(backtrack_limit=_BACKTRACKS, size_limit=_COMPILED_BYTES)


def _advice(where: str) -> str:
    if not where.endswith("pattern"):
        return ""
    return " of ECMA, or it grows too large by counted repetitions: leave lengths to maxLength"


def _refuse(address: str) -> Never:
    raise ValueError(f"{address} is another document; only references within the schema work")


class _Pattern:
    """The keyword ``pattern`` for text of a bounded length."""

    def __init__(
        self, parent_schema: Mapping[str, Any], value: str, schema_path: list[str | int]
    ) -> None:
        del parent_schema, schema_path
        self._validator = Draft7Validator({"pattern": value}, pattern_options=_options())

    def validate(self, instance: Any) -> None:
        """Raise ValueError if *instance* is text that does not match."""
        if not isinstance(instance, str):
            return
        if len(instance) > MAX_PATTERN_TEXT:
            raise ValueError(f"is longer than {MAX_PATTERN_TEXT} characters")
        for error in self._validator.iter_errors(instance):
            raise ValueError(error.message)
