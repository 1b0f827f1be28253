"""What every run store promises of owners, fences and locks within one replica."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.errors import LeaseLost, LockHeld, RunUnknown
from bridge.domain.events import log
from bridge.domain.runs import Run, RunStatus
from bridge.ports import RunFilter
from tests.contract.storing import ACCEPTED, accept, move, run_id, write
from tests.domain.making import new_run


async def test_a_new_run_belongs_to_the_replica_that_accepted_it(store):
    """Who accepted a run works on it, and need not claim it."""
    run = await accept(store)

    assert (run.owner, run.fence) == (store.replica, 1)
    assert store.replica
    assert await store.claim(limit=9) == []


async def test_a_write_with_another_fence_is_refused(store):
    """A replica that was away too long cannot spoil what its successor has done."""
    run = await accept(store)

    with pytest.raises(LeaseLost, match=run.id):
        await write(store, run.id, log("x"), fence=run.fence + 1)
    with pytest.raises(LeaseLost):
        await write(store, run.id, log("x"), fence=run.fence - 1)

    assert (await write(store, run.id, log("x"), fence=run.fence)).run.last_seq == 2
    assert (await write(store, run.id, log("x"), fence=None)).run.last_seq == 3


async def test_a_replica_that_lost_a_run_hears_it_even_after_the_end(store):
    """The old owner of an ended run learns that it is not its own, rather than that it ended."""
    run = await move(store, await accept(store), RunStatus.FAILED)

    with pytest.raises(LeaseLost):
        await write(store, run.id, log("x"), fence=run.fence + 1)


async def test_heads_are_the_last_places_of_the_runs_that_there_are(store):
    """One question tells which of many streams have something new."""
    for number in range(3):
        await accept(store, number)
    await write(store, run_id(1), log("a"), log("b"))

    many = [run_id(1), "unknown", run_id(0), *(f"unknown-{number}" for number in range(1200))]

    assert await store.heads(many) == {run_id(0): 1, run_id(1): 3}
    assert await store.heads([*many, run_id(2)]) == {run_id(0): 1, run_id(1): 3, run_id(2): 1}
    assert await store.heads([]) == {}


async def test_asking_again_tells_the_earlier_attempt_of_it(store):
    """Who looks at a failed run finds the attempt that came after it."""
    first = await move(store, await accept(store, 1, key="same"), RunStatus.FAILED)
    assert first.superseded_by is None
    second = await accept(store, 2, key="same")

    assert (await store.run(first.id)).superseded_by == second.id
    assert second.superseded_by is None
    assert (second.attempt, second.takes_over) == (2, None)


async def test_an_attempt_that_goes_on_with_a_workflow_takes_over_what_was_known(store):
    """A workflow that was retried in Argo is followed on under the same name, not created."""
    first = await accept(store, 1, key="same")
    first = await move(
        store, first, RunStatus.SUBMITTING, RunStatus.FAILED, workflow_uid="uid", state={"n": 1}
    )
    second = await accept(store, 2, key="same", takes_over=first)

    assert second == await store.run(second.id)
    assert (second.takes_over, second.attempt) == (first.id, 2)
    assert (second.workflow_name, second.workflow_uid) == (first.workflow_name, "uid")
    assert second.state == {"n": 1}
    late = await store.accept(new_run(run_id(3), key="same", takes_over=first), first=ACCEPTED)
    assert (late.replayed, late.run) == (True, second)


# --- locks --------------------------------------------------------------------------------------


async def locked(store, number: int, **fields) -> Run:
    return await accept(store, number, **{"lock": "thing/a", **fields})


async def test_a_second_run_on_the_same_thing_is_refused_with_the_first(store):
    """Nobody starts work on a thing that is being worked on, and they are told by whom."""
    first = await locked(store, 1)

    with pytest.raises(LockHeld, match=first.id) as refused:
        await locked(store, 2)

    assert refused.value.run_id == first.id
    assert first.holds_lock
    assert await store.runs(RunFilter()) == [first]


async def test_other_things_and_no_things_are_free(store):
    """A lock stops nobody but those who want the same."""
    await locked(store, 1)

    assert (await locked(store, 2, lock="thing/b")).holds_lock
    assert not (await locked(store, 3, lock=None)).holds_lock
    assert not (await locked(store, 4, lock=None)).holds_lock


async def test_the_same_request_again_is_not_stopped_by_its_own_lock(store):
    """A client that repeats itself gets its run, not a refusal by that run."""
    first = await locked(store, 1, key="same")

    again = await store.accept(new_run(run_id(2), key="same", lock="thing/a"), first=ACCEPTED)

    assert (again.replayed, again.run) == (True, first)


async def test_an_end_frees_the_thing(store):
    """The next one may start as soon as the one before has ended."""
    await move(store, await locked(store, 1), RunStatus.FAILED)

    assert (await locked(store, 2)).holds_lock


async def test_who_may_wait_is_next_in_the_order_of_asking(store):
    """A queue on one thing is served in order, one at a time, and says who is before whom."""
    one = await locked(store, 1)
    three = await locked(store, 3, may_queue=True)
    two = await locked(store, 2, may_queue=True)
    assert [one.holds_lock, two.holds_lock, three.holds_lock] == [True, False, False]

    assert (await store.take_lock(one.id, fence=1)) is None
    assert (await store.take_lock(two.id, fence=1)).id == one.id
    await move(store, one, RunStatus.FAILED)
    with pytest.raises(LockHeld, match=two.id):
        await locked(store, 4)
    assert (await store.take_lock(three.id, fence=1)).id == two.id
    assert (await store.take_lock(two.id, fence=1)) is None
    assert (await store.take_lock(two.id, fence=1)) is None
    assert (await store.run(two.id)).holds_lock
    assert (await write(store, two.id, log("begins"))).run.holds_lock
    assert (await store.take_lock(three.id, fence=1)).id == two.id
    await move(store, two, RunStatus.CANCELLED)
    assert (await store.take_lock(three.id, fence=1)) is None


async def test_who_holds_the_lock_is_before_who_asked_earlier(store):
    """A run that was told to go is not stopped by one with an older id."""
    holder = await locked(store, 5)
    older = await locked(store, 1, may_queue=True)

    assert (await store.take_lock(older.id, fence=1)).id == holder.id


async def test_a_run_without_a_lock_has_it_at_once(store):
    """Work that touches nothing shared never waits."""
    run = await accept(store)

    assert await store.take_lock(run.id, fence=1) is None
    assert await store.run(run.id) == run


async def test_a_lock_is_taken_by_the_owner_only(store):
    """A replica that lost the run cannot start its work."""
    run = await locked(store, 1)

    with pytest.raises(LeaseLost):
        await store.take_lock(run.id, fence=2)
    with pytest.raises(RunUnknown):
        await store.take_lock("unknown", fence=1)


async def test_a_workflow_that_runs_again_is_followed_though_its_thing_is_taken(store):
    """What Argo has already started cannot be told to wait; the lock stays where it is."""
    first = await move(store, await locked(store, 1, key="same"), RunStatus.FAILED)
    holder = await locked(store, 2)

    again = await locked(store, 3, key="same", takes_over=first, reopened=True)

    assert not again.holds_lock
    assert (await store.run(holder.id)).holds_lock


async def test_of_many_at_once_one_gets_the_lock(store):
    """However many ask for the same thing in the same moment, one works on it."""
    asked = [locked(store, number) for number in range(20)]

    found = await asyncio.gather(*asked, return_exceptions=True)

    (winner,) = [run for run in found if isinstance(run, Run)]
    refusals = [refusal for refusal in found if isinstance(refusal, LockHeld)]
    assert len(refusals) == 19
    assert {refusal.run_id for refusal in refusals} == {winner.id}
