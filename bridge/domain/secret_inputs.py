"""Secret fields of an input: which they are, and how they are kept apart from all others.

Knows how a schema declares a secret and what a definition may do with it. Must not know how a
secret is kept: what leaves this module in its place is ``***``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.domain.redaction import HIDDEN, SHORTEST
from bridge.domain.references import HANDED_ON, Reference

MASK = HIDDEN
"""What a run's input shows in the place of a secret."""
_UNFIT = ("default", "const", "enum", "examples")


@dataclass(frozen=True, slots=True)
class GivenInput:
    """A checked input: what may be shown and kept, and the secrets by their fields."""

    shown: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)


def apart(checked: Mapping[str, Any], fields: frozenset[str]) -> GivenInput:
    """*checked* without the values of *fields*."""
    secrets = {name: str(checked[name]) for name in sorted(fields & checked.keys())}
    return GivenInput({**checked, **dict.fromkeys(secrets, MASK)}, secrets)


def secret_fields(schema: Mapping[str, Any]) -> frozenset[str]:
    """The fields of an input schema that hold secrets: ``writeOnly`` or ``format: password``.

    Raises:
        ValueError: A secret is declared where, or so that, it could not be kept apart.
    """
    properties = schema.get("properties")
    fields = properties if isinstance(properties, Mapping) else {}
    found = frozenset(name for name, child in fields.items() if _is_secret(child))
    rest = {**schema, "properties": {n: c for n, c in fields.items() if n not in found}}
    if any(_is_secret(part) for part in _parts(rest)):
        raise ValueError("a secret must be a field of its own, not a part of another one")
    for name in sorted(found):
        _check(name, fields[name])
    return found


def refuse_secrets(schema: Mapping[str, Any], *, what: str) -> None:
    """Raise ValueError if a schema declares a secret where none can be kept."""
    if any(_is_secret(part) for part in _parts(schema)):
        raise ValueError(f"{what}: only a field of spec.input can be a secret")


def check_use(
    fields: frozenset[str],
    *,
    parameters: Iterable[tuple[str, tuple[Reference, ...]]],
    elsewhere: Iterable[tuple[str, tuple[Reference, ...]]],
) -> None:
    """What a definition may do with secret *fields*: hand each to Argo, in so many words.

    Args:
        fields: The names of the secret fields.
        parameters: The workflow's parameters with what each reads.
        elsewhere: All else that reads, with a name for it.

    Raises:
        ValueError: A secret would be stored or shown, or what is no secret is declared as one.
    """
    for name, references in parameters:
        for reference in references:
            if _reads(reference, fields) != (reference.filter == HANDED_ON):
                where = f"workflow.parameters.{name}"
                if reference.filter == HANDED_ON:
                    raise ValueError(f"{where}: as secret is for fields with writeOnly: true only")
                raise ValueError(
                    f"{where}: input.{reference.path[1]} is secret, and everybody who may look "
                    "into Argo can read a parameter; say `as: secret` if that is meant"
                )
    for where, references in elsewhere:
        for reference in references:
            if _reads(reference, fields) or reference.filter == HANDED_ON:
                raise ValueError(f"{where}: a secret may become a workflow parameter, nothing else")


def _reads(reference: Reference, fields: frozenset[str]) -> bool:
    return reference.path[0] == "input" and reference.path[1] in fields


def _is_secret(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    return schema.get("writeOnly") is True or schema.get("format") == "password"


def _parts(value: Any) -> Iterator[Any]:
    """Everything below a schema that could be one."""
    yield value
    below = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | list | tuple):
        for item in below:
            yield from _parts(item)


def _check(name: str, schema: Mapping[str, Any]) -> None:
    where = f"the secret {name}"
    if schema.get("type") != "string":
        raise ValueError(f"{where} must have the type string")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if not (isinstance(least, int) and least >= SHORTEST):
        raise ValueError(
            f"{where} needs a minLength of {SHORTEST} or more: a shorter one cannot be hidden in "
            "a log without hiding ordinary words"
        )
    if most is None:
        raise ValueError(f"{where} needs a maxLength")
    unfit = [keyword for keyword in _UNFIT if keyword in schema]
    if unfit:
        raise ValueError(f"{where} must not have {unfit[0]}: the definition is shown to everybody")
