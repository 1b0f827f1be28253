"""What every run store promises of runs: accepting, changing and looking; one suite, each store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bridge.domain.entities import EntityRef
from bridge.domain.errors import (
    EntityUnknown,
    IdempotencyKeyReused,
    RunUnknown,
    StoreUnavailable,
)
from bridge.domain.events import EventDraft, log
from bridge.domain.runs import Run, RunChanges, RunContext, RunError, RunStatus
from bridge.ports import Entry, RunFilter
from tests.contract.storing import ACCEPTED, LATER, accept, entity, move, run_id, write
from tests.domain.making import NOW, RUN_ID, definition, new_run

# --- accepting ----------------------------------------------------------------------------------


async def test_an_accepted_run_is_stored_with_its_first_event(store):
    """What the caller is told of is there: the run as it was asked, and its first line."""
    new = new_run()

    acceptance = await store.accept(new, first=ACCEPTED)

    expected = Run.accepted(new, attempt=1, owner=store.replica)
    assert acceptance.run == expected == await store.run(RUN_ID)
    assert not acceptance.replayed
    (event,) = await store.events(RUN_ID, after=0, limit=9)
    assert (event.seq, event.time, event.draft) == (1, NOW, ACCEPTED)


@pytest.mark.parametrize("many", [2, 3, 32, 33, 100])
async def test_events_of_many_writes_at_once_are_all_kept_in_order(store, many):
    """However many lines of however many runs come together, each run has its own, in order."""
    runs = [await accept(store, number) for number in range(3)]
    said = [log(f"line {number}") for number in range(many)]

    await asyncio.gather(*(write(store, run.id, *said, log(run.id)) for run in runs))

    for run in runs:
        events = await store.events(run.id, after=1, limit=many + 2)
        assert [event.seq for event in events] == list(range(2, many + 3))
        assert [event.draft for event in events] == [*said, log(run.id)]


async def test_the_same_request_again_is_the_same_run(store):
    """A client that repeats itself gets the run that is there, and no second event."""
    first = await accept(store, 1)

    again = await store.accept(new_run(run_id(2), key="key-1"), first=ACCEPTED)

    assert again.replayed
    assert again.run == first
    assert len(await store.events(first.id, after=0, limit=9)) == 1
    with pytest.raises(RunUnknown):
        await store.run(run_id(2))


async def test_the_same_key_for_other_input_is_refused(store):
    """A reused key never hides another request."""
    first = await accept(store, 1)

    with pytest.raises(IdempotencyKeyReused, match=first.id):
        await store.accept(new_run(run_id(2), key="key-1", input={"name": "b"}), first=ACCEPTED)
    assert [run.id for run in await store.runs(RunFilter())] == [first.id]


@pytest.mark.parametrize("field", ["caller", "action", "key"])
async def test_a_key_belongs_to_its_caller_and_action(store, field):
    """Two callers may use the same key, and one caller may use it for two actions."""
    await accept(store, 1, key="same")

    other = await store.accept(
        new_run(run_id(2), **{"key": "same", field: "other:one"}), first=ACCEPTED
    )

    assert not other.replayed
    assert other.run.attempt == 1


@pytest.mark.parametrize("end", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST])
async def test_asking_again_after_a_bad_end_is_a_new_attempt(store, end):
    """A failed request may be tried again under its key, as often as it fails."""
    for attempt in (1, 2, 3):
        run = await accept(store, attempt, key="same")
        assert run.attempt == attempt
        await move(store, run, end)


async def test_asking_again_after_success_gives_the_result(store):
    """What was done is not done again."""
    first = await accept(store, 1, key="same")
    steps = (RunStatus.SUBMITTING, RunStatus.REGISTERING, RunStatus.SUCCEEDED)
    done = await move(store, first, *steps)

    again = await store.accept(new_run(run_id(2), key="same"), first=ACCEPTED)

    assert again.replayed
    assert again.run == done


async def test_many_at_once_under_one_key_are_one_run(store):
    """Clients that race with the same key share one run: exactly one of them began it."""
    many = [new_run(run_id(number), key="same") for number in range(40)]

    found = await asyncio.gather(*(store.accept(new, first=ACCEPTED) for new in many))

    assert len({acceptance.run.id for acceptance in found}) == 1
    assert sum(not acceptance.replayed for acceptance in found) == 1
    assert len(await store.runs(RunFilter())) == 1


# --- changing -----------------------------------------------------------------------------------


async def test_every_field_of_a_run_comes_back_as_it_was_put(store):
    """No fact of a run is lost or bent by the store, and what is not given stays."""
    run = await accept(store, context=RunContext(), user=None)
    changes = RunChanges(
        status=RunStatus.SUBMITTING,
        workflow_uid="uid",
        phase="Running",
        progress="1/2",
        outputs={"a": [1, None, "é\x00\ud800"]},
        entity_ref="resource:default/a",
        error=RunError("code", "why"),
        finished_at=LATER,
        cancel_requested_by="user:default/ann",
        cancel_requested_at=NOW,
        state={"nodes": {"n": ["Running", "t"]}, "logs": {}},
    )

    appended = await store.append(run.id, Entry(changes, (log("x"),)), fence=run.fence, now=LATER)
    kept = await write(store, run.id)

    expected = replace(run, **changes.given(), updated_at=LATER, last_seq=2)
    assert appended.run == expected == kept.run == await store.run(run.id)
    assert kept.events == ()


async def test_events_come_back_in_order_and_in_pages(store):
    """A reader gets every event after its place, as it was written, in pages of any size."""
    run = await accept(store)
    drafts = [EventDraft("step", f"line {n}", "warn", {"step": {"n": n}}) for n in range(2, 8)]

    appended = await write(store, run.id, *drafts)
    page = await store.events(run.id, after=3, limit=2)
    rest = await store.events(run.id, after=5, limit=99)

    assert [event.draft for event in appended.events] == drafts
    assert [event.seq for event in appended.events] == [2, 3, 4, 5, 6, 7]
    assert [*page, *rest] == list(appended.events[2:])
    assert {event.time for event in appended.events} == {LATER}
    assert await store.events(run.id, after=7, limit=9) == []
    assert await store.events("unknown", after=0, limit=9) == []


async def test_two_hundred_appends_at_once_leave_no_gap(store):
    """However many parts of the bridge write at once, a run's events count without a gap."""
    run = await accept(store)
    pending = [write(store, run.id, *[log(f"{n}a"), log(f"{n}b")][: 1 + n % 2]) for n in range(200)]

    written = [event for appended in await asyncio.gather(*pending) for event in appended.events]

    stored = await store.events(run.id, after=1, limit=999)
    assert [event.seq for event in stored] == list(range(2, 302))
    assert stored == written
    assert (await store.run(run.id)).last_seq == 301


async def test_writes_take_effect_in_the_order_of_the_calls(store):
    """The order is that of the calls, whoever awaits first, and also across runs."""
    one, two = await accept(store, 1), await accept(store, 2)
    first = write(store, one.id, log("a"), status=RunStatus.SUBMITTING)
    other = write(store, two.id, log("other"))
    last = write(store, one.id, log("b"), status=RunStatus.RUNNING)

    assert (await last).run.status is RunStatus.RUNNING
    assert first.done()
    assert other.done()
    messages = [event.draft.message for event in await store.events(one.id, after=1, limit=9)]
    assert messages == ["a", "b"]


async def test_nothing_is_written_after_the_end(store):
    """The last event of a run stays the last, and its record stays as it ended."""
    run = await accept(store)
    ended = await move(store, run, RunStatus.FAILED, error=RunError("code", "why"))

    late = await write(store, run.id, log("late"), progress="9/9")

    assert late is None
    assert await store.run(run.id) == ended
    assert len(await store.events(run.id, after=0, limit=9)) == 1


async def test_a_step_that_does_not_exist_is_refused_and_writes_nothing(store):
    """A fault of the bridge cannot take a run where no run can be."""
    run = await accept(store)

    with pytest.raises(ValueError, match="cannot go from accepted to succeeded"):
        await write(store, run.id, log("no"), status=RunStatus.SUCCEEDED)

    assert await store.run(run.id) == run


async def test_an_unknown_run_is_unknown_everywhere(store):
    """Neither reading nor writing invents a run."""
    with pytest.raises(RunUnknown):
        await store.run("unknown")
    with pytest.raises(RunUnknown):
        await write(store, "unknown", log("x"))


async def test_one_bad_write_fails_alone(store):
    """Of many writes at once, those that cannot be made fail and all others are made."""
    run = await accept(store)
    pending = [
        write(
            store,
            "unknown" if n % 5 == 0 else run.id,
            log(str(n)),
            status=RunStatus.SUCCEEDED if n % 7 == 0 else None,
        )
        for n in range(1, 71)
    ]

    outcomes = await asyncio.gather(*pending, return_exceptions=True)

    good = [n for n in range(1, 71) if n % 5 and n % 7]
    assert [
        n for n, outcome in enumerate(outcomes, start=1) if not isinstance(outcome, Exception)
    ] == good
    stored = await store.events(run.id, after=1, limit=99)
    assert [event.draft.message for event in stored] == [str(n) for n in good]
    assert [event.seq for event in stored] == list(range(2, len(good) + 2))


# --- looking ------------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first_in_pages_and_by_filter(store):
    """A page of runs goes on where the last one ended, and shows only what was asked for."""
    for number in range(5):
        await accept(store, number, action="b:make" if number == 3 else "a:make")
    await move(store, await store.run(run_id(4)), RunStatus.FAILED)

    async def listed(**chosen) -> list[int]:
        return [int(run.id[-4:]) for run in await store.runs(RunFilter(**chosen))]

    assert await listed() == [4, 3, 2, 1, 0]
    assert await listed(limit=2) == [4, 3]
    assert await listed(limit=2, before=run_id(3)) == [2, 1]
    assert await listed(status=RunStatus.ACCEPTED) == [3, 2, 1, 0]
    assert await listed(action="b:make") == [3]
    assert await listed(action="a:make", status=RunStatus.FAILED, before=run_id(4)) == []


async def test_the_definition_of_a_run_is_kept(store):
    """An edited action does not change the runs that were accepted before."""
    run = await accept(store)

    assert await store.definition(run.definition_digest) == definition().document
    with pytest.raises(StoreUnavailable, match="lost definition"):
        await store.definition("unknown")


# --- documents ----------------------------------------------------------------------------------


async def test_documents_are_kept_replaced_and_forgotten(store):
    """The catalog reads what was put last, and nothing of what was taken out."""
    for made in (entity("b"), entity("a"), entity("z", kind="API", run=None), entity("a-b")):
        await store.put_entity(made, now=NOW)
    await store.put_entity(entity("b", title="new"), now=LATER)
    run = await accept(store)
    await store.append(run.id, Entry(drops=entity("a").ref), fence=run.fence, now=LATER)
    await store.append(
        run.id, Entry(drops=EntityRef("resource", "default", "never")), fence=run.fence, now=LATER
    )

    assert await store.entities() == [
        entity("z", kind="API", run=None),
        entity("a-b"),
        entity("b", title="new"),
    ]
    assert await store.entity(kind="resource", name="b") == entity("b", title="new")
    with pytest.raises(EntityUnknown, match="resource:a"):
        await store.entity(kind="resource", name="a")


async def test_documents_are_ordered_by_kind_namespace_and_name(store):
    """Every store lists documents in the same order, so that their ETag is the same."""
    for kind in ("Resource-Set", "Resource"):
        await store.put_entity(entity("x", kind=kind), now=NOW)

    assert [made.ref.kind for made in await store.entities()] == ["resource", "resource-set"]


async def test_what_the_platform_api_is_told_is_kept(store):
    """A callback that is repeated leaves one record, the last."""
    await store.put_namespace("b", record={"status": "active"}, now=NOW)
    await store.put_namespace("a", record={"status": "new"}, now=NOW)
    await store.put_namespace("b", record={"status": "gone", "n": 1}, now=LATER)

    assert await store.namespaces() == [{"status": "new"}, {"status": "gone", "n": 1}]


async def test_a_store_that_works_answers(store):
    """Readiness asks, and hears nothing bad."""
    assert await store.ping() is None
