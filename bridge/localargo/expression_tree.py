"""Grammar of the expression language: tokens in, tree out.

Knows precedence and the shape of each construct. Must not know values or evaluate anything.
Precedence follows expr-lang v1.17 (parser/operator): `??` binds tightest and mixes with no other
operator, `not` binds tighter than a comparison, comparisons chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bridge.localargo.expression_tokens import (
    ExpressionSyntaxError,
    Token,
    UnsupportedExpressionError,
    tokenize,
)

MAX_DEPTH = 40
_BINARY = {
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    "==": 20,
    "!=": 20,
    "<": 20,
    ">": 20,
    ">=": 20,
    "<=": 20,
    "in": 20,
    "matches": 20,
    "contains": 20,
    "startsWith": 20,
    "endsWith": 20,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "??": 500,
}
_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_NEGATABLE = frozenset({"in", "matches", "contains", "startsWith", "endsWith"})
_ORDER = frozenset({"<", ">", "<=", ">="})
_CONSTANTS = {"true": True, "false": False, "nil": None}
_OTHER_BUILTINS = (
    "abs all any bitand bitnand bitnot bitor bitshl bitshr bitushr bitxor ceil concat count date "
    "duration filter find findIndex findLast findLastIndex first flatten floor fromBase64 "
    "fromPairs get groupBy hasPrefix hasSuffix indexOf keys last lastIndexOf map max mean median "
    "min none now one reduce repeat replace reverse round sort sortBy splitAfter sum take timezone "
    "toBase64 toPairs trimPrefix trimSuffix type uniq values"
)
_UNSUPPORTED_FUNCTIONS = frozenset(_OTHER_BUILTINS.split())


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, or a property name after a dot."""

    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A free identifier, looked up in the environment."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    """`base.key` or `base[key]`; `optional` (`?.`) turns a nil base into nil."""

    base: Node
    key: Node
    optional: bool
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`not`, `!`, `-` or `+` before an operand."""

    operator: str
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; word and symbol forms are both stored as the symbol (`and` is `&&`)."""

    operator: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`test ? then : otherwise`."""

    test: Node
    then: Node
    otherwise: Node
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function by name or of a member such as `sprig.upper`."""

    function: Node
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{key: value}`; keys are expressions, identifiers stand for themselves."""

    pairs: tuple[tuple[Node, Node], ...]
    at: int


Node = Constant | Name | Member | Unary | Binary | Conditional | Call | ListOf | MapOf


@lru_cache(maxsize=1_000)
def parse(source: str) -> Node:
    """Return the tree of `source`; raise ExpressionSyntaxError or UnsupportedExpressionError.

    A template has the same expressions in every workflow, and a tree is never changed.
    """
    parser = _Parser(source, tokenize(source))
    tree = parser.expression(0)
    parser.expect_end()
    return tree


class _Parser:
    """One pass over the tokens of one source; holds the position and the nesting depth."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    @property
    def _current(self) -> Token:
        return self._tokens[self._position]

    def _advance(self) -> Token:
        token = self._current
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _unexpected(self, token: Token) -> ExpressionSyntaxError:
        at = min(token.at, max(len(self._source) - 1, 0)) if token.kind == "end" else token.at
        return ExpressionSyntaxError(
            f"unexpected token {token.describe()}", source=self._source, at=at
        )

    def _at(self, text: str) -> bool:
        return self._current.text == text and self._current.kind in ("operator", "bracket")

    def _accept(self, text: str) -> bool:
        found = self._at(text)
        if found:
            self._advance()
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected(self._current)

    def expect_end(self) -> None:
        if self._current.kind != "end":
            raise self._unexpected(self._current)

    def expression(self, precedence: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionSyntaxError(
                f"expression is nested more than {MAX_DEPTH} levels deep",
                source=self._source,
                at=self._current.at,
            )
        left = self._operators(self._primary(), precedence)
        if precedence == 0:
            left = self._conditional(left)
        self._depth -= 1
        return left

    def _operators(self, left: Node, precedence: int) -> Node:
        previous = ""
        while (token := self._current).kind == "operator":
            negated = token.text == "not"
            operator = self._tokens[self._position + 1] if negated else token
            if negated and operator.text not in _NEGATABLE:
                raise self._unexpected(operator)
            binding = _BINARY.get(operator.text)
            if binding is None or binding < precedence:
                break
            if previous == "??" and operator.text != "??":
                raise ExpressionSyntaxError(
                    f"Operator ({operator.text}) and coalesce expressions (??) cannot be mixed. "
                    "Wrap either by parentheses.",
                    source=self._source,
                    at=operator.at,
                )
            self._position += 2 if negated else 1
            left = self._join(left, operator, binding)
            if negated:
                left = Unary("!", left, operator.at)
            previous = operator.text
        return left

    def _join(self, left: Node, operator: Token, binding: int) -> Node:
        right = self.expression(binding + 1)
        symbol = {"and": "&&", "or": "||"}.get(operator.text, operator.text)
        joined: Node = Binary(symbol, left, right, operator.at)
        while operator.text in _ORDER and self._current.text in _ORDER:
            operator = self._advance()
            following = self.expression(binding + 1)
            next_one = Binary(operator.text, right, following, operator.at)
            joined = Binary("&&", joined, next_one, operator.at)
            right = following
        return joined

    def _conditional(self, test: Node) -> Node:
        while self._at("?"):
            at = self._advance().at
            if self._accept(":"):
                test = Conditional(test, test, self.expression(0), at)
                continue
            then = self.expression(0)
            self._expect(":")
            test = Conditional(test, then, self.expression(0), at)
        return test

    def _primary(self) -> Node:
        token = self._current
        if token.kind == "operator" and token.text in _UNARY:
            self._advance()
            operand = self.expression(_UNARY[token.text])
            symbol = "!" if token.text == "not" else token.text
            return self._postfix(Unary(symbol, operand, token.at))
        if self._accept("("):
            inner = self.expression(0)
            self._expect(")")
            return self._postfix(inner)
        return self._secondary()

    def _secondary(self) -> Node:
        token = self._current
        if token.kind in ("number", "string"):
            self._advance()
            constant = Constant(token.value, token.at)
            return self._postfix(constant) if token.kind == "string" else constant
        if token.kind == "name":
            self._advance()
            if token.text in _CONSTANTS:
                return Constant(_CONSTANTS[token.text], token.at)
            if token.text in _UNSUPPORTED_FUNCTIONS and self._at("("):
                raise UnsupportedExpressionError(
                    f"the embedded Argo does not evaluate the function {token.text}",
                    source=self._source,
                    at=token.at,
                )
            return self._postfix(Name(token.text, token.at))
        if self._accept("["):
            return self._postfix(ListOf(tuple(self._list("]")), token.at))
        if self._accept("{"):
            return self._postfix(MapOf(tuple(self._pairs()), token.at))
        raise self._unexpected(token)

    def _list(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._accept(closing):
            if items:
                self._expect(",")
                if closing == "]" and self._accept(closing):
                    break
            items.append(self.expression(0))
        return items

    def _pairs(self) -> list[tuple[Node, Node]]:
        pairs: list[tuple[Node, Node]] = []
        while not self._accept("}"):
            if pairs:
                self._expect(",")
                if self._accept("}"):
                    break
            key = self._map_key()
            self._expect(":")
            pairs.append((key, self.expression(0)))
        return pairs

    def _map_key(self) -> Node:
        token = self._current
        if token.kind in ("number", "string", "name"):
            self._advance()
            return Constant(str(token.value) if token.kind != "name" else token.text, token.at)
        if self._at("("):
            return self.expression(0)
        raise ExpressionSyntaxError(
            "a map key must be a quoted string, a number, a identifier, or an expression "
            f"enclosed in parentheses (unexpected token {token.describe()})",
            source=self._source,
            at=token.at,
        )

    def _postfix(self, node: Node) -> Node:
        while self._current.text in (".", "?.", "[", "(") and self._current.kind != "string":
            token = self._advance()
            if token.text == "(":
                node = Call(node, tuple(self._list(")")), node.at)
            elif token.text == "[" or (token.text == "?." and self._accept("[")):
                node = self._index(node, token)
            else:
                node = self._property(node, token)
        return node

    def _index(self, base: Node, token: Token) -> Node:
        if self._at(":"):
            raise self._slice(token)
        key = self.expression(0)
        if self._at(":"):
            raise self._slice(token)
        self._expect("]")
        return Member(base, key, token.text == "?.", token.at)

    def _slice(self, token: Token) -> UnsupportedExpressionError:
        return UnsupportedExpressionError(
            "the embedded Argo does not evaluate slices", source=self._source, at=token.at
        )

    def _property(self, base: Node, dot: Token) -> Node:
        token = self._advance()
        is_word = token.kind == "name" or (token.kind == "operator" and token.text.isalpha())
        if not is_word:
            raise self._unexpected(token)
        return Member(base, Constant(token.text, token.at), dot.text == "?.", token.at)
