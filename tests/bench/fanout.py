"""CPU per delivered event: the bridge's stream route against a bare ASGI ``send`` loop.

The same server, the same readers, the same bytes; the two in turn, the ratio pair by pair.
"""

from __future__ import annotations

import asyncio
import tempfile

from tests.bench.fanout_server import RUN_ID
from tests.bench.figures import Figure
from tests.bench.processes import free_port, running
from tests.bench.raw import Connection, open_stream

READERS = 1_000
EVENTS = 100
ROUNDS = 3
TARGET = 1.25
GIVE_UP_SECONDS = 60.0


async def measure() -> list[Figure]:
    """Delivery figures."""
    ratios = []
    for _ in range(ROUNDS):
        own, bare = await _cost("bridge"), await _cost("bare")
        ratios.append(own / bare)
        print(f"  bridge {own * 1e6:.1f} µs, bare loop {bare * 1e6:.1f} µs of CPU a delivery")
    return [
        Figure("CPU per delivered event / bare send loop", sorted(ratios)[ROUNDS // 2], TARGET, "x")
    ]


async def _cost(kind: str) -> float:
    """CPU seconds of the server for one event to one reader."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["tests.bench.fanout_server", str(port), kind, folder]
        async with running(*arguments, port=port, ready="/cpu") as server:
            path = f"/v1/runs/{RUN_ID}/events"
            streams = [await open_stream(server.url, path) for _ in range(READERS)]
            for reader, _ in streams:
                await reader.readuntil(b"event: log")
            async with Connection(server.url) as connection:
                before = (await connection.call("GET", "/cpu"))["seconds"]
                readers = [asyncio.create_task(_drain(reader)) for reader, _ in streams]
                await connection.call("POST", f"/go?events={EVENTS}")
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await asyncio.gather(*readers)
                after = (await connection.call("GET", "/cpu"))["seconds"]
            for _, writer in streams:
                writer.close()
    return float(after - before) / (READERS * EVENTS)


async def _drain(reader: asyncio.StreamReader) -> None:
    left = f"line {EVENTS - 1} of".encode()
    tail = b""
    while left not in tail:
        chunk = await reader.read(2**16)
        if not chunk:
            raise RuntimeError("the stream ended early")
        tail = tail[-64:] + chunk
