"""Nothing that is written of a run has a secret in it, whichever way it came in."""

from __future__ import annotations

import pytest

from bridge.adapters.memory import MemoryStore
from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command, Verb
from bridge.domain.entities import entity_document
from bridge.domain.events import EventDraft, log
from bridge.domain.runs import WORKFLOW_OUTPUTS, RunChanges, RunError, RunStatus
from bridge.ports import AuditFilter, Entry
from bridge.services.journal import Journal
from bridge.services.redaction import Redaction
from bridge.services.refusals import Refusals
from bridge.services.tasks import Tasks
from tests.domain.making import NOW, RUN_ID, new_run, node
from tests.services.fakes import FakeClock
from tests.services.world import World

OURS = "token-of-the-bridge-itself"
GIVEN = "given-to-this-run"
OTHER = "01kagw9zq6x3v5t7y8r2m4n6p9"


@pytest.fixture
async def parts():
    """A store with a run that was given a secret, and its journal."""
    store, clock = MemoryStore(), FakeClock()
    redaction = Redaction(lambda: KNOWN)
    journal = Journal(store=store, clock=clock, redaction=redaction)
    for run_id in (RUN_ID, OTHER):
        first = log("accepted")
        await journal.accept(new_run(run_id, key=run_id), first=first, audit=AuditDraft("a", "c"))
    redaction.learn(RUN_ID, [GIVEN])
    return store, journal, redaction


KNOWN = frozenset({OURS})


async def stored(store: MemoryStore) -> str:
    """Everything that the store has, as text."""
    return repr(store._memory)


@pytest.mark.parametrize("secret", [OURS, GIVEN])
async def test_every_word_of_a_commit_is_looked_at(parts, secret: str):
    """Lines, outputs, errors, entities, reasons and what is kept for later: none has a secret."""
    store, journal, _ = parts
    entry = Entry(
        changes=RunChanges(
            status=RunStatus.RUNNING,
            outputs={"where": f"https://{secret}/", "n": 1},
            error=RunError("workflow_failed", f"it said {secret}"),
            state={"nodes": {}, WORKFLOW_OUTPUTS: {"x": secret}},
        ),
        events=(log(f"work | {secret}"), EventDraft("output", data={"outputs": {"x": secret}})),
        audit=(AuditDraft("x", "c", reason=secret, data={"x": [secret]}),),
        keeps=entity_document(
            {"kind": "Resource", "metadata": {"name": "a", "title": secret}}, run_id=RUN_ID
        ),
    )

    await journal.write(RUN_ID, entry=entry)

    run = await store.run(RUN_ID)
    assert run.outputs == {"where": "https://***/", "n": 1}
    assert run.error == RunError("workflow_failed", "it said ***")
    assert run.state == {"nodes": {}, WORKFLOW_OUTPUTS: {"x": "***"}}
    _, line, output = await store.events(RUN_ID, after=0, limit=9)
    assert line.draft.message == "work | ***"
    assert output.draft.data == {"outputs": {"x": "***"}}
    record = (await store.audit_records(AuditFilter()))[0]
    assert (record.draft.reason, record.draft.data) == ("***", {"x": ["***"]})
    (kept,) = await store.entities()
    assert kept.document["metadata"]["title"] == "***"
    assert secret not in await stored(store)


async def test_the_end_and_its_reason_are_looked_at(parts):
    """The sentence of the end is shown most of all."""
    store, journal, _ = parts
    run = await store.run(RUN_ID)
    error = RunError("workflow_failed", f"deploy failed: password={GIVEN}")

    await journal.end(run, status=RunStatus.FAILED, error=error)

    done = (await store.events(RUN_ID, after=1, limit=9))[0]
    assert done.draft.message == "✗ thing:make failed: deploy failed: password=***"
    assert done.draft.data["error"]["message"] == "deploy failed: password=***"
    assert GIVEN not in await stored(store)


async def test_what_somebody_gives_as_a_reason_is_looked_at(parts):
    """A token in a reason is neither kept, nor shown, nor sent to Argo."""
    store, journal, _ = parts
    command = Command(RUN_ID, Verb.CANCEL, by="ann", at=NOW, reason=f"leaked {OURS}")
    entry = Entry(events=(log(command.line),), audit=(AuditDraft("x", "c", reason=command.reason),))

    given = await journal.command(command, entry=entry)

    assert given.command is not None
    assert given.command.reason == "leaked ***"
    assert OURS not in await stored(store)


async def test_a_refused_attempt_is_looked_at(parts):
    """What is written of attempts that came to nothing is shown as well."""
    store, _, redaction = parts
    refusals = Refusals(store=store, clock=FakeClock(), tasks=Tasks(), redaction=redaction)
    await refusals.keep(AuditDraft("run.cancel", "c", reason=f"because {OURS}"))
    assert (await store.audit_records(AuditFilter()))[0].draft.reason == "because ***"


async def test_a_retry_is_looked_at(parts):
    """The reason of who tries again goes with the new run."""
    store, journal, _ = parts
    audit = AuditDraft("run.retry", "c", reason=f"because {OURS}")
    new = new_run("01kagw9zq6x3v5t7y8r2m4n6q0", key="k")
    await journal.accept(new, first=log("1"), audit=audit)
    assert (await store.audit_records(AuditFilter()))[0].draft.reason == "because ***"


async def test_the_secret_of_a_run_is_hidden_in_that_run_only_and_until_its_end(parts):
    """What one run was given is an ordinary word in others, and is not remembered for ever."""
    store, journal, redaction = parts

    await journal.say(OTHER, GIVEN)
    await journal.end(await store.run(RUN_ID), status=RunStatus.FAILED)

    assert (await store.events(OTHER, after=1, limit=9))[0].draft.message == GIVEN
    assert redaction.text(RUN_ID, GIVEN) == GIVEN


async def test_a_line_is_said_once_although_it_was_hidden(parts):
    """Who takes a run over knows its lines again."""
    store, journal, _ = parts
    for _ in range(2):
        await journal.say_once(await store.run(RUN_ID), f"Argo said {OURS}")
    events = await store.events(RUN_ID, after=1, limit=9)
    assert [event.draft.message for event in events] == ["Argo said ***"]


async def test_what_has_no_secret_is_not_copied(parts):
    """Thousands of lines are looked at, and few are changed."""
    _, _, redaction = parts
    draft = log("work | done", source="pod", step="work")
    assert redaction.event(RUN_ID, draft) is draft
    changes = RunChanges(state={"nodes": {"a": ["Running", ""]}})
    assert redaction.changes(RUN_ID, changes) is changes


async def test_a_rotated_secret_is_hidden_from_then_on():
    """A new token of the bridge is not told either."""
    known = [frozenset({OURS})]
    redaction = Redaction(lambda: known[-1])
    assert redaction.text("r", "the-rotated-token") == "the-rotated-token"
    known.append(frozenset({OURS, "the-rotated-token"}))
    assert redaction.text("r", f"the-rotated-token {OURS}") == "*** ***"


async def test_words_of_a_workflow_have_no_secrets(world: World):
    """What Argo and its pods say is looked at like everything else."""
    run = await world.ask()
    await world.clock.settle()
    world.ended(
        run,
        node("deploy", phase="Failed", ended=3, message="dial postgresql://a:hunter2@db failed"),
        phase="Failed",
    )
    ended = await world.finish(run)
    assert ended.error is not None
    assert ended.error.message == "deploy failed: dial postgresql://a:***@db failed"
    assert "hunter2" not in repr(world.events(run))
