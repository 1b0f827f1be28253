"""Words of the expression language inside `{{=...}}` tags.

Knows how a source text splits into tokens and what the error text of the language looks like.
Must not know grammar, values or where expressions come from.
The language is expr-lang as Argo Workflows v4.1 uses it (github.com/expr-lang/expr v1.17).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

TokenKind = Literal["number", "string", "name", "operator", "bracket", "end"]

MAX_SOURCE = 20_000
MAX_TOKENS = 400
WORD_OPERATORS = frozenset(
    {"not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith"}
)
UNSUPPORTED_WORDS = frozenset({"let", "if", "else"})
UNSUPPORTED_OPERATORS = frozenset({"|", "..", "**", "^", "#", ";", "::"})
_KIND_NAMES = {
    "number": "Number",
    "string": "String",
    "name": "Identifier",
    "operator": "Operator",
    "bracket": "Bracket",
    "end": "EOF",
}
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_MAX_RUNE = 0x10FFFF
_MAX_INT = 1 << 63
_SURROGATES = range(0xD800, 0xE000)
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
        |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)
    |(?P<name>[^\W\d][\w$]*|\$[\w$]*)
    |(?P<operator>\?\?|\?\.|\*\*|\.\.|::|\|\||&&|[=!<>]=|[-+*/%^.,;?:<>!&=|\#])
    |(?P<bracket>[()\[\]{}])
    |(?P<quote>['"`])
    """,
    re.VERBOSE | re.DOTALL,
)


class ExpressionError(Exception):
    """An expression that cannot be evaluated; `str()` is expr-lang's text with the place marked.

    Example: `unknown name x (1:1)`, then the source line and a caret under the place.
    """

    def __init__(self, reason: str, *, source: str = "", at: int = 0) -> None:
        """Keep the bare `reason`; `at` is the offset in `source` in characters."""
        super().__init__(f"{reason}{_place(source, at)}")
        self.reason = reason


class ExpressionSyntaxError(ExpressionError):
    """The text is not an expression: nothing can be evaluated, whatever the names stand for."""


class UnsupportedExpressionError(ExpressionError):
    """A valid expr-lang construct which this embedded Argo does not evaluate."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word: `text` is the source text, for strings and numbers `value` is what it means."""

    kind: TokenKind
    text: str
    at: int
    value: str | int | float = ""

    def describe(self) -> str:
        """Return the token as expr-lang names it in `unexpected token ...`."""
        name = _KIND_NAMES[self.kind]
        shown = self.value if self.kind == "string" else self.text
        return name if self.kind == "end" else f'{name}("{shown}")'


def tokenize(source: str) -> list[Token]:
    """Split `source` into tokens, the last of kind `end`; raise ExpressionSyntaxError."""
    if len(source) > MAX_SOURCE:
        raise ExpressionSyntaxError(f"expression is longer than {MAX_SOURCE} characters")
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        token, at = _next_token(source, at)
        if token is not None:
            tokens.append(token)
        if len(tokens) > MAX_TOKENS:
            raise ExpressionSyntaxError(f"expression has more than {MAX_TOKENS} words")
    tokens.append(Token("end", "", len(source)))
    return tokens


def _next_token(source: str, at: int) -> tuple[Token | None, int]:
    found = _TOKEN.match(source, at)
    if found is None:
        rune = source[at]
        raise ExpressionSyntaxError(
            f"unrecognized character: U+{ord(rune):04X} '{rune}'", source=source, at=at
        )
    text = found.group()
    if found.lastgroup == "space":
        return None, found.end()
    if found.lastgroup == "quote":
        return _string(source, at)
    if found.lastgroup == "number":
        return _number(source, text, at), found.end()
    if found.lastgroup == "name":
        return _word(source, text, at), found.end()
    if text in UNSUPPORTED_OPERATORS:
        raise UnsupportedExpressionError(
            f"the embedded Argo does not evaluate the operator {text}", source=source, at=at
        )
    return Token("operator" if found.lastgroup == "operator" else "bracket", text, at), found.end()


def _word(source: str, text: str, at: int) -> Token:
    if text in UNSUPPORTED_WORDS:
        raise UnsupportedExpressionError(
            f"the embedded Argo does not evaluate the word {text}", source=source, at=at
        )
    return Token("operator" if text in WORD_OPERATORS else "name", text, at)


def _number(source: str, text: str, at: int) -> Token:
    after = source[at + len(text) : at + len(text) + 1]
    value = None if after.isalnum() else _number_value(text.replace("_", ""))
    if value is None:
        raise ExpressionSyntaxError(f'bad number syntax: "{text + after}"', source=source, at=at)
    return Token("number", text, at, value)


def _number_value(digits: str) -> int | float | None:
    """Return the number, None if Go could not hold it."""
    whole = re.fullmatch(r"0[xXoObB].*|[0-9]+", digits) is not None
    try:
        if not whole:
            return float(digits)
        value = int(digits, 0) if digits[1:2].isalpha() else int(digits)
    except ValueError:
        return None
    return value if value < _MAX_INT else None


def _string(source: str, at: int) -> tuple[Token, int]:
    quote = source[at]
    if quote == "`":
        return _raw_string(source, at)
    parts: list[str] = []
    position = at + 1
    while position < len(source) and source[position] not in (quote, "\n"):
        if source[position] == "\\":
            part, position = _escape(source, position, quote)
        else:
            part, position = source[position], position + 1
        parts.append(part)
    if position >= len(source) or source[position] == "\n":
        raise ExpressionSyntaxError("literal not terminated", source=source, at=position)
    return Token("string", source[at : position + 1], at, "".join(parts)), position + 1


def _raw_string(source: str, at: int) -> tuple[Token, int]:
    """Read a string in backticks; two of them stand for one."""
    end = at + 1
    while (end := source.find("`", end)) >= 0 and source.startswith("``", end):
        end += 2
    if end < 0:
        raise ExpressionSyntaxError("literal not terminated", source=source, at=len(source))
    value = source[at + 1 : end].replace("``", "`")
    return Token("string", source[at : end + 1], at, value), end + 1


def _escape(source: str, at: int, quote: str) -> tuple[str, int]:
    """Read an escape; of the quotes only the one around the string can be escaped."""
    letter = source[at + 1 : at + 2]
    if letter in _ESCAPES or letter == quote:
        return _ESCAPES.get(letter, quote), at + 2
    length = _HEX_ESCAPES.get(letter, 0)
    digits = source[at + 2 : at + 2 + length]
    if length and re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digits):
        rune = int(digits, 16)
        if rune <= _MAX_RUNE:
            return _rune(rune), at + 2 + length
    if re.fullmatch(r"[0-3][0-7]{2}", source[at + 1 : at + 4]):
        return chr(int(source[at + 1 : at + 4], 8)), at + 4
    raise ExpressionSyntaxError("invalid char escape", source=source, at=at + 1)


def _rune(code: int) -> str:
    return chr(code) if code not in _SURROGATES else "\N{REPLACEMENT CHARACTER}"


def _place(source: str, at: int) -> str:
    if not source:
        return ""
    line_start = source.rfind("\n", 0, at) + 1
    line = source[line_start:].split("\n", 1)[0]
    row, column = source.count("\n", 0, at) + 1, at - line_start
    return f" ({row}:{column + 1})\n | {line}\n | {'.' * column}^"
