"""What every run store promises of readers, and of what is removed when it is old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command, Verb
from bridge.domain.errors import RunUnknown, StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import RunStatus
from bridge.ports import AuditFilter, Entry, RunFilter
from tests.contract.storing import ACCEPTED, LATER, accept, entity, move, run_id, write
from tests.domain.making import NOW, new_run

LONG_AFTER = NOW + timedelta(days=1)


async def ended(store, number: int, *, lines: int = 3, at=LATER, **fields):
    """A run that has failed at *at*, with its first event and *lines* more."""
    run = await accept(store, number, **fields)
    await write(store, run.id, *(log(str(line)) for line in range(lines)))
    return await move(store, run, RunStatus.FAILED, finished_at=at)


async def seqs(store, number: int) -> list[int]:
    return [event.seq for event in await store.events(run_id(number), after=0, limit=99)]


# --- readers ------------------------------------------------------------------------------------


async def test_a_reader_is_remembered_and_never_goes_back(store):
    """A task log that is taken up again goes on where it was, whoever answers late."""
    run = await accept(store)

    assert await store.acknowledged(run.id, reader="a") == 0
    assert await store.acknowledge(run.id, reader="a", seq=5) == 5
    assert await store.acknowledge(run.id, reader="a", seq=3) == 5
    assert await store.acknowledge(run.id, reader="a", seq=6) == 6
    assert await store.acknowledge(run.id, reader="b", seq=1) == 1

    assert await store.acknowledged(run.id, reader="a") == 6
    assert await store.acknowledged(run.id, reader="b") == 1
    assert await store.acknowledged(run.id, reader="c") == 0


async def test_a_reader_of_an_unknown_run_is_told_so(store):
    """Nobody can keep a place in what does not exist."""
    with pytest.raises(RunUnknown):
        await store.acknowledge("unknown", reader="a", seq=1)
    with pytest.raises(RunUnknown):
        await store.acknowledged("unknown", reader="a")


async def test_the_place_in_an_ended_run_is_kept_too(store):
    """A reader that is behind reads to the end after the end."""
    run = await ended(store, 0)

    assert await store.acknowledge(run.id, reader="a", seq=2) == 2
    assert await store.acknowledged(run.id, reader="a") == 2


# --- events -------------------------------------------------------------------------------------


async def test_of_an_old_run_the_last_event_is_left(store):
    """The end of a run can be read as long as the run can, and so can runs that are not old."""
    await ended(store, 0)
    await ended(store, 1, at=LONG_AFTER)
    await accept(store, 2)
    before = await store.runs(RunFilter())

    assert await store.prune_events(finished_before=LONG_AFTER, limit=99) == 3
    assert await store.prune_events(finished_before=LONG_AFTER, limit=99) == 0

    assert [await seqs(store, number) for number in range(3)] == [[4], [1, 2, 3, 4], [1]]
    assert await store.runs(RunFilter()) == before


async def test_events_go_in_batches_the_first_ones_first(store):
    """However much there is to remove, no removal keeps writers waiting; nothing is forgotten."""
    for number, lines in enumerate((5, 0, 4)):
        await ended(store, number, lines=lines)

    removed = []
    while not removed or removed[-1]:
        removed.append(await store.prune_events(finished_before=LONG_AFTER, limit=2))
        for number in range(3):
            left = await seqs(store, number)
            assert left == list(range(left[0], left[-1] + 1))

    assert removed == [2, 2, 2, 2, 1, 0]
    assert [await seqs(store, number) for number in range(3)] == [[6], [1], [5]]


# --- runs ---------------------------------------------------------------------------------------


async def test_an_old_run_goes_with_all_that_is_its_own(store):
    """What was removed is unknown, and neither the trail nor the catalog loses anything."""
    definition = {"definition": {"a": 1}, "definition_digest": "old"}
    run = await accept(store, 0, **definition)
    command = Command(run.id, Verb.CANCEL, by="user:default/ann", at=NOW)
    entry = Entry(audit=(AuditDraft("run.cancel", "c"),), keeps=entity("made"))
    await store.command(command, entry=entry, now=NOW)
    await store.acknowledge(run.id, reader="a", seq=1)
    await move(store, run, RunStatus.FAILED)

    assert await store.prune_runs(finished_before=LONG_AFTER, limit=9) == 1
    assert await store.prune_runs(finished_before=LONG_AFTER, limit=9) == 0

    with pytest.raises(RunUnknown):
        await store.run(run.id)
    with pytest.raises(RunUnknown):
        await write(store, run.id, log("x"))
    with pytest.raises(RunUnknown):
        await store.acknowledged(run.id, reader="a")
    with pytest.raises(StoreUnavailable, match="lost definition old"):
        await store.definition("old")
    assert await store.events(run.id, after=0, limit=9) == []
    assert await store.commands(run.id) == []
    assert await store.entities() == [entity("made")]
    assert len(await store.audit_records(AuditFilter())) == 1
    again = await store.accept(new_run(run.id, key="key-0", **definition), first=ACCEPTED)
    assert (again.replayed, again.run.attempt) == (False, 1)
    assert await store.acknowledged(run.id, reader="a") == 0


async def test_runs_that_are_open_or_young_stay(store):
    """Only what ended before the given time goes, and the definition of others is kept."""
    await ended(store, 0)
    young = await ended(store, 1, at=LONG_AFTER)
    still = await accept(store, 2)

    assert await store.prune_runs(finished_before=LONG_AFTER, limit=9) == 1

    assert await store.runs(RunFilter()) == [still, young]
    assert await store.definition(young.definition_digest)


async def test_runs_go_in_batches(store):
    """However many are old, no removal keeps writers waiting."""
    for number in range(5):
        await ended(store, number)

    removed = [await store.prune_runs(finished_before=LONG_AFTER, limit=2) for _ in range(4)]

    assert removed == [2, 2, 1, 0]
    assert await store.runs(RunFilter()) == []


async def test_attempts_may_name_a_run_that_is_gone(store):
    """The history of a retried request stays readable when its beginning has been removed."""
    first = await ended(store, 0, key="same")
    second = await accept(store, 1, key="same", takes_over=first)
    assert (await store.run(first.id)).superseded_by == second.id

    assert await store.prune_runs(finished_before=LONG_AFTER, limit=9) == 1
    assert (await store.run(second.id)).takes_over == first.id

    third = await ended(store, 2, key="other")
    fourth = await ended(store, 3, key="other", at=LATER - timedelta(seconds=1))
    assert await store.prune_runs(finished_before=LATER, limit=9) == 1
    assert (await store.run(third.id)).superseded_by == fourth.id
