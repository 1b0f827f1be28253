"""Argo frame out → SSE bytes in, for 1,000 runs that each have a reader.

Every run walks through ten suspended steps of four seconds; each frame ends a step and begins the
next, so about 500 events a second arrive once all runs are open. Only that time is measured. A
frame's time is noted in its process once it is sent, an event's where its bytes arrive here: both
hops and all parsing are in the figure.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Figure, percentile
from tests.bench.processes import argo, bridge
from tests.bench.raw import Connection, open_stream

RUNS = 1_000
START_OVER_SECONDS = 20.0
MEASURED_SECONDS = 15.0
GIVE_UP_SECONDS = 120.0
P50_MS, P99_MS = 5.0, 25.0

_STEP = re.compile(rb'"type":"(step|approval)".*?"step":\{"id":"([^"]+)"(?:.*?"phase":"([^"]+)")?')


async def measure() -> list[Figure]:
    """Latency figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = folder / "frames.json"
        arrivals: dict[str, float] = {}
        async with argo(record) as engine, bridge(engine.url, folder=folder) as service:
            begin = await _run_all(service.url, arrivals)
        frames = json.loads(record.read_text())
    told = {key: sent for key, sent in frames.items() if key in arrivals}
    window = {k: t for k, t in told.items() if begin <= t < begin + MEASURED_SECONDS}
    delays = [(arrivals[key] - sent) * 1_000 for key, sent in window.items()]
    rate = len(delays) / MEASURED_SECONDS
    print(f"  {len(delays)} events of {RUNS} runs, {rate:.0f} events/s")
    return [
        Figure("Argo frame → SSE, p50", percentile(delays, 0.50), P50_MS, "ms"),
        Figure("Argo frame → SSE, p99", percentile(delays, 0.99), P99_MS, "ms"),
    ]


async def _run_all(url: str, arrivals: dict[str, float]) -> float:
    """Follow all runs to their ends; when the last of them was open."""
    async with (
        asyncio.timeout(GIVE_UP_SECONDS),
        Connection(url) as connection,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(RUNS):
            run = await connection.call("POST", "/v1/runs", {"action": "bench:steps"})
            name = run["workflow"]["name"]
            group.create_task(_read(url, run["id"], name, arrivals))
            # Never catching up: runs that begin together would go on together, as bursts.
            await asyncio.sleep(START_OVER_SECONDS / RUNS)
        all_open = time.time()
    return all_open  # noqa: RET504 - taken before the runs have ended


async def _read(url: str, run_id: str, workflow: str, arrivals: dict[str, float]) -> None:
    reader, writer = await open_stream(url, f"/v1/runs/{run_id}/events")
    rest = b""
    try:
        while True:
            chunk = await reader.read(2**16)
            now = time.time()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                found = _STEP.search(line)
                if found:
                    phase = (found[3] or b"Running").decode()
                    arrivals.setdefault(f"{workflow} {found[2].decode()} {phase}", now)
            if not chunk or b"event: done" in chunk:
                return
    finally:
        writer.close()
