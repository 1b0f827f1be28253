"""Selectors of the API: labels, fields of an object, fields of a node.

Knows the syntax and the error texts; compares plain strings. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.localargo.errors import invalid

_IN = re.compile(r"^(!?[^\s=!<>,()]+)\s+(in|notin)\s+\(([^()]*)\)$")
_COMPARE = re.compile(r"^([^\s=!<>,()]+)\s*(==|=|!=)\s*([^\s=!<>,()]*)$")
_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition; `operator` is `in`, `notin`, `exists` or `absent`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the fields fulfil the condition; Kubernetes counts an absent key as unequal."""
        value = fields.get(self.key)
        if self.operator == "exists":
            return value is not None
        if self.operator == "absent":
            return value is None
        if self.operator == "in":
            return value is not None and value in self.values
        return value is None or value not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; none of them matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether all conditions hold."""
        return all(requirement.matches(fields) for requirement in self.requirements)


def parse_labels(text: str) -> Selector:
    """Read a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

    Raises:
        ArgoError: 400 with the text of the Kubernetes parser.
    """
    parts = (part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip())
    return Selector(tuple(_label_requirement(part) for part in parts))


def _label_requirement(part: str) -> Requirement:
    if found := _IN.match(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], found[2], values)
    if found := _COMPARE.match(part):
        operator = "notin" if found[2] == "!=" else "in"
        return Requirement(found[1], operator, frozenset((found[3],)))
    if _NAME.match(part.removeprefix("!")):
        name = part.removeprefix("!")
        return Requirement(name, "absent" if part.startswith("!") else "exists")
    raise invalid(f"unable to parse requirement: {_complaint(part)}")


def _complaint(part: str) -> str:
    found = re.search(r"(?:==|=|!=)\s*([=!<>()])", part)
    if found:
        return f"found '{found[1]}', expected: identifier"
    return f"found '{part}', expected: in, notin, =, ==, !=, gt, lt"


def parse_fields(text: str, *, error: Callable[[str], Exception] = invalid) -> Selector:
    """Read a field selector: `a=b,c!=d` (also `==`).

    Raises:
        Exception: what `error` makes of Kubernetes' text for a part without an operator.
    """
    requirements = []
    for part in (part for part in text.split(",") if part):
        key, operator, value = _split_field(part)
        if not operator:
            raise error(f"invalid selector: '{text}'; can't understand '{part}'")
        kind = "notin" if operator == "!=" else "in"
        requirements.append(Requirement(key.strip(), kind, frozenset((value.strip(),))))
    return Selector(tuple(requirements))


def _split_field(part: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        key, found, value = part.partition(operator)
        if found:
            return key, operator, value
    return part, "", ""
