"""Substitution of `{{name}}` and `{{=expression}}` tags, with Argo's habits.

Knows how Argo Workflows v4.1 replaces tags (its `util/template`) and what it answers when it
cannot. Must not know nodes, phases or what a scope's names stand for.

Argo replaces tags in the JSON text of a template, not in its strings. So values are escaped for
JSON, a tag may run over the end of a string to the next `}}`, and a character that Go's
`strconv.Quote` writes in its own way (ESC, DEL, plane 14) makes the JSON invalid. And it does so
more than once: what one pass inserts, the next one expands
(argo-recordings/parameter-values, injection-manifest).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.localargo.expression_functions import ADDED, OperandError
from bridge.localargo.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    UnsupportedExpressionError,
    evaluate,
    identifiers,
    to_json,
)

_OPEN, _CLOSE = "{{", "}}"
_MUST_EXIST = (
    "item",
    "retries",
    "lastRetry.exitCode",
    "lastRetry.status",
    "lastRetry.duration",
    "lastRetry.message",
    "workflow.status",
    "workflow.failures",
)
_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


class TagError(Exception):
    """Tags that could not be replaced; `str()` is Argo's text (`failed to resolve {{x}}`)."""


class UnresolvedTagError(TagError):
    """A name that must be known in this place is not."""


class UnparsableTagError(TagError):
    """An expression that does not parse.

    In the arguments of a submitted workflow the controller tries it again for ever: the workflow
    never gets a phase (argo-recordings/stuck-without-phase). In a template it is an ordinary error.
    """


class UnsupportedTagError(TagError):
    """An expression Argo would evaluate and this embedded Argo does not."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What tags may read: dotted names to values, as Argo keeps them.

    Names: `workflow.name`, `workflow.parameters.namespace-name`, `inputs.parameters.p`,
    `steps.first.outputs.parameters.o`, `item`, `item.key`, ... Values are strings; None is an
    output that does not exist (only an expression can handle it, with `??`).
    """

    values: Mapping[str, str | None] = field(default_factory=dict)

    def extended(self, values: Mapping[str, str | None]) -> Scope:
        """Return a scope with more names; `values` win."""
        return Scope({**self.values, **values})

    def env(self) -> dict[str, Any]:
        """Return the nested form for expressions: `workflow.name` is `{"workflow": {"name": …}}`.

        A name that is the beginning of another (`workflow.parameters`) gives way to it.
        """
        env: dict[str, Any] = {}
        for name in sorted(self.values):
            *path, last = name.split(".")
            inner = env
            for key in path:
                child = inner.get(key)
                if not isinstance(child, dict):
                    child = inner[key] = {}
                inner = child
            inner[last] = self.values[name]
        return env


def substitute(
    template: Any,
    scope: Scope,
    *,
    passes: int = 2,
    strict: Sequence[str] = (),
    forgiving: bool = False,
) -> Any:
    """Return the JSON-like `template` with its tags replaced `passes` times over.

    An unknown name stays as text, unless its first segment is in `strict` (`("steps", "tasks")`
    for the steps of a group): then UnresolvedTagError. With `forgiving` an expression that fails
    stays as text too: what is checked before a run has not all its values yet. Raises TagError.
    """
    text = _compact(template)
    env = {**scope.env(), **ADDED}

    def replacement(tag: str) -> str:
        try:
            return _replacement(tag, scope, env, strict)
        except TagError:
            if forgiving and tag.startswith("="):
                return _OPEN + tag + _CLOSE
            raise

    for _ in range(passes):
        text = _replace(text, replacement)
        try:
            template = json.loads(text)
        except ValueError:
            raise TagError(
                "cannot finish template replacement because the result was invalid JSON"
            ) from None
    return template


def check_expressions(template: Any) -> None:
    """Raise UnparsableTagError or UnsupportedTagError for the first bad `{{=...}}` in `template`.

    For the arguments of a new workflow, and to refuse templates that use what is not evaluated.
    """
    for tag in tags_of(template):
        if tag.startswith("="):
            _names(_expression(tag))


def tags_of(template: Any) -> list[str]:
    """Return the inside of each tag of the JSON-like `template`, as Argo's scanner cuts them."""
    found: list[str] = []

    def note(tag: str) -> str:
        found.append(tag)
        return ""

    _replace(_compact(template), note)
    return found


def _compact(template: Any) -> str:
    return json.dumps(template, ensure_ascii=False, separators=(",", ":"))


def _replace(text: str, replacement: Callable[[str], str]) -> str:
    """Replace each `{{...}}` up to the next `}}`; an opening without an end is text."""
    parts: list[str] = []
    rest = text
    while True:
        before, opened, after = rest.partition(_OPEN)
        tag, closed, following = after.partition(_CLOSE)
        if not (opened and closed):
            return "".join([*parts, rest])
        parts += [before, replacement(tag)]
        rest = following


def _replacement(tag: str, scope: Scope, env: Mapping[str, Any], strict: Sequence[str]) -> str:
    if tag.startswith("="):
        return _evaluated(tag, env, strict)
    name = tag.strip()
    if name in scope.values:
        return _quoted(scope.values[name], tag)
    outer, nested, inner = tag.rpartition(_OPEN)
    if nested and outer and inner in scope.values:
        return _OPEN + outer + _quoted(scope.values[inner], inner)
    if _is_strict(name, strict) and ".outputs.artifacts." not in name:
        raise UnresolvedTagError(f"failed to resolve {_OPEN}{tag}{_CLOSE}")
    return _OPEN + tag + _CLOSE


def _evaluated(tag: str, env: Mapping[str, Any], strict: Sequence[str]) -> str:
    """Return the value as JSON text for the inside of a string, or the tag as it was."""
    unresolved = _OPEN + tag + _CLOSE
    source = _expression(tag)
    missing = [name for name in _names(source) if not _known(name, env)]
    for name in missing:
        if _is_strict(name, strict):
            raise UnresolvedTagError(f"failed to evaluate expression: {name} is missing")
    if any(name in _MUST_EXIST for name in missing):
        return unresolved
    try:
        value = evaluate(source, env)
        inserted = _inserted(value) if value is not None else None
    except (ExpressionError, OperandError) as error:
        if missing:
            return unresolved
        raise TagError(f"failed to evaluate expression: {error}") from error
    if inserted is None and not missing:
        raise TagError(f"failed to evaluate expression {json.dumps(tag[1:])}")
    return unresolved if inserted is None else inserted


def _expression(tag: str) -> str:
    """Return the source in a tag such as `=toJson(x)`, without the escapes of JSON."""
    try:
        return str(json.loads(f'"{tag[1:]}"'))
    except ValueError as error:
        raise UnparsableTagError(f"failed to unmarshall JSON expression: {error}") from error


def _names(source: str) -> list[str]:
    try:
        return identifiers(source)
    except ExpressionSyntaxError as error:
        raise UnparsableTagError(f"failed to evaluate expression: {error}") from error
    except UnsupportedExpressionError as error:
        raise UnsupportedTagError(f"failed to evaluate expression: {error}") from error


def _known(name: str, env: Mapping[str, Any]) -> bool:
    value: Any = env
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _is_strict(name: str, strict: Sequence[str]) -> bool:
    return name.split(".", 1)[0] in strict


def _inserted(value: Any) -> str:
    text = to_json(value)
    is_string = isinstance(value, str)
    return text[1:-1] if is_string else go_quote(text)


def _quoted(value: str | None, tag: str) -> str:
    if value is None:
        raise TagError(f"failed to resolve {_OPEN}{tag}{_CLOSE} to string")
    return go_quote(value)


def go_quote(text: str) -> str:
    """Return `text` as Go's `strconv.Quote` writes it, without the quotes around it.

    What Go holds unprintable becomes a hexadecimal escape, which is often not JSON.
    """
    return "".join(rune if _plain(rune) else _escaped(rune) for rune in text)


def _plain(rune: str) -> bool:
    return rune.isprintable() and rune not in '"\\'


def _escaped(rune: str) -> str:
    code = ord(rune)
    if rune in _QUOTED:
        return _QUOTED[rune]
    if code < ord(" ") or code == 0x7F:  # noqa: PLR2004 - the rule of strconv.Quote
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - same
