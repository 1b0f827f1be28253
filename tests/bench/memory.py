"""Memory of the bridge per open stream: 1,000 runs, then a reader for each."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.processes import argo, bridge
from tests.bench.raw import Connection, open_stream

RUNS = 1_000
TARGET_KIB = 20.0
SETTLE_SECONDS = 3.0


async def measure() -> list[Figure]:
    """Memory figures."""
    with tempfile.TemporaryDirectory() as name:
        async with argo() as engine, bridge(engine.url, folder=Path(name)) as service:
            async with Connection(service.url) as connection:
                ids = [
                    (await connection.call("POST", "/v1/runs", {"action": "bench:idle"}))["id"]
                    for _ in range(RUNS)
                ]
            await asyncio.sleep(SETTLE_SECONDS)
            before = service.resident_bytes()
            streams = [await open_stream(service.url, f"/v1/runs/{i}/events") for i in ids]
            for reader, _ in streams:
                await reader.readuntil(b"event: log")
            await asyncio.sleep(SETTLE_SECONDS)
            after = service.resident_bytes()
            for _, writer in streams:
                writer.close()
    return [Figure("memory per open stream", (after - before) / RUNS / 1024, TARGET_KIB, "KiB")]
