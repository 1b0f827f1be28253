"""What a store promises replicas that share it: one owner, one lock, one run for a key."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from bridge.domain.commands import Command, Verb
from bridge.domain.errors import LeaseLost, LockHeld
from bridge.domain.events import log
from bridge.domain.runs import Run, RunStatus
from bridge.ports import Entry, RunFilter
from tests.contract.storing import ACCEPTED, LATER, accept, move, run_id, write
from tests.domain.making import NOW, new_run

LONG = 3600.0
BOUND = 10.0


async def until(condition) -> None:
    """Wait until *condition*, an async function, holds."""
    async with asyncio.timeout(BOUND):
        while not await condition():  # noqa: ASYNC110 - another process changes what it asks
            await asyncio.sleep(0.01)


async def test_both_see_the_same(replicas):
    """Any replica answers for any run."""
    one, two = replicas
    run = await accept(one)
    await write(one, run.id, log("a"))

    assert await two.run(run.id) == await one.run(run.id)
    assert await two.events(run.id, after=0, limit=9) == await one.events(run.id, after=0, limit=9)
    assert await two.heads([run.id]) == {run.id: 2}


async def test_the_runs_of_a_replica_that_lives_are_its_own(replicas):
    """Nobody takes a run away from a replica that keeps its lease."""
    one, two = replicas
    await one.keep_lease(seconds=LONG)
    await accept(one)

    assert await two.claim(limit=9) == []


async def test_a_lease_that_is_kept_again_lasts_longer(replicas):
    """A replica says again and again that it lives; the last word counts."""
    one, two = replicas
    await accept(one)
    await one.keep_lease(seconds=-1.0)
    await one.keep_lease(seconds=LONG)
    assert await two.claim(limit=9) == []

    await one.keep_lease(seconds=-1.0)
    assert len(await two.claim(limit=9)) == 1


async def test_the_runs_of_a_replica_that_is_silent_are_taken_over(replicas):
    """When a replica is killed its runs go on elsewhere, oldest first, each with a new fence."""
    one, two = replicas
    await one.keep_lease(seconds=0.05)
    await two.keep_lease(seconds=LONG)
    for number in (2, 0, 1, 3):
        await accept(one, number)
    own = await accept(two, 4)
    await move(one, await one.run(run_id(3)), RunStatus.FAILED)
    claimed: list[Run] = []

    async def all_claimed() -> bool:
        claimed.extend(await two.claim(limit=2))
        return len(claimed) == 3

    await until(all_claimed)

    assert [run.id for run in claimed] == [run_id(0), run_id(1), run_id(2)]
    assert {(run.owner, run.fence) for run in claimed} == {(two.replica, 2)}
    assert [await one.run(run.id) for run in claimed] == claimed
    assert await one.run(own.id) == own
    assert await two.claim(limit=9) == []


async def test_the_old_owner_cannot_write_any_more(replicas):
    """A replica that was only stopped for a while does no harm when it goes on."""
    one, two = replicas
    run = await accept(one, lock="thing/a")
    await write(two, run.id, log("somebody asked here"))
    (claimed,) = await two.claim(limit=9)

    with pytest.raises(LeaseLost):
        await write(one, run.id, log("late"), fence=run.fence)
    with pytest.raises(LeaseLost):
        await one.take_lock(run.id, fence=run.fence)
    await write(two, run.id, log("on"), fence=claimed.fence)

    events = await one.events(run.id, after=2, limit=9)
    assert [event.draft.message for event in events] == ["on"]


async def test_a_replica_that_gives_up_its_lease_is_followed_at_once(replicas):
    """A deploy hands the runs over without waiting for a lease to run out."""
    one, two = replicas
    await one.keep_lease(seconds=LONG)
    await accept(one)
    assert await two.claim(limit=9) == []

    await one.release()

    assert len(await two.claim(limit=9)) == 1
    await one.release()


async def test_two_that_claim_at_once_share_what_there_is(replicas):
    """After a crash every run has one new owner, however many replicas take them up."""
    one, two = replicas
    for store in replicas:
        await store.keep_lease(seconds=LONG)
    await one.release()
    for number in range(40):
        await accept(one, number)
    claims = [two.claim(limit=3) for _ in range(30)]

    claimed = [run for runs in await asyncio.gather(*claims) for run in runs]

    assert sorted(run.id for run in claimed) == [run_id(number) for number in range(40)]


async def test_a_command_reaches_the_owner_of_the_run(replicas):
    """A person may ask any replica; the one that works on the run carries it out."""
    one, two = replicas
    run = await accept(one)
    command = Command(run.id, Verb.CANCEL, by="user:default/ann", at=NOW)

    given = await two.command(command, entry=Entry(events=(log("asked"),)), now=LATER)

    assert given.run.owner == one.replica
    assert await one.open_commands() == [command]
    assert await two.open_commands() == []
    await two.claim(limit=9)
    assert (await one.open_commands(), await two.open_commands()) == ([], [command])


async def test_a_place_acknowledged_at_one_is_known_at_the_other(replicas):
    """A client that comes back to another replica goes on where it was."""
    one, two = replicas
    run = await accept(one)
    await one.acknowledge(run.id, reader="a", seq=4)

    assert await two.acknowledge(run.id, reader="a", seq=2) == 4
    assert await two.acknowledged(run.id, reader="a") == 4


# --- at the same time ---------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_key_at_both_at_once_is_one_run(replicas, attempt):
    """A client that is retried by a proxy at another replica gets the one run, from both."""
    if attempt == 2:
        await move(replicas[0], await accept(replicas[0], 50, key="same"), RunStatus.FAILED)
    many = [
        store.accept(new_run(run_id(10 * side + number), key="same"), first=ACCEPTED)
        for number in range(10)
        for side, store in enumerate(replicas)
    ]

    found = await asyncio.gather(*many)

    assert len({acceptance.run.id for acceptance in found}) == 1
    assert sum(not acceptance.replayed for acceptance in found) == 1
    assert {acceptance.run.attempt for acceptance in found} == {attempt}
    assert len(await replicas[0].runs(RunFilter(status=RunStatus.ACCEPTED))) == 1


async def test_a_lock_at_both_at_once_is_given_once(replicas):
    """Two requests for the same thing at two replicas: one works, the others are told."""
    many = [
        accept(store, 10 * side + number, lock="thing/a", may_queue=number % 2 == 1)
        for number in range(10)
        for side, store in enumerate(replicas)
    ]

    found = await asyncio.gather(*many, return_exceptions=True)

    runs = [run for run in found if isinstance(run, Run)]
    refusals = [refusal for refusal in found if isinstance(refusal, LockHeld)]
    (holder,) = [run for run in runs if run.holds_lock]
    assert len(runs) + len(refusals) == 20
    assert [run for run in runs if run.id != holder.id] != []
    answers = await asyncio.gather(
        *(store.take_lock(run.id, fence=1) for run in runs for store in replicas)
    )
    assert [answer for answer in answers if answer is None] == [None, None]
    assert {answer.id for answer in answers if answer} == {holder.id}


async def test_both_write_one_run_without_a_gap(replicas):
    """A run's events count without a gap, also while its owner and others write at once."""
    run = await accept(replicas[0])
    pending = [
        write(store, run.id, *[log(f"{n}a"), log(f"{n}b")][: n % 3])
        for n in range(60)
        for store in replicas
    ]

    written = [event for appended in await asyncio.gather(*pending) for event in appended.events]

    stored = await replicas[0].events(run.id, after=1, limit=999)
    assert [event.seq for event in stored] == list(range(2, 122))
    assert stored == sorted(written, key=lambda event: event.seq)
    assert (await replicas[1].run(run.id)).last_seq == 121


async def test_of_two_decisions_at_once_one_counts(replicas):
    """An approval here and a rejection there: both people hear the same."""
    run = await accept(replicas[0])
    verbs = (Verb.APPROVE, Verb.REJECT)
    given = [
        store.command(
            Command(run.id, verb, by=f"user:default/{verb}", at=NOW, gate=f"g{gate}"),
            entry=Entry(events=(log(str(verb)),)),
            now=LATER,
        )
        for gate in range(10)
        for store, verb in zip(replicas, verbs, strict=True)
    ]

    found = await asyncio.gather(*given)

    assert sum(commanded.fresh for commanded in found) == 10
    for left, right in zip(found[::2], found[1::2], strict=True):
        assert left.command == right.command
    assert len(await replicas[0].commands(run.id)) == 10
    assert (await replicas[0].run(run.id)).last_seq == 11


# --- telling ------------------------------------------------------------------------------------


async def test_one_hears_what_the_other_changes(replicas):
    """A stream at any replica shows what the owner writes, soon after it wrote it."""
    one, two = replicas
    heard_by_one: set[str] = set()
    heard_by_two: set[str] = set()
    listening = [
        asyncio.create_task(one.listen(heard_by_one.add)),
        asyncio.create_task(two.listen(heard_by_two.add)),
    ]
    try:
        await accept(one, 0)
        own = await accept(two, 1)

        async def told() -> bool:
            await write(one, run_id(0), log("x"))
            command = Command(own.id, Verb.CANCEL, by="a", at=NOW, gate=f"{len(heard_by_one)}")
            await two.command(command, entry=Entry(events=(log("x"),)), now=LATER)
            await write(two, own.id, log("x"))
            return heard_by_two >= {run_id(0)} and heard_by_one >= {own.id}

        await until(told)
    finally:
        for task in listening:
            task.cancel()
        for task in listening:
            with suppress(asyncio.CancelledError):
                await task

    assert run_id(0) not in heard_by_one
    assert own.id not in heard_by_two
