"""Accepted, durable submissions of the bridge against bare creations at the same Argo.

Both by the same hand-written client with as many connections. The figure is the rate of durable
acceptances while the bridge already creates workflows behind them; how fast those come to exist is
printed beside it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.processes import argo, bridge
from tests.bench.raw import Connection, on_connections

COUNT = 600
CONNECTIONS = 16
ROUNDS = 7
TARGET = 0.8
GIVE_UP_SECONDS = 60.0
POLL_SECONDS = 0.25
_NS = "argo-workflows"


async def measure() -> list[Figure]:
    """Submission figures: the median of the rounds' ratios, bridge and bare in turn."""
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        async with argo() as engine, bridge(engine.url, folder=Path(name)) as service:
            for number in range(ROUNDS):
                bare = await _rate(engine.url, partial(_create, number))
                begin = time.monotonic()
                accepted = await _rate(service.url, _accept)
                await _all_exist(engine.url, (number + 1) * COUNT)
                created = COUNT / (time.monotonic() - begin)
                ratios.append(accepted / bare)
                print(
                    f"  bare {bare:.0f}/s, bridge accepts {accepted:.0f}/s, "
                    f"its workflows exist at {created:.0f}/s"
                )
    ratio = sorted(ratios)[ROUNDS // 2]
    return [Figure("accepted submissions / bare POST", ratio, TARGET, "x", higher_is_better=True)]


async def _rate(url: str, one: Callable[[Connection, int], Awaitable[object]]) -> float:
    begin = time.monotonic()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await on_connections(url, range(COUNT), one, many=CONNECTIONS)
    return COUNT / (time.monotonic() - begin)


async def _create(round_: int, connection: Connection, number: int) -> None:
    spec = {"workflowTemplateRef": {"name": "bench-idle"}}
    workflow = {"metadata": {"name": f"bare-{round_}-{number}", "namespace": _NS}, "spec": spec}
    await connection.call("POST", f"/api/v1/workflows/{_NS}", {"workflow": workflow})


async def _accept(connection: Connection, _number: int) -> None:
    await connection.call("POST", "/v1/runs", {"action": "bench:idle"})


async def _all_exist(url: str, count: int) -> None:
    query = "listOptions.labelSelector=bridge/instance%3Ddefault&fields=items.metadata.name"
    async with asyncio.timeout(GIVE_UP_SECONDS), Connection(url) as connection:
        while True:
            page = await connection.call("GET", f"/api/v1/workflows/{_NS}?{query}")
            if len(page["items"] or ()) >= count:
                return
            await asyncio.sleep(POLL_SECONDS)
