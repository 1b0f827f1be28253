"""Evaluation of `{{=...}}` expressions: a source text and an environment give a JSON-like value.

Knows expr-lang's values and operators. Must not know tags, workflows or who asks.
A missing key of a known map is nil; an unknown first name is an error (as expr-lang does with
the environment Argo gives it). Nothing but ExpressionError leaves this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from bridge.localargo.expression_functions import ADDED, BUILTINS, OperandError, to_json, type_name
from bridge.localargo.expression_tokens import (
    ExpressionError,
    ExpressionSyntaxError,
    UnsupportedExpressionError,
)
from bridge.localargo.expression_tree import (
    Binary,
    Call,
    Conditional,
    Constant,
    ListOf,
    MapOf,
    Member,
    Name,
    Node,
    Unary,
    parse,
)

__all__ = [
    "ExpressionError",
    "ExpressionSyntaxError",
    "UnsupportedExpressionError",
    "evaluate",
    "identifiers",
    "to_json",
]

_MAX_PATTERN = 200
_MAX_SUBJECT = 10_000
_INT_RANGE = 1 << 64


def evaluate(source: str, env: Mapping[str, Any]) -> Any:
    """Return the value of `source`: None, bool, int, float, str, list or dict.

    `env` maps first names to such values. Argo's functions are always there and win over `env`.
    Raises ExpressionSyntaxError (does not parse), UnsupportedExpressionError (parses in
    expr-lang, not evaluated here) or ExpressionError (fails while evaluating).
    """
    tree = parse(source)
    return _Evaluator(source, {**env, **ADDED}).value(tree)


def identifiers(source: str) -> list[str]:
    """Return the names and dotted paths `source` reads, in order and once each.

    `a.b['c-d']` reads `a`, `a.b` and `a.b.c-d`. Builtins such as `len` are no names. Raises
    ExpressionSyntaxError or UnsupportedExpressionError.
    """
    found: dict[str, None] = {}
    _collect(parse(source), found)
    return list(found)


def _collect(node: Node, found: dict[str, None]) -> None:
    path = _path(node)
    if path:
        found.update(dict.fromkeys(".".join(path[:size]) for size in range(1, len(path) + 1)))
        return
    for child in _children(node):
        _collect(child, found)


def _path(node: Node) -> list[str]:
    keys: list[str] = []
    while isinstance(node, Member):
        if not (isinstance(node.key, Constant) and isinstance(node.key.value, str)):
            return []
        keys.append(node.key.value)
        node = node.base
    return [node.name, *reversed(keys)] if isinstance(node, Name) else []


def _children(node: Node) -> tuple[Node, ...]:
    children: tuple[Node, ...] = ()
    match node:
        case Member():
            children = (node.base, node.key)
        case Unary():
            children = (node.operand,)
        case Binary():
            children = (node.left, node.right)
        case Conditional():
            children = (node.test, node.then, node.otherwise)
        case Call(function=Name(name=name)) if name in BUILTINS:
            children = node.arguments
        case Call():
            children = (node.function, *node.arguments)
        case ListOf():
            children = node.items
        case MapOf():
            children = tuple(part for pair in node.pairs for part in pair)
        case Constant() | Name():
            pass
    return children


class _Evaluator:
    """Values of the nodes of one source in one environment."""

    def __init__(self, source: str, env: Mapping[str, Any]) -> None:
        self._source = source
        self._env = env
        self._by_kind: Mapping[type, Callable[[Any], Any]] = {
            Constant: lambda node: node.value,
            Name: self._name,
            Member: self._member,
            Unary: self._unary,
            Binary: self._binary,
            Conditional: self._condition,
            Call: self._call,
            ListOf: self._list,
            MapOf: self._map,
        }

    def value(self, node: Node) -> Any:
        """Return the value of `node`; one Python frame for each level of the tree and kind."""
        return self._by_kind[type(node)](node)

    def _condition(self, node: Conditional) -> Any:
        test = self._boolean(self.value(node.test), node)
        return self.value(node.then if test else node.otherwise)

    def _list(self, node: ListOf) -> list[Any]:
        return [self.value(item) for item in node.items]

    def _map(self, node: MapOf) -> dict[str, Any]:
        return {str(self.value(key)): self.value(item) for key, item in node.pairs}

    def _fail(self, reason: str, node: Node) -> ExpressionError:
        return ExpressionError(reason, source=self._source, at=node.at)

    def _name(self, node: Name) -> Any:
        if node.name not in self._env:
            raise self._fail(f"unknown name {node.name}", node)
        return self._env[node.name]

    def _member(self, node: Member) -> Any:
        base, key = self.value(node.base), self.value(node.key)
        if base is None and node.optional:
            return None
        if isinstance(base, Mapping) and isinstance(key, str):
            return base.get(key)
        if isinstance(base, list) and isinstance(key, int) and not isinstance(key, bool):
            if not -len(base) <= key < len(base):
                raise self._fail(f"index out of range: {key} (array length is {len(base)})", node)
            return base[key]
        raise self._fail(f"cannot fetch {key} from {type_name(base)}", node.key)

    def _unary(self, node: Unary) -> Any:
        value = self.value(node.operand)
        if node.operator == "!":
            return not self._boolean(value, node)
        if not _is_number(value):
            raise self._fail(
                f"invalid operation: {node.operator} (mismatched type {type_name(value)})", node
            )
        return -value if node.operator == "-" else value

    def _boolean(self, value: Any, node: Node) -> bool:
        if not isinstance(value, bool):
            kind = type_name(value).strip("<>")
            raise self._fail(f"interface conversion: interface {{}} is {kind}, not bool", node)
        return value

    def _binary(self, node: Binary) -> Any:
        left = self.value(node.left)
        if node.operator == "??":
            return self.value(node.right) if left is None else left
        if node.operator in ("&&", "||"):
            decided = self._boolean(left, node) == (node.operator == "||")
            return left if decided else self.value(node.right)
        right = self.value(node.right)
        if node.operator in ("==", "!="):
            self._comparable(node, left, right)
            return _equal(left, right) == (node.operator == "==")
        if node.operator == "in":
            return self._contained(node, left, right)
        return self._operate(node, left, right)

    def _comparable(self, node: Binary, left: Any, right: Any) -> None:
        """Refuse what expr-lang refuses when it compiles: two sides known to differ in type."""
        known = self._known_type(node.left) and self._known_type(node.right)
        if known and None not in (left, right) and _family(left) != _family(right):
            raise self._mismatch(node, left, right)

    def _known_type(self, node: Node) -> bool:
        """Tell whether the type is known before evaluation: constants and first names."""
        return isinstance(node, Constant | Name)

    def _mismatch(self, node: Binary, left: Any, right: Any) -> ExpressionError:
        names, operator = (type_name(left), type_name(right)), node.operator
        if self._known_type(node.left) and self._known_type(node.right):
            reason = f"{operator} (mismatched types {names[0]} and {names[1]})"
        else:
            reason = f"{names[0]} {operator} {names[1]}"
        return self._fail(f"invalid operation: {reason}", node)

    def _contained(self, node: Binary, left: Any, right: Any) -> bool:
        if right is None:
            return False
        if isinstance(right, list):
            return any(_equal(left, item) for item in right)
        if not isinstance(right, Mapping):
            raise self._fail(f'operator "in" not defined on {type_name(right)}', node)
        if left is not None and not isinstance(left, str):
            raise self._fail(f"cannot use {type_name(left)} as type string in map key", node)
        return left in right

    def _operate(self, node: Binary, left: Any, right: Any) -> Any:
        texts = isinstance(left, str) and isinstance(right, str)
        numbers = _is_number(left) and _is_number(right)
        operate = _TEXT.get(node.operator) if texts else None
        if numbers:
            operate = _NUMERIC.get(node.operator)
        if operate is None:
            raise self._mismatch(node, left, right)
        try:
            return _wrapped(operate(left, right))
        except (OperandError, ArithmeticError, re.error) as error:
            raise self._fail(str(error), node) from error

    def _call(self, node: Call) -> Any:
        function = self._function(node)
        arguments = [self.value(argument) for argument in node.arguments]
        try:
            return function(*arguments)
        except TypeError:
            raise self._fail(f"wrong arguments to call {_called(node)}", node) from None
        except OperandError as error:
            raise self._fail(str(error), node) from error

    def _function(self, node: Call) -> Callable[..., Any]:
        if isinstance(node.function, Name) and node.function.name in BUILTINS:
            return BUILTINS[node.function.name]
        function = self.value(node.function)
        if callable(function):
            return cast("Callable[..., Any]", function)
        raise self._fail(f"invalid operation: cannot call {type_name(function)}", node)


def _called(node: Call) -> str:
    return ".".join(_path(node.function)) or "a function"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _family(value: Any) -> str:
    return "number" if _is_number(value) else type_name(value)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return _family(left) == _family(right) and bool(left == right)


def _wrapped(value: Any) -> Any:
    """Keep integers within 64 bits, as Go's arithmetic wraps."""
    if isinstance(value, int) and not isinstance(value, bool):
        half = _INT_RANGE // 2
        return (value + half) % _INT_RANGE - half
    return value


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.copysign(math.inf, left) if left else math.nan


def _modulo(left: Any, right: Any) -> int:
    if not (isinstance(left, int) and isinstance(right, int)):
        raise OperandError("invalid operation: % (mismatched types float64 and int)")
    if right == 0:
        raise OperandError("integer divide by zero")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def _matches(text: str, pattern: str) -> bool:
    """Search with bounds: Python's engine can backtrack for ever, Go's cannot."""
    if len(pattern) > _MAX_PATTERN or len(text) > _MAX_SUBJECT:
        raise OperandError("the embedded Argo does not match a pattern or text of this length")
    return re.search(pattern, text) is not None


_TEXT: Mapping[str, Callable[[str, str], Any]] = {
    "+": lambda left, right: left + right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
    "contains": lambda left, right: right in left,
    "startsWith": lambda left, right: left.startswith(right),
    "endsWith": lambda left, right: left.endswith(right),
    "matches": _matches,
}
_NUMERIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
    "%": _modulo,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
}
