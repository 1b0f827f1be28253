"""Words of a `when` guard: text in, checked tokens out.

Knows govaluate's tokens (github.com/Knetic/govaluate v3.0.1) and which may follow which. Must not
know values, tags or templates. Error texts are govaluate's (argo-recordings/injection-when).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "UNKNOWN",
    "PREFIX",
    "NUMERIC",
    "BOOLEAN",
    "STRING",
    "VARIABLE",
    "ACCESSOR",
    "COMPARATOR",
    "LOGICALOP",
    "MODIFIER",
    "CLAUSE",
    "CLAUSE_CLOSE",
    "TERNARY",
    "SEPARATOR",
]
_MAX_TOKENS = 400
_VALUES: frozenset[Kind] = frozenset({"NUMERIC", "BOOLEAN", "STRING", "VARIABLE", "ACCESSOR"})
_STARTS: frozenset[Kind] = _VALUES | {"PREFIX", "CLAUSE"}
AFTER_VALUE: frozenset[Kind] = frozenset(
    {"MODIFIER", "COMPARATOR", "LOGICALOP", "CLAUSE_CLOSE", "TERNARY", "SEPARATOR"}
)
_NEXT: Mapping[Kind, frozenset[Kind]] = {
    "UNKNOWN": _STARTS,
    "CLAUSE": _STARTS | {"CLAUSE_CLOSE"},
    "CLAUSE_CLOSE": AFTER_VALUE | (_VALUES - {"ACCESSOR"}) | {"CLAUSE"},
    "NUMERIC": AFTER_VALUE,
    "BOOLEAN": AFTER_VALUE,
    "STRING": AFTER_VALUE,
    "VARIABLE": AFTER_VALUE,
    "ACCESSOR": AFTER_VALUE | {"CLAUSE"},
    "MODIFIER": _STARTS | {"CLAUSE_CLOSE"},
    "COMPARATOR": _STARTS | {"CLAUSE_CLOSE"},
    "LOGICALOP": _STARTS | {"CLAUSE_CLOSE"},
    "PREFIX": (_STARTS - {"STRING", "PREFIX"}) | {"CLAUSE_CLOSE"},
    "TERNARY": _STARTS | {"SEPARATOR"},
    "SEPARATOR": _STARTS,
}
_ENDS: frozenset[Kind] = _VALUES | {"CLAUSE_CLOSE"}
COMPARATORS = frozenset({"==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"})
_SYMBOLS: Mapping[str, Kind] = {
    **dict.fromkeys(("+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"), "MODIFIER"),
    **dict.fromkeys(("&&", "||"), "LOGICALOP"),
    **dict.fromkeys(COMPARATORS, "COMPARATOR"),
    **dict.fromkeys(("?", ":", "??"), "TERNARY"),
}
_PREFIXES = frozenset({"-", "!", "~"})
_HINT = ' (hint: try wrapping the affected expression in quotes ("))'
_QUOTES = "'\""
_BRACKETS: Mapping[str, Kind] = {"(": "CLAUSE", ")": "CLAUSE_CLOSE", ",": "SEPARATOR"}


class GuardError(Exception):
    """Why a guard has no answer, without the guard."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word; `value` is a str, a float (NUMERIC), a bool (BOOLEAN) or None (nothing yet)."""

    kind: Kind
    value: Any


def tokenize(text: str) -> list[Token]:
    """Return the tokens of `text`, in an order govaluate takes; raise GuardError."""
    tokens = _split(text)
    check(tokens)
    return tokens


def words_as_strings(tokens: list[Token]) -> list[Token]:
    """Return the tokens with variables turned into strings, as Argo does; raise GuardError."""
    strings = [
        Token("STRING", token.value) if token.kind == "VARIABLE" else token for token in tokens
    ]
    check(strings)
    return strings


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        previous = tokens[-1].kind if tokens else "UNKNOWN"
        token, at = _next_token(text, at, prefix="PREFIX" in _NEXT[previous])
        tokens.append(token)
        if len(tokens) > _MAX_TOKENS:
            raise GuardError(f"more than {_MAX_TOKENS} words")
    opened = sum(token.kind == "CLAUSE" for token in tokens)
    if opened != sum(token.kind == "CLAUSE_CLOSE" for token in tokens):
        raise GuardError("Unbalanced parenthesis")
    return tokens


def _next_token(text: str, at: int, *, prefix: bool) -> tuple[Token, int]:
    rune = text[at]
    if rune in _BRACKETS:
        return Token(_BRACKETS[rune], rune), at + 1
    if rune == "[" or rune in _QUOTES:
        return _enclosed(text, at)
    if rune.isdigit() or rune == ".":
        return _numeric(text, at)
    if rune.isalpha():
        word, end = _run(text, at, lambda other: other.isalnum() or other in "_.")
        return _word(word), end
    return _symbol(text, at, prefix=prefix)


def _symbol(text: str, at: int, *, prefix: bool) -> tuple[Token, int]:
    symbol, end = _run(text, at, _is_symbol)
    if prefix and symbol in _PREFIXES:
        return Token("PREFIX", symbol), end
    if symbol not in _SYMBOLS:
        raise GuardError(f"Invalid token: '{symbol}'{_HINT}")
    return Token(_SYMBOLS[symbol], symbol), end


def _is_symbol(rune: str) -> bool:
    return not (rune.isalnum() or rune in "()[]" or rune in _QUOTES)


def _run(text: str, at: int, belongs: Callable[[str], bool]) -> tuple[str, int]:
    """Read while `belongs`; a blank ends the run, a backslash takes the next rune as it is."""
    runes: list[str] = []
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            runes.append(text[at + 1])
            at += 2
        elif text[at].isspace() or not belongs(text[at]):
            break
        else:
            runes.append(text[at])
            at += 1
    return "".join(runes), at


def _numeric(text: str, at: int) -> tuple[Token, int]:
    if text.startswith("0x", at):
        digits, end = _run(text, at + 2, lambda rune: rune in "0123456789abcdefABCDEF")
        if not digits:
            raise GuardError(f"Unable to parse hex value '{digits}' to uint64\n")
        return Token("NUMERIC", float(int(digits, 16))), end
    digits, end = _run(text, at, lambda rune: rune.isdigit() or rune == ".")
    try:
        return Token("NUMERIC", float(digits)), end
    except ValueError:
        raise GuardError(f"Unable to parse numeric value '{digits}' to float64\n") from None


def _enclosed(text: str, at: int) -> tuple[Token, int]:
    """Read a string or a `[word]` to its end; like govaluate, either quote ends a string."""
    kind: Kind = "VARIABLE" if text[at] == "[" else "STRING"
    closing = "]" if kind == "VARIABLE" else _QUOTES
    runes: list[str] = []
    position = at + 1
    while position < len(text) and text[position] not in closing:
        position += text[position] == "\\" and position + 1 < len(text)
        runes.append(text[position])
        position += 1
    if position >= len(text):
        what = "string literal" if kind == "STRING" else "parameter bracket"
        raise GuardError(f"Unclosed {what}")
    return Token(kind, "".join(runes)), position + 1


def _word(word: str) -> Token:
    if word in ("true", "false"):
        return Token("BOOLEAN", word == "true")
    if word in ("in", "IN"):
        return Token("COMPARATOR", "in")
    if "." in word:
        if word.endswith("."):
            raise GuardError(f"Hanging accessor on token '{word}'")
        for field in word.split(".")[1:]:
            if not field[:1].isupper():
                raise GuardError(f"Unable to access unexported field '{field}' in token '{word}'")
        return Token("ACCESSOR", word)
    return Token("VARIABLE", word)


def check(tokens: list[Token]) -> None:
    """Raise GuardError unless each token may follow the one before it."""
    last = Token("UNKNOWN", None)
    for token in tokens:
        if token.kind not in _NEXT[last.kind]:
            if last.kind == "VARIABLE" and token.kind == "CLAUSE":
                raise GuardError(f"Undefined function {last.value}")
            raise GuardError(
                f"Cannot transition token types from {last.kind} [{_show_token(last)}] "
                f"to {token.kind} [{_show_token(token)}]"
            )
        last = token
    if last.kind not in _ENDS:
        raise GuardError("Unexpected end of expression")


def _show_token(token: Token) -> str:
    """Return the value as Go prints it; parentheses are runes, so their code is shown."""
    if token.kind in ("CLAUSE", "CLAUSE_CLOSE"):
        return str(ord(token.value))
    if token.kind == "ACCESSOR":
        return f"[{token.value.replace('.', ' ')}]"
    return show(token.value)


def show(value: Any) -> str:
    """Return `value` as Go's `%v` prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{' '.join(map(show, value))}]" if isinstance(value, list) else str(value)
