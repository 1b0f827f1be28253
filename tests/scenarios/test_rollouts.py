"""Shutdowns and deploys of real processes: clients go on elsewhere, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.errors import LeaseLost
from tests.scenarios.argo import Argo, until
from tests.scenarios.fleet import Fleet, fleet
from tests.scenarios.making import SAID, STEPS
from tests.scenarios.reading import Reader
from tests.scenarios.stage import open_stage

STREAMS, RUNS, CLIENTS = 60, 6, 4
DRAIN_SECONDS = 2.0
PASSED = [step for step in STEPS if step[0] != "⏸"]


@pytest.fixture
async def shared(tmp_path: Path, argo: Argo, postgres_dsn: str):
    """A fleet over PostgreSQL."""
    async with fleet(tmp_path, argo, BRIDGE_DATABASE_URL=postgres_dsn) as opened:
        yield opened


@pytest.fixture
async def alone(tmp_path: Path, argo: Argo):
    """A fleet over SQLite, which is for one replica at a time."""
    async with fleet(tmp_path, argo) as opened:
        yield opened


class Load:
    """Clients that ask for a run, read it to its end, and ask again, until they are stopped."""

    def __init__(self, fleet: Fleet, argo: Argo) -> None:
        self._fleet = fleet
        self._argo = argo
        self._stopping = False
        self.finished: list[tuple[str, Reader]] = []

    async def run(self) -> None:
        """All clients, and somebody in Argo who opens every gate."""
        opening = asyncio.ensure_future(self._open_gates())
        try:
            async with asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    clients.create_task(self._client(number))
        finally:
            opening.cancel()

    async def _client(self, number: int) -> None:
        turn = 0
        while not self._stopping:
            turn += 1
            run = await self._fleet.ask("work:steps", key=f"client-{number}-turn-{turn}")
            reader = self._fleet.read(run)
            await reader.end()
            self.finished.append((run["workflow"]["name"], reader))

    async def _open_gates(self) -> None:
        while True:
            for workflow in self._argo.engine.workflows():
                if any(node.waits for node in workflow.nodes):
                    self._argo.open(workflow.name)
            await asyncio.sleep(0.05)

    async def more(self, runs: int) -> None:
        """Wait until so many more runs than now have ended."""
        wanted = len(self.finished) + runs
        await until(lambda: len(self.finished) >= wanted)

    def stop(self) -> None:
        """Ask for nothing more; what was asked for is read to its end."""
        self._stopping = True

    def check(self) -> None:
        """Every run went well, was told whole and once, and has one workflow."""
        for workflow, reader in self.finished:
            assert reader.events[-1]["status"] == "succeeded", reader.lines
            # A gate that is opened before anybody sees it open is told as passed only.
            assert [step for step in reader.steps if step[0] != "⏸"] == PASSED, reader.lines
            for step in ("first", "last"):
                reader.check_spoken(step, SAID)
            assert self._argo.calls(workflow) == ["create"]
        assert self._argo.created() == len(self.finished)


async def test_sigterm_drains_and_streams_go_on_at_the_other_replica(shared: Fleet, argo: Argo):
    """A replica that is told to go is gone within two seconds, and no reader misses a line."""
    leaving, staying = [await shared.start() for _ in range(2)]
    runs = [
        await shared.ask("work:steps", key=f"run-{n}", at=(leaving, staying)[n % 2])
        for n in range(RUNS)
    ]
    readers = [shared.read(runs[n % RUNS], first=leaving) for n in range(STREAMS)]
    for reader in readers:
        await reader.told("⏸ waiting for hold")
    assert [reader.connections for reader in readers] == [1] * STREAMS

    took = await shared.stop(leaving)
    for run in runs:
        argo.open(run["workflow"]["name"])
    ends = [await reader.end() for reader in readers]

    assert took < DRAIN_SECONDS
    assert [end["status"] for end in ends] == ["succeeded"] * STREAMS
    assert all(reader.steps == STEPS for reader in readers)
    for n, reader in enumerate(readers):
        assert reader.events == readers[n % RUNS].events
        reader.check_spoken("last", SAID)
        assert reader.connections > 1
    assert argo.created() == RUNS


async def test_a_rolling_restart_of_two_replicas_loses_nothing(shared: Fleet, argo: Argo):
    """Both replicas are replaced under load: each run ends well, each stream is whole."""
    old = [await shared.start() for _ in range(2)]
    load = Load(shared, argo)
    working = asyncio.ensure_future(load.run())
    await load.more(CLIENTS)

    for replica in old:
        assert await shared.stop(replica) < DRAIN_SECONDS
        await load.more(CLIENTS)
        await shared.start()
        await load.more(CLIENTS)
    load.stop()
    await asyncio.wait_for(working, 60)

    load.check()
    assert len(load.finished) >= 5 * CLIENTS


async def test_a_restart_of_the_only_replica_loses_nothing(alone: Fleet, argo: Argo):
    """With SQLite clients wait through a restart: each run ends well, each stream is whole."""
    load = Load(alone, argo)
    replica = await alone.start()
    working = asyncio.ensure_future(load.run())

    for _ in range(2):
        await load.more(CLIENTS)
        assert await alone.stop(replica) < DRAIN_SECONDS
        replica = await alone.start()
    await load.more(CLIENTS)
    load.stop()
    await asyncio.wait_for(working, 60)

    load.check()


async def test_a_bridge_that_has_let_go_writes_nothing_more(kept: dict[str, Any]):
    """What goes on after a shutdown is the next owner's: a late write here is refused."""
    async with open_stage(kept) as stage:
        run = await stage.held()
        await stage.bridge.aclose()

        with pytest.raises(LeaseLost):
            await stage.bridge.journal.say(run.id, "too late")
        assert run.reader.count("too late") == 0
