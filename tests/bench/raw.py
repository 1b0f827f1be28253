"""HTTP by hand, so that the measure costs less than what is measured.

Knows just enough of HTTP/1.1: one request at a time on a kept connection, and endless streams.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self
from urllib.parse import urlsplit


class Connection:
    """A kept connection for unary JSON calls."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    async def __aenter__(self) -> Self:
        """Connect."""
        host, port = self._address.hostname, self._address.port
        self._reader, self._writer = await asyncio.open_connection(host, port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Disconnect."""
        self._writer.close()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request; the decoded answer. Any status but a 2xx is an error."""
        data = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._address.netloc}"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}", "", ""]
        self._writer.write("\r\n".join(head).encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        fields = answer.decode("latin-1").lower().split("\r\n")
        lengths = [field[15:].strip() for field in fields if field.startswith("content-length:")]
        text = await self._reader.readexactly(int(lengths[0])) if lengths else b""
        if not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            raise RuntimeError(f"{method} {path}: {answer.splitlines()[0]!r} {text[:300]!r}")
        return json.loads(text) if text else None


async def on_connections(
    url: str,
    numbers: Iterable[int],
    one: Callable[[Connection, int], Awaitable[object]],
    *,
    many: int,
) -> None:
    """Do *one* thing for each number, over so *many* kept connections at a time."""
    left = iter(numbers)

    async def work() -> None:
        async with Connection(url) as connection:
            for number in left:
                await one(connection, number)

    async with asyncio.TaskGroup() as group:
        for _ in range(many):
            group.create_task(work())


async def open_stream(url: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A GET with ``Accept: text/event-stream``; the answer's head is still to be read."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    head = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    return reader, writer
