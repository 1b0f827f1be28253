"""A loopback server that plays recorded answers, byte for byte and chunk for chunk.

Knows HTTP/1.1 framing and how a recorded connection ended. Must not know what the answers mean.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

RECORDINGS = Path(__file__).parent / "recordings"

End = Literal["content-length", "final chunk", "cut", "open", "silence"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: a body of known length, or chunks and how the connection ended after them."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: tuple[bytes, ...] = ()
    end: End = "content-length"


@dataclass(frozen=True, slots=True)
class Received:
    """What a client sent; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Replay:
    """A running server: its address, what it received and the connections that are open."""

    url: str
    received: list[Received]
    connections: Collection[asyncio.Task[None]]


def json_reply(value: Any, *, status: int = 200) -> Reply:
    """A plain JSON answer."""
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


@asynccontextmanager
async def replay(
    replies: Iterable[Reply], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Replay]:
    """Serve *replies* in order, one a request; after the last one the last one again.

    A list may be filled later, with answers that hold the server's own address.
    """
    script = replies if isinstance(replies, list) else list(replies)
    received: list[Received] = []
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            while (request := await _read(reader)) is not None:
                reply = script[min(len(received), len(script) - 1)]
                received.append(request)
                if not await _answer(reply, reader, writer):
                    return
        except ConnectionError:
            return  # the client left first, as some tests want
        finally:
            writer.transport.abort()
            open_now.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Replay(f"{'https' if tls else 'http'}://127.0.0.1:{port}", received, open_now)
    finally:
        server.close()
        for task in tuple(open_now):
            task.cancel()
            await asyncio.wait([task])
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)


async def _answer(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Write one answer; False when the connection ends with it."""
    if reply.end == "silence":
        await reader.read()
        return False
    framing = (
        f"Content-Length: {len(reply.body)}"
        if reply.end == "content-length"
        else "Transfer-Encoding: chunked"
    )
    lines = [
        f"HTTP/1.1 {reply.status} X",
        framing,
        *(f"{k}: {v}" for k, v in reply.headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if reply.end == "content-length":
        writer.write(reply.body)
        await writer.drain()
        return True
    for chunk in reply.chunks:
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
    if reply.end == "final chunk":
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
    if reply.end == "open":
        await reader.read()
    return False


# --- recorded exchanges ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of the recordings that the bridge makes too, and its answer."""

    recording: str
    number: int
    raw: Mapping[str, Any]

    @property
    def call(self) -> str:
        """create, get, list, watch, log, stop, terminate, set, retry, delete or template."""
        return str(self.raw["call"])

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.raw["status"])

    @property
    def end(self) -> End:
        """How the answer ended."""
        end: End = self.raw["end"]
        return end

    @property
    def text(self) -> str:
        """The whole body."""
        return str(self.raw["body"]) if "body" in self.raw else "".join(self._chunks())

    @property
    def reply(self) -> Reply:
        """The answer to play."""
        return Reply(
            self.status,
            self.raw["headers"],
            self.text.encode() if self.end == "content-length" else b"",
            tuple(chunk.encode() for chunk in self._chunks()),
            self.end,
        )

    def _chunks(self) -> list[str]:
        """The chunks; long lines were shortened in the file and get their length back here."""
        chunks = list(self.raw.get("chunks", ()))
        for index, length in self.raw.get("line_lengths", {}).items():
            chunk = chunks[int(index)]
            at = chunk.index("…")
            line = chunk.rstrip("\n")
            filling = chunk[at - 1] * (length - len(line) + 1)
            chunks[int(index)] = chunk[:at] + filling + chunk[at + 1 :]
        return chunks

    def __str__(self) -> str:
        return f"{self.recording}-{self.number}-{self.call}-{self.status}"


def exchanges(recording: str) -> list[Exchange]:
    """The exchanges of one file."""
    document = json.loads((RECORDINGS / f"{recording}.json").read_text())
    return [Exchange(recording, n, raw) for n, raw in enumerate(document["exchanges"])]
