"""What every run store promises of commands, of the trail, and of what goes with a commit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command, Settlement, Verb
from bridge.domain.errors import RunUnknown
from bridge.domain.events import log
from bridge.domain.runs import RunChanges, RunStatus
from bridge.ports import AuditFilter, Entry
from tests.contract.storing import ACCEPTED, LATER, accept, entity, move, run_id, write
from tests.domain.making import NOW, new_run

ASKED = Entry(
    RunChanges(cancel_requested_by="user:default/ann", cancel_requested_at=LATER),
    (log("asked"),),
    (AuditDraft("run.cancel", "plugin:scaffolder", "user:default/ann", reason="why"),),
)


def cancel(number: int = 0, **fields) -> Command:
    return Command(run_id(number), Verb.CANCEL, **{"by": "user:default/ann", "at": NOW, **fields})


def decide(verb: Verb, number: int = 0, **fields) -> Command:
    at = NOW + timedelta(seconds=2)
    return Command(
        run_id(number), verb, **{"by": "user:default/bob", "at": at, "gate": "wf-1", **fields}
    )


# --- commands -----------------------------------------------------------------------------------


async def test_a_command_is_kept_with_its_entry(store):
    """What somebody asked is durable together with the line that says so."""
    run = await accept(store)

    given = await store.command(cancel(reason="no time"), entry=ASKED, now=LATER)

    assert given.fresh
    assert given.command == cancel(reason="no time")
    assert given.run == given.appended.run == await store.run(run.id)
    assert given.run.cancel_requested_by == "user:default/ann"
    assert [event.draft for event in given.appended.events] == [log("asked")]
    assert await store.commands(run.id) == [given.command]
    (record,) = await store.audit_records(AuditFilter())
    assert (record.time, record.draft) == (LATER, replace(ASKED.audit[0], run_id=run.id))


async def test_every_field_of_a_command_comes_back_as_it_was_put(store):
    """Who decided what, why and with which values reaches the owner of the run unchanged."""
    await accept(store)
    command = decide(Verb.APPROVE, reason="fine, é", outputs={"size": "2", "b": ""})

    await store.command(command, entry=Entry(), now=LATER)

    assert await store.commands(command.run_id) == [command]


async def test_the_first_command_of_a_slot_is_the_only_one(store):
    """Of an approval and a rejection of the same gate one counts, and the other hears of it."""
    run = await accept(store)
    first = await store.command(decide(Verb.APPROVE), entry=ASKED, now=LATER)

    second = await store.command(decide(Verb.REJECT, by="user:default/eve"), entry=ASKED, now=NOW)

    assert not second.fresh
    assert second.command == first.command
    assert second.appended is None
    assert second.run == first.run == await store.run(run.id)
    assert len(await store.events(run.id, after=0, limit=9)) == 2
    assert len(await store.audit_records(AuditFilter())) == 1


async def test_commands_of_other_slots_and_runs_do_not_compete(store):
    """Another gate, another verb or another run has its own decision; all come oldest first."""
    await accept(store, 0)
    await accept(store, 1)
    given = [
        cancel(0),
        decide(Verb.APPROVE, 0),
        decide(Verb.REJECT, 0, gate="wf-2"),
        Command(run_id(0), Verb.TERMINATE, by="b", at=NOW),
    ]

    for command in [*given, cancel(1)]:
        assert (await store.command(command, entry=Entry(), now=LATER)).fresh

    assert await store.commands(run_id(0)) == given
    assert await store.commands(run_id(1)) == [cancel(1)]
    assert await store.commands("unknown") == []


async def test_a_run_that_is_over_takes_no_command(store):
    """Whoever comes too late is told how the run ended, and changes nothing."""
    run = await accept(store)
    ended = await move(store, run, RunStatus.FAILED)

    late = await store.command(cancel(), entry=ASKED, now=LATER)

    assert (late.fresh, late.command, late.appended, late.run) == (False, None, None, ended)
    assert await store.commands(run.id) == []
    assert await store.audit_records(AuditFilter()) == []


async def test_a_command_to_an_unknown_run_is_refused(store):
    """No command waits for a run that does not exist."""
    with pytest.raises(RunUnknown):
        await store.command(cancel(), entry=Entry(), now=NOW)


async def test_a_settled_command_says_how_it_went_and_is_open_no_more(store):
    """A restart carries out again only what has not been carried out."""
    one, two = await accept(store, 0), await accept(store, 1)
    await store.command(decide(Verb.APPROVE, 0), entry=Entry(), now=LATER)
    await store.command(cancel(1), entry=Entry(), now=LATER)
    await store.command(cancel(0), entry=Entry(), now=LATER)
    assert await store.open_commands() == [cancel(0), cancel(1), decide(Verb.APPROVE, 0)]

    entry = Entry(events=(log("approved"),), settles=Settlement("gate:wf-1", "approved"))
    await store.append(one.id, entry, fence=one.fence, now=LATER)

    settled = replace(decide(Verb.APPROVE, 0), outcome="approved", settled_at=LATER)
    assert await store.commands(one.id) == [settled, cancel(0)]
    assert await store.open_commands() == [cancel(0), cancel(1)]
    await move(store, two, RunStatus.CANCELLED)
    assert await store.open_commands() == [cancel(0)]


# --- what goes with a commit ---------------------------------------------------------------------


async def test_documents_change_in_the_commit_of_their_run(store):
    """The catalog shows a new thing exactly when its run says that it is there."""
    run = await accept(store)
    await store.put_entity(entity("old"), now=NOW)

    made = Entry(events=(log("made"),), keeps=entity("new"), drops=entity("old").ref)
    await store.append(run.id, made, fence=run.fence, now=LATER)

    assert await store.entities() == [entity("new")]


@pytest.mark.parametrize("refusal", ["ended", "impossible", "unknown"])
async def test_a_refused_commit_leaves_nothing_of_its_entry(store, refusal):
    """A write that comes to nothing moves no document, settles nothing and leaves no trail."""
    run = await accept(store)
    await store.put_entity(entity("old"), now=NOW)
    await store.command(cancel(), entry=Entry(), now=NOW)
    if refusal == "ended":
        await move(store, run, RunStatus.FAILED)
    entry = Entry(
        RunChanges(status=RunStatus.SUCCEEDED if refusal == "impossible" else None),
        events=(log("no"),),
        audit=(AuditDraft("x", "y"),),
        settles=Settlement("cancel", "done"),
        keeps=entity("new"),
        drops=entity("old").ref,
    )

    pending = store.append(
        "unknown" if refusal == "unknown" else run.id, entry, fence=None, now=NOW
    )
    if refusal == "ended":
        assert await pending is None
    else:
        with pytest.raises(ValueError if refusal == "impossible" else RunUnknown):
            await pending

    assert await store.entities() == [entity("old")]
    assert await store.commands(run.id) == [cancel()]
    assert await store.audit_records(AuditFilter()) == []
    assert len(await store.events(run.id, after=0, limit=9)) == 1


# --- the trail ----------------------------------------------------------------------------------


async def test_an_accepted_run_is_in_the_trail_once(store):
    """Who asked for a run is recorded with it, and a replay is not another request."""
    draft = AuditDraft("run.create", "plugin:scaffolder", "user:default/ann", data={"a": [1]})
    for number in (1, 2):
        new = new_run(run_id(number), key="same")
        await store.accept(new, first=ACCEPTED, audit=[draft])

    (record,) = await store.audit_records(AuditFilter())

    assert record.draft == replace(draft, run_id=run_id(1))
    assert record.time == NOW


async def test_records_are_listed_newest_first_in_pages_and_by_filter(store):
    """An auditor finds what one person did, what one run saw, and all of it page by page."""
    run = await accept(store, 7)
    await store.audit(AuditDraft("token.refused", "?", outcome="unauthenticated"), now=NOW)
    for user in ("ann", "bob", "ann"):
        entry = Entry(audit=(AuditDraft("run.approve", "c", user, reason=user),))
        await store.append(run.id, entry, fence=None, now=LATER)
    await store.audit(AuditDraft("run.cancel", "c", "ann"), now=LATER)

    async def listed(**chosen) -> list[tuple[str, str | None]]:
        records = await store.audit_records(AuditFilter(**chosen))
        return [(record.draft.action, record.draft.user) for record in records]

    by_ann, by_bob = ("run.approve", "ann"), ("run.approve", "bob")
    everything = [("run.cancel", "ann"), by_ann, by_bob, by_ann, ("token.refused", None)]
    assert await listed() == everything
    assert await listed(limit=2) == everything[:2]
    last = (await store.audit_records(AuditFilter(limit=2)))[-1].number
    assert await listed(limit=2, before=last) == everything[2:4]
    assert await listed(user="ann") == [("run.cancel", "ann"), by_ann, by_ann]
    assert await listed(run_id=run.id) == [by_ann, by_bob, by_ann]
    assert await listed(run_id=run.id, user="bob") == [by_bob]
    assert await listed(action="token.refused") == [("token.refused", None)]
    assert await listed(action="token.refused", user="ann") == []


async def test_numbers_of_records_grow(store):
    """The order of the trail is the order in which things were done."""
    await accept(store)
    for number in range(3):
        await store.audit(AuditDraft(f"a{number}", "c"), now=NOW)
        await write(store, run_id(0), log("x"))

    records = await store.audit_records(AuditFilter())

    assert [record.draft.action for record in records] == ["a2", "a1", "a0"]
    assert [record.number for record in records] == sorted(
        {record.number for record in records}, reverse=True
    )
