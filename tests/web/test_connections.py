"""Clients that are slow, endless or too many, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette

from bridge.domain.events import log
from bridge.web.connections import ConnectionLimits, bounded
from tests.web.making import SERVICE_TOKEN, Rig, served, settings_for, until

TOKEN = f"Authorization: Bearer {SERVICE_TOKEN}\r\n"
GET = f"GET /v1/actions HTTP/1.1\r\nHost: bridge\r\n{TOKEN}"
POST = f"POST /v1/runs HTTP/1.1\r\nHost: bridge\r\n{TOKEN}Content-Type: application/json\r\n"
PATIENCE = 10.0


class Peer:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, text: str | bytes) -> None:
        """Send as it stands."""
        self.writer.write(text.encode() if isinstance(text, str) else text)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a length: status, headers, body."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, body

    async def refusal(self) -> tuple[int, str]:
        """Status and code of a problem after which nothing comes any more."""
        status, headers, body = await self.answer()
        assert headers["connection"] == "close"
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"
        await self.ends()
        return status, json.loads(body)["code"]

    async def ends(self) -> None:
        """Wait for the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                assert await self.reader.read() == b""
            except ConnectionResetError:
                return


@asynccontextmanager
async def peer(rig: Rig, *, read_buffer: int | None = None) -> AsyncIterator[Peer]:
    """A connection to the bridge."""
    sock = socket.socket()
    if read_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
    sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
    url = rig.http.base_url
    await asyncio.get_running_loop().sock_connect(sock, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def hasty() -> AsyncIterator[Rig]:
    """A bridge that waits for half a second."""
    async with served(settings_for(request_seconds=0.5, stall_seconds=1)) as rig:
        yield rig


@pytest.fixture
async def strict() -> AsyncIterator[Rig]:
    """A bridge with a small head and few connections."""
    async with served(settings_for(max_header_bytes=2_000, max_connections=3)) as rig:
        yield rig


@pytest.mark.parametrize(
    "begun",
    [
        "",
        "GET /v1/act",
        GET,
        GET + "X-Slow: ",
        POST + "Content-Length: 100\r\n\r\n{",
        POST + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        "\r\n\r\n",
    ],
)
async def test_a_request_that_never_ends_is_ended(hasty: Rig, begun: str):
    """Nobody keeps the bridge waiting: not before, within or after the headers of a request."""
    async with peer(hasty) as client:
        await client.send(begun)
        assert await client.refusal() == (408, "request_slow")


async def test_a_request_that_trickles_is_ended(hasty: Rig):
    """A byte now and then does not prolong the time that a request has."""
    async with peer(hasty) as client:
        await client.send(POST + "Content-Length: 1000\r\n\r\n")

        async def trickle() -> None:
            while True:
                await client.send("{")
                await asyncio.sleep(0.1)  # the pace of a slow client is what is tested

        trickling = asyncio.ensure_future(trickle())
        assert await client.refusal() == (408, "request_slow")
        trickling.cancel()


async def test_empty_lines_do_not_keep_a_connection(hasty: Rig):
    """A client that sends only line ends after a request does not stay for ever."""
    async with peer(hasty) as client:
        await client.send(GET + "\r\n")
        assert (await client.answer())[0] == 200
        await client.send("\r\n")
        assert await client.refusal() == (408, "request_slow")


async def test_a_stream_outlives_the_time_of_its_request(hasty: Rig):
    """The time for a request does not count once it is there: streams and slow answers go on."""
    run_id = await hasty.accepted()
    async with peer(hasty) as client:
        await client.send(
            f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: b\r\n{TOKEN}"
            "Accept: text/event-stream\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(b"id: 2\n")
            await asyncio.sleep(0.7)  # longer than a request may take
            await hasty.say(run_id, "still here")
            await client.reader.readuntil(b"still here")


async def test_requests_one_after_another_are_each_timed():
    """A connection may be used again and again; every request has its own time."""
    async with served(settings_for(request_seconds=2)) as rig, peer(rig) as client:
        for _ in range(3):
            await client.send(GET)
            await asyncio.sleep(0.8)  # within the time of each, beyond it in all
            await client.send("\r\n")
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (f"{GET}X-Large: {'x' * 3_000}\r\n\r\n", 431, "headers_too_large"),
        (GET + "".join(f"X-{n}: 1\r\n" for n in range(600)) + "\r\n", 431, "headers_too_large"),
        (f"GET /v1/actions?q={'x' * 9_000} HTTP/1.1\r\nHost: b\r\n\r\n", 414, "address_too_long"),
        ("nonsense\r\n\r\n", 400, "request_invalid"),
        ("GET /\xff HTTP/1.1\r\n\r\n", 400, "request_invalid"),
        (f"{POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "request_invalid"),
        (f"{POST}Content-Length: -1\r\n\r\n", 400, "request_invalid"),
        (f"{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "request_invalid"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request_invalid"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request_invalid"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_cannot_be_a_request_is_told_why(
    strict: Rig, sent: str | bytes, status: int, code: str
):
    """Too large or malformed heads get the same kind of answer as everything else."""
    async with peer(strict) as client:
        await client.send(sent if isinstance(sent, bytes) else sent.encode("latin-1"))
        assert await client.refusal() == (status, code)


@pytest.mark.parametrize(
    "begun",
    ["GET /", GET + "X-Endless: ", POST + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: "],
)
async def test_a_head_without_end_is_cut(strict: Rig, begun: str):
    """What a client sends outside of a body is held up to the limit only."""
    async with peer(strict) as client:
        await client.send(begun)
        await client.send("x" * 3_000)
        assert await client.refusal() == (431, "headers_too_large")


async def test_a_large_body_is_no_head(strict: Rig):
    """Bodies have a limit of their own, in pieces of any size."""
    body = json.dumps({"action": "thing:make", "input": {"name": "a", "extra": "x" * 20_000}})
    pieces = [body[at : at + 500] for at in range(0, len(body), 500)]
    async with peer(strict) as client:
        await client.send(POST + "Transfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            await client.send(f"{len(piece):x}\r\n{piece}\r\n")
        await client.send("0\r\n\r\n")
        status, _, answer = await client.answer()
    assert status == 202, answer


async def test_more_connections_than_there_may_be_are_sent_away(strict: Rig):
    """Beyond the limit a client is told to come again; those inside go on undisturbed."""
    async with peer(strict) as first, peer(strict) as second, peer(strict) as third:
        for client in (first, second, third):
            await client.send(GET + "\r\n")
            assert (await client.answer())[0] == 200
        async with peer(strict) as fourth:
            status, headers, _ = await fourth.answer()
            await fourth.ends()
        await first.send(GET + "\r\n")
        assert (await first.answer())[0] == 200
    assert (status, headers["retry-after"]) == (503, "5")


async def test_requests_sent_ahead_have_a_limit(strict: Rig):
    """A client cannot queue thousands of requests with one packet."""
    async with peer(strict) as client:
        await client.send((GET + "\r\n") * 200)
        async with asyncio.timeout(PATIENCE):
            text = b""
            while True:
                try:
                    part = await client.reader.read(65_536)
                except ConnectionResetError:
                    break
                if not part:
                    break
                text += part
    assert text.count(b"HTTP/1.1 ") <= 18


async def test_an_answer_that_nobody_takes_is_given_up(hasty: Rig):
    """A client that asks and never reads costs a connection for a moment only."""
    assert hasty.server is not None
    run_id = await hasty.accepted()
    for _ in range(4):
        await hasty.bridge.journal.write(run_id, *[log("x" * 4_000) for _ in range(500)])
    async with peer(hasty, read_buffer=4_096) as client:
        await client.send(
            f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: b\r\n{TOKEN}"
            "Accept: text/event-stream\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(b"retry: 2000")
        open_ones, streams = hasty.server.server_state.connections, hasty.bridge.streams
        await until(lambda: _now(not streams and not open_ones))


async def _now(answer: bool) -> bool:
    return answer


class Stuck(asyncio.Transport):
    """A connection whose client takes nothing more: closing it waits for ever."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.closing = False
        self.aborted = asyncio.Event()

    def is_closing(self) -> bool:
        """Whether close was asked for."""
        return self.closing

    def close(self) -> None:
        """Wait for what is still to be sent."""
        self.closing = True

    def abort(self) -> None:
        """End without it."""
        self.aborted.set()


async def test_an_idle_connection_ends_even_if_its_last_answer_is_not_taken():
    """The last bytes of an answer that nobody takes do not keep a connection open."""
    config = uvicorn.Config(Starlette(), log_config=None, ws="none")
    protocol = bounded(ConnectionLimits(stall=0.05))(config, uvicorn.server.ServerState(), {})
    transport = Stuck()
    protocol.connection_made(transport)
    protocol.timeout_keep_alive_handler()
    async with asyncio.timeout(PATIENCE):
        await transport.aborted.wait()
    protocol.connection_lost(None)
    assert transport.closing
