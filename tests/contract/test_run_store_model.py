"""Any sequence of calls leaves a SQL store as it leaves the plainest one: MemoryStore."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bridge.adapters.memory import Memory, MemoryStore
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command, Settlement, Verb
from bridge.domain.errors import BridgeError
from bridge.domain.events import log
from bridge.domain.runs import RunChanges, RunStatus
from bridge.ports import AuditFilter, Entry, RunFilter, RunStore
from tests.contract.storing import ACCEPTED, entity, run_id
from tests.domain.making import NOW, new_run

MANY = 1000
FOR_EVER = 3600.0
KEYS = st.sampled_from(["k1", "k2", "k3"])
WHICH = st.integers(0, 7)
SIDES = st.integers(0, 1)
ENTITIES = st.sampled_from([None, entity("a"), entity("b"), entity("b", title="new")])
FENCES = st.sampled_from([None, 0, 0, 0, -1])
"""None, or how far from the right one."""


class Comparison(RuleBasedStateMachine):
    """Every call goes to the memory store and to the other one; they must not differ."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.memory = Memory()
        self.model: list[RunStore] = []
        self.real: list[RunStore] = []
        self.time = NOW
        self.accepted = 0

    async def open(self) -> None:
        """Open the stores that are compared."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        """Start with empty stores."""
        self.runner.run(self.open())

    def teardown(self) -> None:
        """Close what was opened."""
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def later(self):
        """Another time, a little after."""
        self.time += timedelta(milliseconds=1500)
        return self.time

    def a_run(self, which: int) -> str:
        """The id of a run that was accepted, or one that never was."""
        return run_id(which) if which < self.accepted else "unknown"

    def both(self, side: int, call: Callable[[RunStore], Awaitable[Any]]) -> Any:
        """Make one call of one replica in both worlds."""
        side %= len(self.real)
        expected = self.runner.run(outcome(call, self.model[side]))
        assert self.runner.run(outcome(call, self.real[side])) == expected
        return expected

    # --- calls ---

    @rule(
        side=SIDES,
        key=KEYS,
        name=st.sampled_from(["a", "a", "a", "b"]),
        lock=st.sampled_from([None, "l1"]),
        may_queue=st.booleans(),
        over=st.none() | WHICH,
    )
    def accept(self, *, side, key, name, lock, may_queue, over) -> None:
        """Ask for a run, perhaps again, perhaps for what another one works on."""
        number, self.accepted = self.accepted, self.accepted + 1
        before = self.memory.runs.get(run_id(over)) if over is not None else None
        new = new_run(
            run_id(number),
            key=key,
            input={"name": name},
            lock=lock,
            may_queue=may_queue,
            takes_over=before if before is not None and before.finished else None,
            created_at=self.later(),
        )
        drafts = [AuditDraft("run.create", "c", key)]
        self.both(side, lambda store: store.accept(new, first=ACCEPTED, audit=drafts))

    @rule(
        side=SIDES,
        which=WHICH,
        off=FENCES,
        status=st.none() | st.sampled_from(RunStatus),
        lines=st.integers(0, 3),
        settle=st.booleans(),
        keeps=ENTITIES,
        drops=ENTITIES,
    )
    def append(self, *, side, which, off, status, lines, settle, keeps, drops) -> None:
        """Write to a run as its owner, a former one, or somebody else."""
        target, now = self.a_run(which), self.later()
        run = self.memory.runs.get(target)
        slots = sorted(self.memory.commands.get(target, ()))
        ends = status is not None and status.finished
        entry = Entry(
            RunChanges(status=status, finished_at=now if ends else None, progress=f"{lines}/3"),
            events=tuple(log(f"line {line}") for line in range(lines)),
            audit=(AuditDraft("run.change", "c", reason=str(lines)),) if lines == 1 else (),
            settles=Settlement(slots[0], "done") if settle and slots else None,
            keeps=keeps,
            drops=drops.ref if drops else None,
        )
        fence = None if off is None or run is None else run.fence + off
        self.both(side, lambda store: store.append(target, entry, fence=fence, now=now))

    @rule(side=SIDES, which=WHICH, verb=st.sampled_from(Verb), gate=st.sampled_from(["", "g"]))
    def command(self, *, side, which, verb, gate) -> None:
        """Ask something of a run."""
        now = self.later()
        given = Command(self.a_run(which), verb, by="user:default/ann", at=now, gate=gate)
        entry = Entry(events=(log(f"asked to {verb}"),), audit=(AuditDraft(f"run.{verb}", "c"),))
        self.both(side, lambda store: store.command(given, entry=entry, now=now))

    @rule(side=SIDES, which=WHICH, off=st.sampled_from([0, 0, 1]))
    def take_lock(self, *, side, which, off) -> None:
        """Try to begin the work."""
        target = self.a_run(which)
        run = self.memory.runs.get(target)
        fence = (run.fence if run else 0) + off
        self.both(side, lambda store: store.take_lock(target, fence=fence))

    @rule(side=SIDES, limit=st.integers(1, 4))
    def claim(self, *, side, limit) -> None:
        """Take over what nobody owns."""
        self.both(side, lambda store: store.claim(limit=limit))

    @rule(side=SIDES, alive=st.booleans())
    def lease(self, *, side, alive) -> None:
        """Live, or give up."""
        if alive:
            self.both(side, lambda store: store.keep_lease(seconds=FOR_EVER))
        else:
            self.both(side, lambda store: store.release())

    @rule(side=SIDES, which=WHICH, reader=st.sampled_from("ab"), seq=st.integers(0, 9))
    def acknowledge(self, *, side, which, reader, seq) -> None:
        """Keep the place of a reader."""
        target = self.a_run(which)
        self.both(side, lambda store: store.acknowledge(target, reader=reader, seq=seq))

    @rule(side=SIDES, runs=st.booleans(), ago=st.integers(0, 10))
    def prune(self, *, side, runs, ago) -> None:
        """Remove what is old."""
        before = self.time - timedelta(seconds=ago)
        if runs:
            self.both(side, lambda store: store.prune_runs(finished_before=before, limit=MANY))
        else:
            self.both(side, lambda store: store.prune_events(finished_before=before, limit=MANY))

    # --- what there is ---

    @rule(side=SIDES)
    def look(self, *, side) -> None:
        """Compare all that a replica sees."""
        self.both(side, self.everything)

    async def everything(self, store: RunStore) -> Any:
        """All that a store says."""
        ids = [run_id(number) for number in range(self.accepted)]
        records = await store.audit_records(AuditFilter(limit=MANY))
        return (
            await store.runs(RunFilter(limit=MANY)),
            await store.heads(ids),
            [await store.events(run, after=0, limit=MANY) for run in ids],
            [await store.commands(run) for run in ids],
            [await outcome(lambda s, r=run: s.acknowledged(r, reader="a"), store) for run in ids],
            await store.open_commands(),
            await store.entities(),
            [(record.time, record.draft) for record in records],
        )


async def outcome(call: Callable[[RunStore], Awaitable[Any]], store: RunStore) -> Any:
    """What a call gives, or how it is refused."""
    try:
        return await call(store)
    except (BridgeError, ValueError) as refusal:
        return type(refusal), str(refusal)


class OnSqlite(Comparison):
    """One replica, which ends and starts again under another name now and then."""

    async def open(self) -> None:
        """See Comparison."""
        folder = Path(tempfile.mkdtemp(prefix="bridge-model-"))
        self.stack.callback(shutil.rmtree, folder)
        self.file = folder / "runs.db"
        self.starts = 0
        await self.start()
        self.stack.push_async_callback(self.stop)

    async def start(self) -> None:
        """Open the file under another name."""
        self.starts += 1
        name = f"start-{self.starts}"
        self.model = [MemoryStore(self.memory, replica=name)]
        self.real = [await SqliteStore(self.file, replica=name).__aenter__()]

    async def stop(self) -> None:
        """End as a server does; its lease ends with it."""
        self.memory.leases.clear()
        await self.real[0].__aexit__(None, None, None)

    @rule()
    def restart(self) -> None:
        """End and begin under another name."""
        self.runner.run(self.stop())
        self.runner.run(self.start())


@pytest.fixture
def machine_on_postgres(postgres_server):
    """Two replicas on a new database each time."""

    class OnPostgres(Comparison):
        async def open(self) -> None:
            dsn = self.stack.enter_context(postgres_server.database())
            for name in ("one", "two"):
                self.model.append(MemoryStore(self.memory, replica=name))
                store = PostgresStore(dsn, replica=name)
                self.real.append(await self.stack.enter_async_context(store))

    return OnPostgres


def hold(machine: type[Comparison], *, examples: int) -> None:
    """Run random sequences; databases are opened, so that no example has a time limit."""
    checked = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=checked)


def test_sqlite_does_what_memory_does():
    """No sequence of requests and restarts has another outcome in the store that people run."""
    hold(OnSqlite, examples=30)


def test_postgres_does_what_memory_does(machine_on_postgres):
    """No sequence of requests at two replicas has another outcome in PostgreSQL."""
    hold(machine_on_postgres, examples=15)
