"""What a resource template waits for and reads: conditions and output values.

Knows `successCondition`, `failureCondition` (Kubernetes label selectors whose keys are paths into
the object), `jsonPath` and `jqFilter`. Must not know how objects are fetched or how often.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.localargo.expression_functions import show, to_json
from bridge.localargo.paths import MissingKeyError, PathError, follow

_OPERATORS = {"=": "=", "==": "==", "!=": "!=", "in": "in", "notin": "notin", ">": "gt", "<": "lt"}
_COMPARISON = re.compile(r"^(\S+?)\s*(==|!=|=|>|<)\s*(\S*)$")
_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^()]*)\)$")
_EXISTS = re.compile(r"^(!?)\s*([^\s!=<>(),]+)$")
_JSON_PATH = re.compile(r"\{([^{}]*)\}")


class ConditionError(Exception):
    """A condition that cannot be read, or a failure condition that holds; Argo's text."""


@dataclass(frozen=True, slots=True)
class _Requirement:
    path: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{{{self.path} {self.operator} [{' '.join(self.values)}]}}"

    def holds(self, found: Mapping[str, Any]) -> bool:
        """Tell whether it holds; an absent key is unequal to everything and in nothing."""
        actual = _text_at(found, self.path)
        if self.operator in ("exists", "!"):
            return (actual is not None) == (self.operator == "exists")
        if self.operator in ("!=", "notin"):
            return actual not in self.values
        if actual is None:
            return False
        if self.operator in ("gt", "lt"):
            return _ordered(actual, self.values[0], self.operator)
        return actual in self.values


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a resource counts as done (`success`, all must hold) or failed (`failure`, any)."""

    success: tuple[_Requirement, ...] = ()
    failure: tuple[_Requirement, ...] = ()

    @classmethod
    def parse(cls, success: str, failure: str) -> Conditions:
        """Read both texts, "" for none; raise ConditionError."""
        return cls(_parse("success", success), _parse("fail", failure))

    def fulfilled(self, found: Mapping[str, Any]) -> bool:
        """Tell whether the wait is over; raise ConditionError if a failure condition holds."""
        for requirement in self.failure:
            if requirement.holds(found):
                raise ConditionError(f"failure condition '{requirement}' evaluated true")
        return all(requirement.holds(found) for requirement in self.success)


def json_path_value(found: Mapping[str, Any], template: str) -> str:
    """Return what `kubectl get -o jsonpath=<template>` prints; a missing key prints nothing.

    Raises PathError for wildcards, filters and ranges.
    """
    if "{" not in template:
        template = f"{{{template}}}"

    def printed(match: re.Match[str]) -> str:
        expression = match[1].strip()
        if expression[:1] in ("'", '"'):
            return expression[1:-1]
        try:
            return _printed(follow(found, expression.removeprefix("$")))
        except MissingKeyError:
            return ""

    return _JSON_PATH.sub(printed, template)


def jq_value(found: Mapping[str, Any], path: str) -> str:
    """Return what `jq -rc <path>` prints, without the last newline; a missing key is `null`.

    Only a path (`.a.b["c"][0]`) is followed; raises PathError for any other filter.
    """
    if not path.startswith("."):
        raise PathError(f"the embedded Argo does not run the jq filter {path}")
    try:
        value = follow(found, path)
    except MissingKeyError:
        value = None
    return value if isinstance(value, str) else to_json(value)


def _parse(which: str, text: str) -> tuple[_Requirement, ...]:
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    return tuple(_requirement(part, which=which, text=text) for part in parts)


def _requirement(part: str, *, which: str, text: str) -> _Requirement:
    if found := _SET.match(part):
        values = tuple(sorted(value.strip() for value in found[3].split(",")))
        return _Requirement(found[1], found[2], values)
    if found := _COMPARISON.match(part):
        return _Requirement(found[1], _OPERATORS[found[2]], (found[3],))
    if found := _EXISTS.match(part):
        return _Requirement(found[2], "!" if found[1] else "exists")
    raise ConditionError(
        f"{which} condition '{text}' failed to parse: unable to parse requirement: "
        f"found '{part}', expected: in, notin, =, ==, !=, gt, lt"
    )


def _text_at(found: Mapping[str, Any], path: str) -> str | None:
    """Return the text of a value as gjson gives it, None if nothing is there."""
    try:
        value = follow(found, path)
    except PathError:
        return None
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def _ordered(actual: str, limit: str, operator: str) -> bool:
    try:
        left, right = int(actual), int(limit)
    except ValueError:
        return False
    return left > right if operator == "gt" else left < right


def _printed(value: Any) -> str:
    return to_json(value) if isinstance(value, list | Mapping) else show(value)
