"""What a form may hold: the JSON Schema check and the guard against hostile values.

Knows JSON Schema draft-07 and the characters that Argo, Kubernetes or a terminal would act on
(argo-recordings, section 9). Must not know any one action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema_rs import Draft7Validator, ValidationError, ValidationErrorKind

from bridge.domain.errors import FieldError, InputInvalid
from bridge.domain.json_schema import compile_schema

BRACES_ALLOWED = "x-bridge-allow-braces"
"""Set to true on a string schema to accept single braces in it (free text)."""

_MAX_DEPTH = 16
_MAX_NAME = 200
_MAX_ERRORS = 50
_MAX_MESSAGE = 300
_TAGS = re.compile(r"\{\{|\}\}|\$\(")
# Controls but tab and newline, DEL and C1, bidirectional overrides, lone surrogates, what YAML
# does not take, plane 14.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff\U000e0000-\U000effff]"
)


def forbidden_text(text: str, *, braces: bool = False) -> str | None:
    """Why *text* must not reach Argo, or None if it may.

    Argo expands ``{{…}}`` inside submitted values, Kubernetes expands ``$(NAME)`` in env values,
    and control or plane-14 characters leave a workflow invalid (argo-recordings, section 9).
    What ends with half a tag could be completed by a value that a template puts behind it.
    """
    tag = _TAGS.search(text)
    if tag is not None:
        return f"must not contain {tag[0]!r}: Argo or Kubernetes would expand it"
    if text.endswith(("$", "{")):
        return (
            f"must not end with {text[-1]!r}: with what follows, Argo or Kubernetes may expand it"
        )
    control = _CONTROLS.search(text)
    if control is not None:
        return f"must not contain the control character U+{ord(control[0]):04X}"
    # Argo writes these as \U…, which is no JSON, so that the workflow is invalid.
    strange = next((rune for rune in text if rune > "\uffff" and not rune.isprintable()), None)
    if strange is not None:
        return f"must not contain the character U+{ord(strange):04X}, which Argo cannot hold"
    if not braces and ("{" in text or "}" in text):
        return "must not contain braces"
    return None


def _forbidden_name(name: str) -> str | None:
    """Why a field must not be called *name*, or None if it may."""
    if len(name) > _MAX_NAME:
        return f"is longer than {_MAX_NAME} characters"
    return forbidden_text(name)


@dataclass(frozen=True, slots=True)
class InputSchema:
    """A compiled draft-07 schema of an action's input."""

    schema: Mapping[str, Any]
    validator: Draft7Validator

    @classmethod
    def compile(cls, schema: Mapping[str, Any]) -> InputSchema:
        """Compile *schema*.

        Raises:
            ValueError: See :func:`compile_schema`.
        """
        return cls(schema=schema, validator=compile_schema(schema))

    def check(self, value: Any, *, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The input with defaults applied.

        Args:
            value: What was given.
            secret: Fields whose values no message may quote.

        Raises:
            InputInvalid: With an entry for every field that is wrong.
        """
        if not isinstance(value, Mapping):
            raise InputInvalid(errors=(FieldError("", "must be an object"),))
        shape = tuple(islice(_hostile(value, self.schema, "", 0), _MAX_ERRORS))
        if shape:
            raise _invalid(shape)
        filled: dict[str, Any] = with_defaults(value, self.schema)
        wrong = self.validator.iter_errors(filled)
        found = (each for error in wrong for each in _told(error, secret))
        errors = tuple(islice(found, _MAX_ERRORS))
        if errors:
            raise _invalid(errors)
        return filled

    def matches(self, value: Any) -> bool:
        """Whether *value* fits, for ``when`` conditions."""
        return bool(self.validator.is_valid(value))


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """*value* with the ``default`` of each absent property filled in, nested objects too."""
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not isinstance(properties, Mapping):
        return value
    filled = dict(value)
    for name, child in properties.items():
        if not isinstance(child, Mapping):
            continue
        if name in filled:
            filled[name] = with_defaults(filled[name], child)
        elif "default" in child:
            filled[name] = child["default"]
    return filled


def _invalid(errors: tuple[FieldError, ...]) -> InputInvalid:
    count = "1 field needs" if len(errors) == 1 else f"{len(errors)} fields need"
    listed = "; ".join(f"{e.pointer.lstrip('/') or 'input'}: {e.message}" for e in errors)
    return InputInvalid(f"{count} attention: {_one_line(listed)}", errors=errors)


def _pointer(*segments: object) -> str:
    escaped = (str(segment).replace("~", "~0").replace("/", "~1") for segment in segments)
    return "".join(f"/{segment}" for segment in escaped)


def _told(error: ValidationError, secret: frozenset[str]) -> Iterator[FieldError]:
    path = tuple(error.instance_path)
    match error.kind:
        case ValidationErrorKind.Required(property=name):
            yield FieldError(_pointer(*path, name), "is required")
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield FieldError(_pointer(*path, name), "is not a field of this action")
        case _ if secret and (not path or path[0] in secret):  # the message quotes the value
            yield FieldError(_pointer(*path), f"does not fit the {error.schema_path[-1]}")
        case _:
            yield FieldError(_pointer(*path), _shortened(error.message))


def _one_line(text: str) -> str:
    """*text* without what a log would take for the end of a line."""
    return " ".join(text.splitlines())


def _shortened(message: str) -> str:
    """The message, which repeats the value, on one line and without the middle of it."""
    message = _one_line(message)
    if len(message) <= _MAX_MESSAGE:
        return message
    half = _MAX_MESSAGE // 2
    return f"{message[:half]} … {message[-half:]}"


def _hostile(
    value: Any, schema: Mapping[str, Any], pointer: str, depth: int
) -> Iterator[FieldError]:
    if depth > _MAX_DEPTH:
        yield FieldError(pointer, f"is nested more than {_MAX_DEPTH} levels deep")
        return
    match value:
        case str():
            reason = forbidden_text(value, braces=bool(schema.get(BRACES_ALLOWED)))
            if reason is not None:
                yield FieldError(pointer, reason)
        case Mapping():
            properties = schema.get("properties", {})
            for name, item in value.items():
                reason = _forbidden_name(str(name))
                if reason is not None:
                    yield FieldError(pointer, f"has a name that {reason}")
                    continue
                child = properties.get(name) if isinstance(properties, Mapping) else None
                below = child if isinstance(child, Mapping) else {}
                yield from _hostile(item, below, pointer + _pointer(name), depth + 1)
        case list():
            items = schema.get("items")
            below = items if isinstance(items, Mapping) else {}
            for index, item in enumerate(value):
                yield from _hostile(item, below, pointer + _pointer(index), depth + 1)
