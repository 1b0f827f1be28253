"""A soak: a month of runs through a store that forgets, and whether its size stays flat.

Time is the bench's own: each round is a day in which runs are accepted, tell their events and end,
and in which retention removes what is old enough. Sizes are those of the files, or of the database.
The audit trail is never removed, so no records are written here.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from bridge.domain.events import log
from bridge.domain.runs import NewRun, RunChanges, RunContext, RunStatus
from bridge.ports import Entry, RunStore
from bridge.services.retention import Retention
from tests.bench.figures import Figure
from tests.postgres import postgres

DAYS = 30
RUNS_A_DAY = 60
EVENTS_A_RUN = 12
KEEP_EVENTS, KEEP_RUNS = timedelta(days=3), timedelta(days=10)
FULL = 14
"""From this day on as much is removed as comes."""
TARGET = 1.25


class Days:
    """A clock that the bench moves; sleeping costs nothing."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """See Clock."""
        return self.time

    def monotonic(self) -> float:
        """See Clock."""
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        del seconds
        await asyncio.sleep(0)


async def measure() -> list[Figure]:
    """Sizes after the soak as ratios to the size when the store was first full."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "soak.db"
        async with SqliteStore(path, replica="soak") as sqlite:
            ratio = await _soak(sqlite, lambda: _file_bytes(path))
            figures.append(Figure("SQLite size after 30 days / after 14", ratio, TARGET, "x"))
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres())
        dsn = stack.enter_context(server.database())
        postgresql = await stack.enter_async_context(PostgresStore(dsn, replica="soak"))
        ratio = await _soak(postgresql, lambda: _database_bytes(dsn), nightly=lambda: _vacuum(dsn))
        figures.append(Figure("PostgreSQL size after 30 days / after 14", ratio, TARGET, "x"))
    return figures


async def _soak(
    store: RunStore, size: Callable[[], int], *, nightly: Callable[[], None] = lambda: None
) -> float:
    clock = Days()
    retention = Retention(store=store, clock=clock, events=KEEP_EVENTS, runs=KEEP_RUNS)
    full = 0
    for day in range(DAYS):
        await asyncio.gather(*(_live(store, clock, day, n) for n in range(RUNS_A_DAY)))
        clock.time += timedelta(days=1)
        await retention.prune()
        await asyncio.to_thread(nightly)
        if day == FULL:
            full = size()
    end = size()
    name = type(store).__name__
    print(f"  {name}: {full / 1e6:.1f} MB after {FULL} days, {end / 1e6:.1f} MB after {DAYS}")
    return end / full


async def _live(store: RunStore, clock: Days, day: int, number: int) -> None:
    """One run from its acceptance to its end."""
    now = clock.now()
    new = NewRun(
        id=f"01kagw9zq6x3v5t{day:03}{number:08}",
        action="bench:soak",
        definition={"a": "definition"},
        definition_digest="digest",
        caller="plugin:scaffolder",
        user="user:default/somebody",
        key=f"task-{day}-{number}",
        input={"namespaceName": f"team-{number}", "description": "something " * 10},
        context=RunContext("task", "step", "template"),
        target="default",
        namespace="argo-workflows",
        created_at=now,
    )
    run = (await store.accept(new, first=log("accepted"))).run
    for step in range(EVENTS_A_RUN):
        line = log(f"step-{step} | a line of a pod, as long as such lines are in general")
        changes = RunChanges(state={"nodes": {f"node-{n}": ["Succeeded", ""] for n in range(step)}})
        await store.append(run.id, Entry(changes, (line,)), fence=run.fence, now=now)
    ended = RunChanges(status=RunStatus.FAILED, finished_at=now)
    await store.append(run.id, Entry(ended, (log("ended"),)), fence=run.fence, now=now)


def _file_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def _database_bytes(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def _vacuum(dsn: str) -> None:
    """What autovacuum does within a day; the bench's days have seconds."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute("VACUUM")
