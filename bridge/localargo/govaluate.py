"""The language of `when`: evaluated after substitution, bare words are strings.

Knows govaluate (github.com/Knetic/govaluate v3.0.1) as Argo calls it: no functions, no
parameters, every variable turned into a string. Must not know tags or templates. Times in quotes
stay strings. Error texts are those of Argo Workflows v4.1 (argo-recordings/injection-when),
misspelling included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.localargo.guard_tokens import (
    AFTER_VALUE,
    COMPARATORS,
    GuardError,
    Token,
    show,
    tokenize,
    words_as_strings,
)

_MAX_DEPTH = 40
_MAX_PATTERN, _MAX_SUBJECT = 200, 10_000
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({","}),
    frozenset({"?", ":", "??"}),
    frozenset({"||"}),
    frozenset({"&&"}),
    COMPARATORS,
    frozenset({"&", "|", "^"}),
    frozenset({">>", "<<"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
    frozenset({"**"}),
)


class WhenError(Exception):
    """A guard without an answer; `str()` is Argo's text after `failed to resolve references: `."""


def should_execute(when: str) -> bool:
    """Return whether the step guarded by `when` (tags already replaced) runs; "" always does.

    Raises WhenError.
    """
    if not when:
        return True
    try:
        tokens = tokenize(when)
    except GuardError as reason:
        raise WhenError(f"Invalid 'when' expression '{when}': {reason}") from None
    try:
        tokens = words_as_strings(tokens)
    except GuardError as reason:
        raise WhenError(f"Failed to parse 'when' expression '{when}': {reason}") from None
    try:
        result = _Evaluation(tokens).result()
    except GuardError as reason:
        raise WhenError(f"Failed to evaluate 'when' expresion '{when}': {reason}") from None
    if not isinstance(result, bool):
        raise WhenError(f"Expected boolean evaluation for '{when}'. Got {show(result)}")
    return result


class _Evaluation:
    """Value of checked tokens: operators of one level associate to the left."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    def result(self) -> Any:
        return self._level(0)()

    def _level(self, level: int) -> Callable[[], Any]:
        if level == len(_LEVELS):
            return self._value()
        left = self._level(level + 1)
        while self._position < len(self._tokens):
            operator = self._tokens[self._position].value
            if not isinstance(operator, str) or operator not in _LEVELS[level]:
                break
            if self._tokens[self._position].kind not in AFTER_VALUE:
                break
            self._position += 1
            left = _joined(operator, left, self._level(level + 1))
        return left

    def _value(self) -> Callable[[], Any]:
        token = self._tokens[self._position]
        if token.kind == "CLAUSE_CLOSE":
            return lambda: None
        self._position += 1
        if token.kind == "CLAUSE":
            return self._clause()
        if token.kind == "PREFIX":
            return _prefixed(token.value, self._value())
        if token.kind == "ACCESSOR":
            return _missing(token.value.split(".")[0])
        return lambda: token.value

    def _clause(self) -> Callable[[], Any]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise GuardError(f"nested more than {_MAX_DEPTH} levels deep")
        inner = self._level(0)
        self._depth -= 1
        self._position += 1
        return inner


def _missing(name: str) -> Callable[[], Any]:
    def fail() -> Any:
        raise GuardError(f"No parameter '{name}' found.")

    return fail


def _prefixed(operator: str, operand: Callable[[], Any]) -> Callable[[], Any]:
    def evaluate() -> Any:
        value = operand()
        if not isinstance(value, bool if operator == "!" else float):
            raise GuardError(f"Value '{show(value)}' cannot be used with the prefix '{operator}'")
        if operator == "!":
            return not value
        return -value if operator == "-" else float(~int(value))

    return evaluate


def _joined(operator: str, left: Callable[[], Any], right: Callable[[], Any]) -> Callable[[], Any]:
    def evaluate() -> Any:
        first = left()
        if operator in ("&&", "||") and first is (operator == "||"):
            return first
        if operator in (":", "??") and first is not None:
            return first
        if operator == "?" and first is False:
            return None
        return _operate(operator, first, right())

    return evaluate


def _operate(operator: str, left: Any, right: Any) -> Any:
    operation = _OPERATIONS[operator]
    refused = operation.refused(left, right)
    if refused is not None:
        raise GuardError(
            f"Value '{show(refused[0])}' cannot be used with the {operation.role} '{operator}', "
            f"it is not a {operation.wanted}"
        )
    try:
        return operation.apply(left, right)
    except (ArithmeticError, ValueError, re.error) as error:
        raise GuardError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Operation:
    """How an operator computes, what it takes, and how its complaint names it.

    `left` and `right` say which operands fit; `both`, if given, decides instead of them.
    """

    apply: Callable[[Any, Any], Any]
    role: str = ""
    wanted: str = "number"
    left: type | None = None
    right: type | None = None
    both: Callable[[Any, Any], bool] | None = None

    def refused(self, left: Any, right: Any) -> tuple[Any] | None:
        """Return the first operand that does not fit, in a tuple of one."""
        if self.both is not None:
            return None if self.both(left, right) else (left,)
        for value, wanted in ((left, self.left), (right, self.right)):
            if wanted is not None and type(value) is not wanted:
                return (value,)
        return None


def _same_kind(left: Any, right: Any) -> bool:
    return type(left) is type(right) and isinstance(left, float | str)


def _addable(left: Any, right: Any) -> bool:
    numbers = isinstance(left, float) and isinstance(right, float)
    return numbers or isinstance(left, str) or isinstance(right, str)


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, float) and isinstance(right, float):
        return left + right
    return show(left) + show(right)


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)


def _found(text: str, pattern: str) -> bool:
    """Search with bounds: Python's engine can backtrack for ever, Go's cannot."""
    if len(pattern) > _MAX_PATTERN or len(text) > _MAX_SUBJECT:
        raise GuardError("the embedded Argo does not match a pattern or text of this length")
    return re.search(pattern, text) is not None


def _listed(left: Any, right: Any) -> list[Any]:
    return [*left, right] if isinstance(left, list) else [left, right]


def _number(apply: Callable[[float, float], float]) -> _Operation:
    return _Operation(apply, role="modifier", left=float, right=float)


def _order(apply: Callable[[Any, Any], bool]) -> _Operation:
    return _Operation(apply, role="comparator", both=_same_kind)


def _text(apply: Callable[[str, str], bool]) -> _Operation:
    return _Operation(apply, role="comparator", left=str, right=str)


def _logic(apply: Callable[[bool, bool], bool]) -> _Operation:
    return _Operation(apply, role="logical operator", wanted="bool", left=bool, right=bool)


_OPERATIONS: Mapping[str, _Operation] = {
    ",": _Operation(_listed),
    "?": _Operation(lambda _, right: right, role="ternary operator", wanted="bool", left=bool),
    ":": _Operation(lambda _, right: right),
    "??": _Operation(lambda _, right: right),
    "&&": _logic(lambda left, right: left and right),
    "||": _logic(lambda left, right: left or right),
    "==": _Operation(lambda left, right: type(left) is type(right) and left == right),
    "!=": _Operation(lambda left, right: type(left) is not type(right) or left != right),
    ">": _order(lambda left, right: left > right),
    ">=": _order(lambda left, right: left >= right),
    "<": _order(lambda left, right: left < right),
    "<=": _order(lambda left, right: left <= right),
    "=~": _text(_found),
    "!~": _text(lambda text, pattern: not _found(text, pattern)),
    "in": _Operation(lambda left, right: left in right, role="comparator", right=list),
    "&": _number(lambda left, right: float(int(left) & int(right))),
    "|": _number(lambda left, right: float(int(left) | int(right))),
    "^": _number(lambda left, right: float(int(left) ^ int(right))),
    ">>": _number(lambda left, right: float(int(left) >> int(right))),
    "<<": _number(lambda left, right: float(int(left) << min(int(right), 63))),
    "+": _Operation(_add, role="modifier", both=_addable),
    "-": _number(lambda left, right: left - right),
    "*": _number(lambda left, right: left * right),
    "/": _number(_divide),
    "%": _number(math.fmod),
    "**": _number(math.pow),
}
