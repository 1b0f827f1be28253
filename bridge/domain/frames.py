"""Server-Sent Events, both ways, without I/O.

Knows the event stream format (WHATWG HTML, section 9.2) and Argo's framing of it
(argo-recordings/watch-accept). Must not know sockets: bytes in, values out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bridge.domain.errors import EventIdInvalid
from bridge.domain.events import Event
from bridge.domain.mapping import timestamp

KEEP_ALIVE = b": keep-alive\n\n"
_MAX_DIGITS = 18


def retry_frame(milliseconds: int) -> bytes:
    """Tells a client how long to wait before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()


def event_json(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    draft = event.draft
    return {
        "seq": event.seq,
        "time": timestamp(event.time),
        "type": draft.type,
        "level": draft.level,
        "message": draft.message,
        **draft.data,
    }


def encode_event(event: Event) -> bytes:
    """One frame: ``id``, ``event``, ``data``. JSON has no raw newlines, so one data line does."""
    body = json.dumps(event_json(event), separators=(",", ":"), ensure_ascii=False)
    text = f"id: {event.seq}\nevent: {event.draft.type}\ndata: {body}\n\n"
    return text.encode("utf-8", "replace")


def parse_last_event_id(text: str | None) -> int:
    """The sequence number to resume after; nothing means from the start.

    Raises:
        EventIdInvalid: It is not a decimal number that could be a sequence number.
    """
    if text is None or not text.strip():
        return 0
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise EventIdInvalid(f"{text[:40]!r} is not a sequence number; leave it out to start over")
    return int(digits)


class LineSplitter:
    """Cuts a byte stream into lines, whatever the chunks are.

    Argo's events span chunks and its lines reach tens of megabytes; a length limit bounds what
    a broken peer can make us hold.
    """

    def __init__(self, *, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Every line that *chunk* completes, without its line end.

        Raises:
            ValueError: A line is longer than the limit.
        """
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield (b"".join([*self._parts, line]) if self._parts else line).rstrip(b"\r")
            self._parts.clear()
            self._held = 0
        if rest:
            self._parts.append(rest)
            self._held += len(rest)
            if self._held > self._limit:
                raise ValueError(f"a line is longer than {self._limit} bytes")

    def rest(self) -> bytes:
        """What stands after the last line end; an error object at the end has none."""
        return b"".join(self._parts)


def data_of(line: bytes) -> bytes | None:
    """The JSON of one line of an Argo stream, in SSE or in JSON-lines mode.

    None for blank lines and for comments (keep-alives).
    """
    text = line.strip()
    if text.startswith(b"data:"):
        return text[5:].strip() or None
    return text if text.startswith(b"{") else None
