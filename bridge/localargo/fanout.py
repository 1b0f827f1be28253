"""`withItems` and `withParam`: one step or task becomes one for each item. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.localargo.encoding import encode, go_json_error
from bridge.localargo.templates import as_text

_DECODER = json.JSONDecoder()


class ItemsError(Exception):
    """`withParam` is no JSON list; `str()` is Argo's text."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: `label` is how node names show it, `values` what tags read."""

    label: str
    values: Mapping[str, str]


def is_expanded(step: Mapping[str, Any]) -> bool:
    """Whether a step or task runs once for each item of a list."""
    return step.get("withItems") is not None or step.get("withParam") is not None


def items_of(step: Mapping[str, Any]) -> list[Item]:
    """The items of a step whose own tags are replaced.

    Raises:
        ItemsError: `withParam` is no JSON list.
    """
    if step.get("withItems") is not None:
        return [_item(value, encode(value).decode()) for value in step["withItems"]]
    text = step["withParam"]
    return [_item(value, raw) for value, raw in _json_list(text)]


def _item(value: Any, raw: str) -> Item:
    if isinstance(value, dict):
        pairs = sorted(f"{key}:{_plain(part)}" for key, part in value.items())
        inner = {f"item.{key}": _plain(part) for key, part in value.items()}
        return Item(_clean(",".join(pairs)), {"item": _plain(value), **inner})
    if isinstance(value, str):
        return Item(_clean(raw[1:-1]), {"item": value})
    if isinstance(value, list) or value is None:
        shown = " ".join(_plain(part) for part in value or ())
        return Item(_clean(f"[{shown}]"), {"item": _plain(value)})
    return Item(_clean(raw), {"item": _plain(value)})


def _plain(value: Any) -> str:
    return as_text(value) if isinstance(value, str | bool) else encode(value).decode()


def _clean(label: str) -> str:
    return label.replace("(", "").replace(")", "")


def _json_list(text: str) -> list[tuple[Any, str]]:
    """The items with the very text of each: node names show escapes as they were written."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise ItemsError(_complaint(text, _go_text(text, error))) from error
    if not isinstance(whole, list):
        kind = "string" if isinstance(whole, str) else type(whole).__name__
        kind = {"dict": "object", "int": "number", "float": "number"}.get(kind, kind)
        shown = f"json: cannot unmarshal {kind} into Go value of type []v1alpha1.Item"
        raise ItemsError(_complaint(text, shown))
    found, position = [], text.index("[") + 1
    for _ in whole:
        while text[position] in " \t\r\n,":
            position += 1
        value, end = _DECODER.raw_decode(text, position)
        found.append((value, text[position:end]))
        position = end
    return found


def _complaint(text: str, reason: str) -> str:
    return f"withParam value could not be parsed as a JSON list: {text}: {reason}"


def _go_text(text: str, error: ValueError) -> str:
    at = getattr(error, "pos", 0)
    if text.lstrip().startswith("[") and at < len(text):
        return f"invalid character '{text[at]}' looking for beginning of value"
    return go_json_error(text)
