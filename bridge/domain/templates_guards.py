"""Values in what Argo evaluates: a ``when``, an ``expression``.

Knows that ``when`` is read by govaluate after the tags in it have been replaced, so that a value
can end its quotes (argo-recordings/injection-when), and that an expression reads a value by its
name. Must not know templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.domain.templates_tags import Expression, Misplaced, Tag, joined, tags_of, values_of

_PART = re.compile(
    r"""(?P<quoted>'(?:\{\{.*?\}\}|[^'])*'|"(?:\{\{.*?\}\}|[^"])*")
    |(?P<operator>&&|\|\||==|!=|<=|>=|=~|[<>!()\[\],])
    |(?P<blank>\s+)
    |(?P<bare>(?:\{\{.*?\}\}|[^\s'"()!=<>&|\[\],])+)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_LIST = re.compile(r"\bin\s*\(([^()]*)\)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ORDER = frozenset({"<", ">", "<=", ">="})
_KEPT = frozenset({"true", "false", "in"})


def misplaced_in_guard(text: str) -> Iterator[Misplaced]:
    """Every value of a ``when`` that does not come out of an expression as true or false."""
    bad = [tag for tag in values_of(text) if not _is_decision(tag)]
    if bad:
        made = Expression(_rewritten(_LIST.sub(r"in [\1]", text), words=False))
        source = made.source if made.is_boolean else f"({made.source}) == 'true'"
        why = "is put into the condition before it is read, and can change what it asks"
        yield Misplaced(bad[0], text, why, f'"{{{{={source}}}}}"')


def misplaced_in_expression(text: str) -> Iterator[Misplaced]:
    """Every value that is put into the source of an expression."""
    for tag in values_of(text)[:1]:
        why = "is put into the expression before it is evaluated, and can change it"
        yield Misplaced(tag, text, why, _rewritten(text, words=True))


def _is_decision(tag: Tag) -> bool:
    return tag.is_expression and tag.expression.is_boolean


def _rewritten(text: str, *, words: bool) -> str:
    """*text* as an expression that reads its values by name; bare *words* are names or texts."""
    parts = [(str(part.lastgroup), part[0]) for part in _PART.finditer(text.strip())]
    numeric = any(part in _ORDER for _, part in parts) and not words
    return "".join(_part(kind, part, words=words, numeric=numeric) for kind, part in parts)


def _part(kind: str, text: str, *, words: bool, numeric: bool) -> str:
    if kind == "quoted" and tags_of(text):
        return joined(text[1:-1])
    if kind == "operator":
        return "matches" if text == "=~" else text
    if kind != "bare" or _NUMBER.fullmatch(text) or text in _KEPT:
        return text
    if not tags_of(text) and words:
        return text
    return f"asFloat({joined(text)})" if numeric and tags_of(text) else joined(text)
