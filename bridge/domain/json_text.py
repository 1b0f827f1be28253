"""JSON that somebody sends, bounded before it is parsed.

Knows how the text of JSON is built. Must not know requests, nor what a document means.

``json.loads`` recurses for every level and builds whatever it reads, so depth and number are
counted first, by a few passes over the text that take time by its length only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, Never

MAX_NUMBER = 64
"""Characters of a number."""

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NUMBER = re.compile(rb"[-+.0-9eE]{%d,}" % (MAX_NUMBER + 1))
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may cost.

    Args:
        size: Bytes of all of it.
        depth: Levels of objects and lists.
        items: Fields of objects and items of lists, all together.
        text: Bytes of a string as it is sent, escapes and all.
    """

    size: int = 256 * 1024
    depth: int = 32
    items: int = 10_000
    text: int = 64 * 1024


class TooCostly(ValueError):
    """The document goes beyond a limit; the sentence says which."""


def parse_json(sent: bytes, *, limits: BodyLimits) -> Any:
    """The value of a JSON document in UTF-8.

    Raises:
        TooCostly: It is nested too deeply, or has too many or too long parts.
        ValueError: It is not JSON, or has a number that could not be written again.
    """
    _check(sent, limits)
    return _DECODER.decode(sent.decode())


def _check(sent: bytes, limits: BodyLimits) -> None:
    # Without escapes, quotation marks alone tell strings from the rest.
    parts = _ESCAPED.sub(b"__", sent).split(b'"')
    if max(map(len, parts[1::2]), default=0) > limits.text:
        raise TooCostly(f"A string is longer than {limits.text} bytes.")
    rest = b"".join(parts[::2])
    if rest.count(b",") + rest.count(b"[") + rest.count(b"{") > limits.items:
        raise TooCostly(f"There are more than {limits.items} fields and list items.")
    if _NUMBER.search(rest):
        raise TooCostly(f"A number has more than {MAX_NUMBER} characters.")
    depth = 0
    for sign in rest.translate(None, delete=_OTHERS):
        depth += 1 if sign in _OPENING else -1
        if depth > limits.depth:
            raise TooCostly(f"It is nested more than {limits.depth} levels deep.")
        if depth < 0:
            raise ValueError("a bracket closes nothing")


def _refuse(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    """A number that can be written again: 1e999 is JSON, what Python reads of it is not."""
    number = float(text)
    return number if isfinite(number) else _refuse(text)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
