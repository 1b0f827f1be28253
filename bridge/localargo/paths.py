"""Simple paths into JSON-like values: `.a.b[0]['c-d']`, as jsonPath, jq and gjson share them.

Knows how a path splits into keys and how keys are followed. Must not know who uses paths.
Wildcards, filters and slices are refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNSUPPORTED = frozenset("*?@|#(){},: ")


class PathError(Exception):
    """A path that is not followed here, or that leads nowhere; `str()` is one sentence."""


class MissingKeyError(PathError):
    """The value has nothing under a key of the path."""


def keys(path: str) -> list[str | int]:
    """Split a path into names and indexes; a backslash makes the next rune part of a name.

    The first dot may be left out; "" and "." are the whole value. Raises PathError.
    """
    parts: list[str | int] = []
    rest = path if path.startswith((".", "[")) or not path else f".{path}"
    rest = "" if rest == "." else rest
    while rest:
        if rest.startswith("["):
            inside, closed, rest = rest[1:].partition("]")
            part = _bracketed(inside) if closed else None
        elif rest.startswith(".") and not rest.startswith(".["):
            part, rest = _dotted(rest[1:])
        else:
            part, rest = None, rest[1:]
            if rest.startswith("["):
                continue
        if part is None:
            raise PathError(f"the embedded Argo does not follow the path {path}")
        parts.append(part)
    return parts


def follow(value: Any, path: str) -> Any:
    """Return what `path` leads to in `value`; raise PathError or MissingKeyError."""
    for key in keys(path):
        value = _child(value, key, path)
    return value


def _child(value: Any, key: str | int, path: str) -> Any:
    if isinstance(value, Mapping) and str(key) in value:
        return value[str(key)]
    if isinstance(value, list) and str(key).isdecimal() and int(key) < len(value):
        return value[int(key)]
    raise MissingKeyError(f"{key} is not found on the path {path}")


def _bracketed(inside: str) -> str | int | None:
    if len(inside) > 1 and inside[0] == inside[-1] and inside[0] in "'\"":
        return inside[1:-1]
    return int(inside[:9]) if inside.isascii() and inside.isdecimal() else None


def _dotted(text: str) -> tuple[str | None, str]:
    runes: list[str] = []
    at = 0
    while at < len(text) and text[at] not in ".[":
        if text[at] in _UNSUPPORTED:
            return None, ""
        at += text[at] == "\\" and at + 1 < len(text)
        runes.append(text[at])
        at += 1
    return "".join(runes) or None, text[at:]
