r"""JSON as Go writes it, and the times of Kubernetes.

Argo's clients see Go's encoder: no blanks, `<`, `>`, `&` as `\u003c` and so on. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

type_name = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    type(None): "null",
}.get

_encode: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def encode(value: Any) -> bytes:
    """UTF-8 JSON of a value, byte for byte as Go's encoder would write this key order."""
    text = _encode(value)
    for plain, escaped in _ESCAPES:
        if plain in text:
            text = text.replace(plain, escaped)
    return text.encode("utf-8", "replace")


def timestamp(moment: float | None) -> str | None:
    """RFC 3339 with whole seconds, as every time in a status; None stays None."""
    if moment is None:
        return None
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def nano_timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds: the prefix of log lines when `timestamps=true`."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    head = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{head}.{rest:09d}Z"


def milli_timestamp(nanoseconds: int) -> str:
    """RFC 3339 with milliseconds: `time=` of the executor's own log lines."""
    return nano_timestamp(nanoseconds)[:-7] + "Z"


def go_json_error(text: str) -> str:
    """What Go's decoder says about a text that is not JSON."""
    stripped = text.lstrip()
    if not stripped:
        return "unexpected end of JSON input"
    for word in ("null", "true", "false"):
        if stripped[0] == word[0]:
            for at, char in enumerate(word):
                if stripped[at : at + 1] not in {char, ""}:
                    return (
                        f"invalid character '{stripped[at]}' in literal {word} (expecting '{char}')"
                    )
    if stripped[0] in '{["':
        return "unexpected end of JSON input"
    return f"invalid character '{stripped[0]}' looking for beginning of value"
