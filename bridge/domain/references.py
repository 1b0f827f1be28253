"""The definition language's references: ``input.team``, ``{run.id}``, ``{input.name|lower}``.

Knows the grammar, the roots and the named filters (design, section 3). Must not know any one
action: it walks plain mappings. There is no code, no Jinja and no second expression language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from bridge.domain.entities import EntityRef

ROOTS = ("input", "user", "run", "context", "bridge", "workflow", "entity", "approval")
"""Where a reference may start."""

_SEGMENT = r"[A-Za-z0-9_-]+"
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_FIELD = re.compile(r"\{([^{}|]*)(?:\|([^{}|]*))?\}")
_TAG = re.compile(r"([{}])(?=\1)")

Roots = Mapping[str, Any]
HANDED_ON = "secret"
"""The filter by which a definition says that a secret may become a parameter of a workflow."""


def _as_string(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return json.dumps(value)
        case _:
            return _as_json(value)


def _as_json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Nested objects close with "}}", which Argo reads as the end of a tag; blanks change nothing.
    return _TAG.sub(r"\1 ", text)


FILTERS: Mapping[str, Callable[[Any], str]] = {
    "string": _as_string,
    "json": _as_json,
    "bool": lambda value: _as_string(bool(value)),
    "lower": lambda value: _as_string(value).lower(),
    "entityName": lambda value: EntityRef.parse(_as_string(value)).name,
    "entityRef": lambda value: str(EntityRef.parse(_as_string(value))),
    HANDED_ON: _as_string,
}
"""Named filters: a value in, the text that Argo or the catalog gets out."""


@dataclass(frozen=True, slots=True)
class Reference:
    """``input.team`` with an optional filter name."""

    path: tuple[str, ...]
    filter: str | None = None

    @classmethod
    def parse(cls, text: str, *, filter_name: str | None = None) -> Self:
        """Read a reference.

        Raises:
            ValueError: Bad grammar, an unknown root or an unknown filter; the text says which.
        """
        if _PATH.fullmatch(text) is None or "." not in text:
            raise ValueError(f"{text!r} is not a reference such as input.name")
        path = tuple(text.split("."))
        if path[0] not in ROOTS:
            raise ValueError(f"{text!r} must start with one of {', '.join(ROOTS)}")
        if filter_name is not None and filter_name not in FILTERS:
            raise ValueError(f"{filter_name!r} is not a filter; there are {', '.join(FILTERS)}")
        return cls(path=path, filter=filter_name)

    def lookup(self, roots: Roots) -> Any:
        """The value as it stands, or None where any part of the path is missing."""
        value: Any = roots
        for position, segment in enumerate(self.path):
            if not isinstance(value, Mapping):
                return None
            joined = ".".join(self.path[position:])
            if joined in value:  # workflow outputs may have dots in their names
                return value[joined]
            value = value.get(segment)
        return value

    def text(self, roots: Roots) -> str:
        """The filtered text; a missing value is the empty string.

        Raises:
            ValueError: The filter cannot take the value.
        """
        value = self.lookup(roots)
        if value is None:
            return ""
        return FILTERS[self.filter or "string"](value)


def template_references(template: str) -> tuple[Reference, ...]:
    """Every ``{reference}`` of *template*.

    Raises:
        ValueError: A field is malformed, or a brace stands alone.
    """
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{template!r} has a brace that belongs to no {{reference}}")
    return tuple(_reference(match) for match in _FIELD.finditer(template))


def _reference(field: re.Match[str]) -> Reference:
    return Reference.parse(field[1].strip(), filter_name=field[2].strip() if field[2] else None)


def render_template(template: str, *, roots: Roots) -> str:
    """Fill the ``{reference}`` fields of *template*; missing values are empty."""
    return _FIELD.sub(lambda field: _reference(field).text(roots), template)


def render_document(value: Any, *, roots: Roots) -> Any:
    """Fill a whole document.

    A string that is exactly one field without a filter keeps the value's own type. A key whose
    field has no value is dropped; so is an item of a list that has no value, or that would lose
    a key: a link without an address is no link.
    """
    match value:
        case str():
            return _render_scalar(value, roots)
        case Mapping():
            pairs = ((key, render_document(item, roots=roots)) for key, item in value.items())
            return {key: item for key, item in pairs if item is not None}
        case list() | tuple():
            rendered = ((item, render_document(item, roots=roots)) for item in value)
            return [after for item, after in rendered if _is_whole(item, after)]
        case _:
            return value


def _is_whole(before: Any, after: Any) -> bool:
    if isinstance(before, Mapping):
        return len(after) == len(before)
    return after is not None


def _render_scalar(text: str, roots: Roots) -> Any:
    whole = _FIELD.fullmatch(text)
    if whole is None:
        return render_template(text, roots=roots)
    reference = Reference.parse(
        whole[1].strip(), filter_name=whole[2].strip() if whole[2] else None
    )
    value = reference.lookup(roots)
    if value is None or reference.filter is None:
        return value
    return reference.text(roots)


def document_references(value: Any) -> tuple[Reference, ...]:
    """Every reference in a document, for checking it when it is loaded.

    Raises:
        ValueError: One of them is malformed.
    """
    match value:
        case str():
            return template_references(value)
        case Mapping():
            return tuple(ref for item in value.values() for ref in document_references(item))
        case list() | tuple():
            return tuple(ref for item in value for ref in document_references(item))
        case _:
            return ()
