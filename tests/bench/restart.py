"""A restart with many open runs: how soon all are followed again, and what that asks of Argo.

The runs are real: accepted by the bridge, each waiting at the gate of its own workflow. The bridge
is killed (SIGKILL) and started again; then gates chosen at random are opened, to see that their
runs are truly followed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure
from tests.bench.processes import Running, argo, bridge
from tests.bench.raw import Connection, on_connections

RUNS = int(os.environ.get("BENCH_RUNS", "10000"))
SECONDS = 5.0
CALLS = 30
SAMPLE = 20
CONNECTIONS = 8
GIVE_UP_SECONDS = 300.0
POLL_SECONDS = 0.02
_NS = "argo-workflows"


async def measure() -> list[Figure]:
    """Restart figures: seconds from the start of the process, and calls to Argo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with argo() as engine:
            async with bridge(engine.url, folder=folder) as service:
                await _open_runs(service)
                os.kill(service.pid, signal.SIGKILL)
            before = await _calls(engine)
            begin = time.monotonic()
            async with bridge(engine.url, folder=folder) as service:
                await _following(service)
                seconds = time.monotonic() - begin
                calls = await _calls(engine) - before
                print(f"  {RUNS} open runs: following after {seconds:.2f} s, {calls} calls to Argo")
                await _sample_ends(service, engine)
    return [
        Figure(f"restart with {RUNS} open runs, all followed", seconds, SECONDS, "s"),
        Figure("calls to Argo for that", calls, CALLS, "calls"),
    ]


async def _open_runs(service: Running) -> None:
    async def ask(connection: Connection, _number: int) -> None:
        await connection.call("POST", "/v1/runs", {"action": "bench:idle"})

    async with asyncio.timeout(GIVE_UP_SECONDS):
        await on_connections(service.url, range(RUNS), ask, many=CONNECTIONS)
        async with Connection(service.url) as connection:
            for status in ("accepted", "submitting", "running"):
                await _until(connection, f"/v1/runs?limit=1&status={status}", _is_empty)


async def _until(connection: Connection, path: str, holds: Callable[[Any], bool]) -> None:
    while True:
        if holds(await connection.call("GET", path)):
            return
        await asyncio.sleep(POLL_SECONDS)


def _is_empty(page: Any) -> bool:
    return not page["runs"]


async def _calls(engine: Running) -> int:
    async with Connection(engine.url) as connection:
        return int((await connection.call("GET", "/bench/calls"))["calls"])


async def _following(service: Running) -> None:
    """Readiness tells when the first list has been compared with everything."""
    async with asyncio.timeout(GIVE_UP_SECONDS), Connection(service.url) as connection:
        await _until(connection, "/readyz", lambda body: body["checks"]["argo"] == "ok")


async def _sample_ends(service: Running, engine: Running) -> None:
    """Open some gates: each run must end."""
    async with asyncio.timeout(GIVE_UP_SECONDS), Connection(service.url) as connection:
        page = await connection.call("GET", "/v1/runs?limit=200&status=waiting")
        chosen = random.sample(page["runs"], SAMPLE)
        async with Connection(engine.url) as argo_connection:
            for run in chosen:
                path = f"/api/v1/workflows/{_NS}/{run['workflow']['name']}/resume"
                await argo_connection.call("PUT", path, {})
        for run in chosen:
            await _until(connection, f"/v1/runs/{run['id']}", _has_succeeded)
    print(f"  {SAMPLE} of them, chosen at random, went on to their end")


def _has_succeeded(run: Any) -> bool:
    return bool(run["status"] == "succeeded")
