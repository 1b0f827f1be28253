"""What becomes of the connections to Argo when its streams are left."""

from __future__ import annotations

import asyncio

from tests.adapters.argo import engine_at
from tests.adapters.replay import Reply, replay
from tests.crash.points import drawing

LINES = tuple(b'data: {"result":{"content":"line %d"}}\n\n' % number for number in range(3))
LOG = Reply(headers={"Content-Type": "text/event-stream"}, chunks=LINES, end="final chunk")
ROUNDS, AT_ONCE, LONGEST_SECONDS = 15, 12, 0.06


async def test_no_stream_leaves_a_connection_behind():
    """However often logs are given up, and in which moment: later ones can be read all the same."""
    rng, loop = drawing("streams"), asyncio.get_running_loop()
    ends: set[bool] = set()
    async with replay([LOG]) as server, engine_at(server.url) as engine:

        async def read() -> int:
            async with engine.logs("a", pod="a-main-1", follow=True) as batches:
                return sum([len(batch) async for batch in batches])

        for _ in range(ROUNDS):
            reading = [asyncio.create_task(read()) for _ in range(AT_ONCE)]
            for task in reading:
                loop.call_later(rng.uniform(0, LONGEST_SECONDS), task.cancel)
            await asyncio.wait(reading)
            ends |= {task.cancelled() for task in reading}
        assert ends == {True, False}
        assert await read() == len(LINES)
        still_open = [*server.connections]
        if still_open:
            await asyncio.wait(still_open, timeout=5)
        assert not server.connections
