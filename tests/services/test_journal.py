"""Commits that are told afterwards, waits that grow, and tasks that end together."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from bridge.domain.errors import LeaseLost, StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import RunError, RunStatus
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal
from bridge.services.tasks import Tasks
from tests.domain.making import RUN_ID, new_run
from tests.services.fakes import FakeChance, FakeClock, FaultyStore


class Listener:
    """A subscriber that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def published(self, run, events) -> None:
        """See Subscriber."""
        self.told += [f"{run.last_seq}:{event.draft.message}" for event in events]


@pytest.fixture
async def parts():
    """A store with one run, its journal and a listener."""
    store, clock = FaultyStore(), FakeClock()
    journal, listener = Journal(store=store, clock=clock), Listener()
    journal.own((await store.accept(new_run(), first=log("1"))).run)
    journal.subscribe(listener)
    return store, clock, journal, listener


async def test_what_is_committed_is_told_in_order(parts):
    """A reader is told what is stored, and never anything else."""
    store, _, journal, listener = parts

    first = journal.write(RUN_ID, log("2"), log("3"))
    await journal.say(RUN_ID, "4", level="warn")

    assert (await first).last_seq == 3
    assert listener.told == ["3:2", "3:3", "4:4"]
    assert (await store.events(RUN_ID, after=3, limit=9))[0].draft.level == "warn"


async def test_what_is_not_stored_is_not_told(parts):
    """A failed commit reaches its caller and no reader."""
    store, _, journal, listener = parts
    store.faults.append("full")

    with pytest.raises(StoreUnavailable):
        await journal.write(RUN_ID, log("2"))

    assert listener.told == []


async def test_a_run_that_was_lost_unnoticed_is_let_go_before_it_is_taken_up_again(parts):
    """A replica that slept goes on from what is stored, and a late refusal takes nothing away."""
    store, _, journal, _ = parts
    run = await store.run(RUN_ID)
    lost: list[str] = []
    journal.on_lost = lost.append

    journal.own(run)
    assert lost == []
    again = replace(run, fence=run.fence + 2)  # another replica had it, and died
    store._memory.runs[RUN_ID] = again
    late = journal.write(RUN_ID, log("2"))
    journal.own(again)
    assert lost == [RUN_ID]
    with pytest.raises(LeaseLost):
        await late
    assert (journal.owns(RUN_ID), lost) == (True, [RUN_ID])


async def test_nothing_is_told_after_the_end(parts):
    """The end is written once, with the time that the run took."""
    store, clock, journal, listener = parts
    await clock.advance(42)
    run = await store.run(RUN_ID)

    ended = await journal.end(run, status=RunStatus.FAILED, error=RunError("c", "why"))
    with pytest.raises(LeaseLost):
        await journal.end(run, status=RunStatus.LOST)

    assert ended.status is RunStatus.FAILED
    assert (ended.finished_at - ended.created_at).total_seconds() == 42
    assert listener.told == ["2:✗ thing:make failed: why"]


async def test_a_caller_that_goes_away_does_not_keep_readers_from_being_told(parts):
    """A dropped request does not drop its event."""
    store, clock, journal, listener = parts

    journal.write(RUN_ID, log("2")).cancel()
    store.faults.append("full")
    journal.write(RUN_ID, log("never")).cancel()
    await clock.settle()

    assert listener.told == ["2:2"]


async def test_a_commit_that_is_cancelled_cancels_its_caller(parts):
    """A store that is closed while it writes leaves no caller waiting."""
    store, clock, journal, _ = parts
    pending = asyncio.get_running_loop().create_future()
    store.append = lambda *_, **__: pending
    told = journal.write(RUN_ID, log("2"))

    pending.cancel()
    await clock.settle()

    assert told.cancelled()


# --- backoff ------------------------------------------------------------------------------------


async def test_waits_double_up_to_the_longest_and_start_over():
    """What fails is tried ever less often, and quickly again once it has worked."""
    clock = FakeClock()
    backoff = Backoff(clock=clock, chance=FakeChance(), first=1.0, longest=5.0)
    waits = []

    async def wait(**options) -> None:
        before = clock.time
        waiting = asyncio.ensure_future(backoff.wait(**options))
        await clock.until(waiting.done)
        waits.append(clock.time - before)

    for _ in range(5):
        await wait()
    await wait(at_least=30)
    backoff.reset()
    await wait()

    assert waits == [1, 2, 4, 5, 5, 30, 1]


# --- tasks --------------------------------------------------------------------------------------


async def test_background_work_ends_together():
    """A process that shuts down leaves no task behind and starts none."""
    tasks, ended = Tasks(), []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("x")

    tasks.spawn(work(), name="one")
    tasks.spawn(work(), name="two")
    await asyncio.sleep(0)
    assert len(tasks) == 2
    await tasks.aclose()

    assert ended == ["x", "x"]
    assert len(tasks) == 0
    assert tasks.spawn(work(), name="late") is None


async def test_background_work_that_fails_is_logged_by_its_name(caplog):
    """A fault in the background is never silent."""
    tasks = Tasks()

    async def fail() -> None:
        raise RuntimeError("boom")

    with caplog.at_level(logging.ERROR):
        task = tasks.spawn(fail(), name="follow default")
        with pytest.raises(RuntimeError):
            await task

    (record,) = caplog.records
    assert record.task_name == "follow default"
    assert "boom" in record.exc_text
