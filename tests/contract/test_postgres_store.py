"""What the PostgreSQL store promises besides: row locks, races and durable commits."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from bridge.adapters import sql_retention, sql_runs
from bridge.adapters.postgres import PostgresStore
from bridge.domain.audit import AuditDraft
from bridge.domain.errors import LeaseLost, StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import RunChanges, RunError, RunStatus
from bridge.ports import AuditFilter, Entry
from tests.contract.storing import LATER, accept, move, run_id, write
from tests.domain.making import new_run

BOUND = 20.0


async def waits_for_a_lock(ask) -> None:
    """Wait until some connection waits for another one's row."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(BOUND):
        while not ask(sql):  # noqa: ASYNC110 - the server cannot call us
            await asyncio.sleep(0.01)


class Held:
    """A job that keeps its transaction open until it is let go."""

    def __init__(self, work) -> None:
        self._work = work
        self._entered, self._go = threading.Event(), threading.Event()

    def __call__(self, session):
        """Do the work and wait."""
        answer = self._work(session)
        self._entered.set()
        assert self._go.wait(BOUND)
        return answer

    async def entered(self) -> None:
        """Wait until the work is done and not committed."""
        assert await asyncio.to_thread(self._entered.wait, BOUND)

    def let_go(self) -> None:
        """Let it be committed."""
        self._go.set()


# --- row locks ----------------------------------------------------------------------------------


async def test_a_write_waits_for_another_replicas_and_goes_on_from_it(pair, ask):
    """A change that was asked for meanwhile does not undo the one before."""
    one, two = pair
    run = await accept(one)
    held = Held(partial(sql_runs.append, run.id, Entry(events=(log("a"),)), None, LATER))
    first = one._write(held)
    await held.entered()
    second = write(two, run.id, progress="1/2")
    await waits_for_a_lock(ask)
    held.let_go()

    assert (await first).run.last_seq == 2
    assert (await second).run.last_seq == 2
    assert (await write(two, run.id, log("b"))).events[0].seq == 3


async def test_a_write_that_waited_for_the_end_is_not_made(pair, ask):
    """The last event stays the last, also against a write of another replica in that moment."""
    one, two = pair
    run = await accept(one)
    changes = RunChanges(status=RunStatus.FAILED, finished_at=LATER, error=RunError("c", "m"))
    held = Held(partial(sql_runs.append, run.id, Entry(changes), None, LATER))
    first = one._write(held)
    await held.entered()
    second = write(two, run.id, log("late"))
    await waits_for_a_lock(ask)
    held.let_go()

    assert await second is None
    assert await two.run(run.id) == (await first).run


async def test_a_write_that_waited_for_a_take_over_is_refused(pair, ask):
    """The old owner cannot slip a write in while it loses the run."""
    one, two = pair
    run = await accept(one)
    held = Held(partial(sql_runs.claim, two.replica, 9))
    claimed = two._write(held)
    await held.entered()
    late = write(one, run.id, log("late"), fence=run.fence)
    await waits_for_a_lock(ask)
    held.let_go()

    with pytest.raises(LeaseLost):
        await late
    assert await one.run(run.id) == (await claimed)[0]


async def test_who_claims_leaves_alone_what_another_is_claiming(pair):
    """Replicas that take up a dead one's runs share them without waiting for each other."""
    one, two = pair
    await accept(one, 0)
    await accept(one, 1)
    for run in (run_id(0), run_id(1)):
        await one._write(
            lambda session, run=run: session.change(
                "UPDATE runs SET owner = 'dead' WHERE id = ?", run
            )
        )
    held = Held(partial(sql_runs.claim, one.replica, 1))
    first = one._write(held)
    await held.entered()

    second = await asyncio.wait_for(two.claim(limit=9), timeout=BOUND)
    held.let_go()

    assert [run.id for run in await first] == [run_id(0)]
    assert [run.id for run in second] == [run_id(1)]


async def test_who_loses_a_race_for_a_key_gets_the_winners_run(pair, ask):
    """Nobody is told of a fault because another request came first."""
    one, two = pair
    new = new_run(run_id(1), key="same")
    held = Held(partial(sql_runs.accept, new, log("first"), (), one.replica))
    first = one._write(held)
    await held.entered()
    second = asyncio.create_task(two.accept(new_run(run_id(2), key="same"), first=log("second")))
    await waits_for_a_lock(ask)
    held.let_go()

    assert (await second).replayed
    assert (await second).run == (await first).run


async def test_who_loses_a_race_for_a_lock_may_wait_for_it(pair, ask):
    """Of two requests for one thing in the same moment the second queues behind the first."""
    one, two = pair
    new = new_run(run_id(1), key="1", lock="thing/a")
    held = Held(partial(sql_runs.accept, new, log("first"), (), one.replica))
    first = one._write(held)
    await held.entered()
    queued = asyncio.create_task(accept(two, 2, lock="thing/a", may_queue=True))
    await waits_for_a_lock(ask)
    held.let_go()

    assert (await first).run.holds_lock
    assert not (await queued).holds_lock


async def test_a_definition_that_is_being_removed_is_kept_for_a_new_run(pair, ask):
    """A run that is accepted while the last one of its kind is pruned has its definition."""
    one, two = pair
    await move(one, await accept(one), RunStatus.FAILED)
    held = Held(partial(sql_retention.prune_runs, LATER + timedelta(days=1), 9))
    pruned = one._write(held)
    await held.entered()
    accepted = asyncio.create_task(accept(two, 1))
    await waits_for_a_lock(ask)
    held.let_go()

    assert await pruned == 1
    assert await two.definition((await accepted).definition_digest)


async def test_writes_that_wait_for_each_other_are_both_made(pair):
    """Two replicas that lock the same runs in another order lose nothing to a deadlock."""
    for number in (0, 1):
        await accept(pair[0], number)
    both = threading.Barrier(2, timeout=BOUND)

    def crossed(first: str, second: str, session) -> None:
        session.run_to_write(first)
        with suppress(threading.BrokenBarrierError):
            both.wait()
        both.abort()  # the one that has to begin again waits for nobody
        sql_runs.append(second, Entry(events=(log("x"),)), None, LATER, session)

    await asyncio.gather(
        pair[0]._write(partial(crossed, run_id(0), run_id(1))),
        pair[1]._write(partial(crossed, run_id(1), run_id(0))),
    )

    assert await pair[0].heads([run_id(0), run_id(1)]) == {run_id(0): 2, run_id(1): 2}


@pytest.mark.parametrize("state", ["40001", "40P01", "23505", "23503"])
async def test_a_write_that_is_disturbed_again_and_again_is_made(postgres_dsn, state):
    """However often others come first, the write is decided again by what they left."""
    begun = []

    def disturbed(session):
        begun.append(1)
        if len(begun) < 6:
            session.change(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")
        return sql_runs.append(run.id, Entry(events=(log("x"),)), None, LATER, session)

    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)

        assert (await store._write(disturbed)).run.last_seq == 2


async def test_a_write_that_can_never_be_made_fails_at_last(postgres_dsn):
    """What fails whenever it is tried does not keep the others waiting for ever."""
    sql = "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"
    async with PostgresStore(postgres_dsn) as store:
        with pytest.raises(StoreUnavailable):
            await store._write(lambda session: session.change(sql))
        assert (await accept(store)).last_seq == 1


async def test_a_commit_is_durable_whatever_the_server_is_set_to(postgres_dsn):
    """A server that was tuned to lose the last commits does not lose the bridge's."""
    name = psycopg.conninfo.conninfo_to_dict(postgres_dsn)["dbname"]
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")

    async with PostgresStore(postgres_dsn) as store:
        rows = await store._write(lambda session: session.rows("SHOW synchronous_commit"))

    assert rows == [{"synchronous_commit": "on"}]


async def test_many_writes_at_once_are_few_commits(pair, ask):
    """Hundreds of writes at once cost the database few commits."""
    one, _ = pair
    run = await accept(one)
    held = Held(lambda session: session.rows("SELECT 1"))
    first = one._write(held)
    await held.entered()
    pending = [write(one, run.id, log(str(n))) for n in range(300)]
    before = ask("SELECT pg_current_xact_id()::text::bigint")[0][0]
    held.let_go()
    await asyncio.gather(first, *pending)

    assert ask("SELECT pg_current_xact_id()::text::bigint")[0][0] - before < 30
    assert (await one.run(run.id)).last_seq == 301


# --- the trail ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tampering", ["UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"]
)
async def test_the_trail_cannot_be_changed(postgres_dsn, tampering):
    """Not even with the bridge's own connection can a record be changed or removed."""
    async with PostgresStore(postgres_dsn) as store:
        await store.audit(AuditDraft("a", "c", reason="why"), now=LATER)
        with pytest.raises(StoreUnavailable, match="never changed or removed"):
            await store._write(lambda session: session.change(tampering))

        assert [r.draft.reason for r in await store.audit_records(AuditFilter())] == ["why"]
