"""Argo's tags in a WorkflowTemplate: ``{{name}}`` and ``{{=expression}}``.

Knows how Argo cuts tags out of a text, which names only Argo itself sets, and enough of the
expression language (expr-lang) to tell what an expression reads and gives. Must not know where in
a template a tag stands: ``templates`` does.

Whatever is not known to be Argo's own counts as a value that somebody gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

_TAG = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_ROOTS = frozenset(
    {"workflow", "inputs", "outputs", "steps", "tasks", "item", "node", "lastRetry", "cronworkflow"}
)
# Argo or Kubernetes makes these, of characters that nothing acts on. A node's name is not among
# them: it holds the item of its loop. Artifacts are references and paths, no values.
_OWN = re.compile(
    r"workflow\.(?:name|namespace|uid|status|mainEntrypoint|serviceAccountName|priority|duration"
    r"|scheduledTime|creationTimestamp(?:\.\w+)?|outputs\.artifacts\..+)"
    r"|pod\.name|retries|lastRetry\.(?:exitCode|status|duration)"
    r"|(?:steps|tasks)\.[^.]+\.(?:id|ip|status|exitCode|startedAt|finishedAt|hostNodeName"
    r"|outputs\.artifacts\..+)"
    r"|(?:inputs|outputs)\.artifacts\..+|outputs\.parameters\..+\.path"
)
_NAMED = ("parameters", "labels", "annotations")
_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>\d[\w.]*)
    |(?P<word>[A-Za-z_$]\w*)
    |(?P<operator>&&|\|\||==|!=|<=|>=|\?\?|\?\.|\*\*|\.\.|[-+*/%^<>=!?:|.,;()\[\]{}\#])
    |(?P<blank>\s+)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_WORDS = frozenset(
    "true false nil not and or in contains matches startsWith endsWith".split()  # noqa: SIM905 - reads as a sentence
)
_CONNECTIVES = frozenset({"&&", "||", "and", "or"})
_COMPARISONS = frozenset(
    {"==", "!=", "<", ">", "<=", ">=", "in", "contains", "matches", "startsWith", "endsWith"}
)
_UNDECIDED = frozenset({"?", "??", "?.", "|", ";", ":", ",", "let", "if"})
_PREDICATES = frozenset({"any", "all", "none", "one"})
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, string, number or operator of an expression."""

    kind: str
    text: str


@dataclass(frozen=True)
class Expression:
    """The source of an expression, looked at without being run."""

    source: str

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """What it consists of, without blanks and comments."""
        found = (Token(str(m.lastgroup), m[0]) for m in _TOKEN.finditer(self.source))
        return tuple(token for token in found if token.kind not in {"blank", "comment"})

    @property
    def is_fixed(self) -> bool:
        """Whether it reads nothing but literals and what Argo itself sets."""
        return all(_is_own(path, called=called) for path, called in _paths(self.tokens))

    @property
    def is_json(self) -> bool:
        """Whether all of it is one call of ``toJson``, so that it gives one JSON value."""
        texts = [token.text for token in self.tokens]
        if texts[:2] == ["sprig", "."]:
            texts = texts[2:]
        return texts[:2] == ["toJson", "("] and _closing(texts, 1) == len(texts) - 1

    @property
    def is_boolean(self) -> bool:
        """Whether it can give nothing but true or false, or fail.

        In expr-lang, comparisons and the words for them bind less than all that makes texts or
        numbers, and more than ``&&``, ``||``, ``? :``, ``??`` and ``|``.
        """
        return _is_boolean([token.text for token in self.tokens])

    @property
    def without_json(self) -> str:
        """Its source with each ``toJson(x)`` of a plain ``x`` replaced by ``x``."""
        return re.sub(r"\b(?:sprig\.)?toJson\(([^()]*)\)", r"\1", self.source).strip()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and where it stands in its text."""

    text: str
    start: int
    end: int

    @property
    def inside(self) -> str:
        """What stands between the braces; of a tag in a tag, Argo expands the inner one."""
        inside = self.text[2:-2]
        return inside if inside.startswith("=") else inside.rpartition("{{")[2].strip()

    @property
    def is_expression(self) -> bool:
        """Whether it is ``{{=…}}``."""
        return self.inside.startswith("=")

    @property
    def expression(self) -> Expression:
        """The expression that gives the same value."""
        inside = self.inside
        return Expression(inside[1:].strip() if self.is_expression else _as_source(inside))

    @property
    def name(self) -> str:
        """What an environment variable for its value may be called."""
        words = [word for word in re.split(r"[^A-Za-z0-9]+", self.inside) if word]
        return (words[-1] if self.is_expression else _last(self.inside)).upper() if words else "X"

    @property
    def is_value(self) -> bool:
        """Whether it inserts something that Argo did not make itself.

        Argo leaves names that it does not know as they are: ``{{.Status}}`` is text for others.
        """
        if self.is_expression:
            return not self.expression.is_fixed
        return self.inside.split(".")[0] in _ROOTS and _OWN.fullmatch(self.inside) is None


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A value where it must not stand.

    ``at`` is its tag, ``offending`` the text that holds it, ``mended`` what to write instead.
    """

    at: Tag
    offending: str
    why: str
    mended: str


def values_of(text: str) -> tuple[Tag, ...]:
    """The tags of *text* that insert something that Argo did not make itself."""
    return tuple(tag for tag in tags_of(text) if tag.is_value)


def tags_of(text: str) -> tuple[Tag, ...]:
    """Every tag of *text*, as Argo cuts them: up to the first ``}}``."""
    return tuple(Tag(found[0], found.start(), found.end()) for found in _TAG.finditer(text))


def quoted(text: str) -> str:
    """*text* as a string of the expression language."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def joined(text: str) -> str:
    """The source of one expression that gives *text* with its tags filled in."""
    parts: list[str] = []
    at = 0
    for tag in tags_of(text):
        parts += [quoted(text[at : tag.start])] if tag.start > at else []
        parts.append(_operand(tag.expression))
        at = tag.end
    parts += [quoted(text[at:])] if at < len(text) else []
    return " + ".join(parts)


def _operand(expression: Expression) -> str:
    source = expression.without_json
    plain = all(token.kind != "operator" or token.text in ".[]()" for token in expression.tokens)
    return source if plain else f"({source})"


def _last(name: str) -> str:
    root, *rest = _segments(name)
    return re.sub(r"[^A-Za-z0-9]+", "_", rest[-1] if rest else root)


def _segments(name: str) -> list[str]:
    """The parts of a tag's name; what follows ``parameters`` is one name, dots and all."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part in _NAMED and position < len(parts) - 1:
            return [*parts[: position + 1], ".".join(parts[position + 1 :])]
    return parts


def _as_source(name: str) -> str:
    root, *rest = _segments(name)
    plain = re.compile(r"[A-Za-z_]\w*")
    return root + "".join(f".{part}" if plain.fullmatch(part) else f"['{part}']" for part in rest)


def _paths(tokens: Sequence[Token]) -> Iterator[tuple[str, bool]]:
    """Each name that is read, as a dotted path, and whether it is called."""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token.kind != "word" or token.text in _WORDS:
            continue
        if at > 1 and tokens[at - 2].text in {".", "?."}:
            continue  # of a value that was looked at already
        parts = [token.text]
        while (more := _further(tokens[at : at + 3])) is not None:
            part, length = more
            parts.append(part)
            at += length
        yield ".".join(parts), at < len(tokens) and tokens[at].text == "("


def _further(tokens: Sequence[Token]) -> tuple[str, int] | None:
    """The next part of a path, ``.name`` or ``['name']``, and how many tokens it takes."""
    match list(tokens):
        case [Token(text="." | "?."), Token(kind="word", text=name), *_]:
            return name, 2
        case [Token(text="["), Token(kind="string", text=name), Token(text="]")]:
            return re.sub(r"\W", "_", name[1:-1]), 3
        case _:
            return None


def _is_own(path: str, *, called: bool) -> bool:
    if called:
        return path.split(".", maxsplit=1)[0] not in _ROOTS
    return _OWN.fullmatch(path) is not None


def _closing(texts: Sequence[str], opening: int) -> int:
    """Where the bracket at *opening* is closed, or -1."""
    depth = 0
    for position in range(opening, len(texts)):
        depth += (texts[position] in _OPENING) - (texts[position] in _CLOSING)
        if depth == 0:
            return position
    return -1


def _is_boolean(texts: Sequence[str]) -> bool:
    top = list(_top_level(texts))
    if not texts or _UNDECIDED & set(top):
        return False
    if (_CONNECTIVES | _COMPARISONS) & set(top) or texts[0] in {"!", "not"}:
        return True
    if texts[0] == "(" and _closing(texts, 0) == len(texts) - 1:
        return _is_boolean(texts[1:-1])
    if texts[0] in _PREDICATES and texts[1:2] == ["("]:
        return _closing(texts, 1) == len(texts) - 1
    return list(texts) in (["true"], ["false"])


def _top_level(texts: Sequence[str]) -> Iterator[str]:
    """What stands in no bracket."""
    depth = 0
    for text in texts:
        if depth == 0 and text not in _OPENING:
            yield text
        depth += (text in _OPENING) - (text in _CLOSING)
