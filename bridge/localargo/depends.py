"""`depends` of a DAG task: a condition over the results of other tasks.

Grammar: names with an optional `.Result`, `&&`, `||`, `!`, parentheses. A bare name means that
the task succeeded, was skipped or is a daemon (and failed, if it may). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

RESULTS = frozenset(
    (
        "Succeeded",
        "Failed",
        "Errored",
        "Skipped",
        "Omitted",
        "Daemoned",
        "AnySucceeded",
        "AllFailed",
    )
)
_TOKEN = re.compile(r"\s*(&&|\|\||!|\(|\)|[A-Za-z0-9_][-A-Za-z0-9_]*(?:\.[A-Za-z]+)?)")


class DependsError(Exception):
    """A condition that cannot be read; `str()` says where."""


def condition_of(task: Mapping[str, Any]) -> str:
    """The condition of a task: its `depends`, or its `dependencies` joined."""
    if task.get("depends"):
        return str(task["depends"])
    return " && ".join(task.get("dependencies") or ())


def tasks_in(condition: str) -> tuple[str, ...]:
    """The names of the tasks that a condition reads, each once, in order."""
    names = (token.partition(".")[0] for token in _tokens(condition))
    return tuple(dict.fromkeys(name for name in names if name not in {"&&", "||", "!", "(", ")"}))


def holds(condition: str, result: Callable[[str, str], bool]) -> bool:
    """Whether the condition holds.

    Args:
        condition: the text.
        result: tells whether a task has a result; for a bare name the result is `""`.

    Raises:
        DependsError: the condition cannot be read.
    """
    tokens = [*_tokens(condition), ""]
    position, value = _or(tokens, 0, result)
    if tokens[position]:
        raise DependsError(f"unexpected '{tokens[position]}' in '{condition}'")
    return value


def _tokens(condition: str) -> list[str]:
    tokens, position = [], 0
    text = condition.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise DependsError(f"cannot read '{text[position:]}' in '{condition}'")
        tokens.append(found[1])
        position = found.end()
    return tokens


_Result = Callable[[str, str], bool]


def _or(tokens: list[str], at: int, result: _Result) -> tuple[int, bool]:
    at, value = _and(tokens, at, result)
    while tokens[at] == "||":
        at, right = _and(tokens, at + 1, result)
        value = value or right
    return at, value


def _and(tokens: list[str], at: int, result: _Result) -> tuple[int, bool]:
    at, value = _not(tokens, at, result)
    while tokens[at] == "&&":
        at, right = _not(tokens, at + 1, result)
        value = value and right
    return at, value


def _not(tokens: list[str], at: int, result: _Result) -> tuple[int, bool]:
    word = tokens[at]
    if word == "!":
        at, value = _not(tokens, at + 1, result)
        return at, not value
    if word == "(":
        at, value = _or(tokens, at + 1, result)
        if tokens[at] != ")":
            raise DependsError("a parenthesis is not closed")
        return at + 1, value
    if word in {"", ")", "&&", "||"}:
        raise DependsError(f"a task name is missing before '{word}'")
    name, _, kind = word.partition(".")
    if kind and kind not in RESULTS:
        raise DependsError(f"unknown result '{kind}' of task '{name}'")
    return at + 1, result(name, kind)
