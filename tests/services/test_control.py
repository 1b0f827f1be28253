"""What people may ask of a run under way, what comes of it, and what is kept of it."""

from __future__ import annotations

import pytest

from bridge.domain.callers import Caller
from bridge.domain.commands import Verb
from bridge.domain.errors import (
    AlreadyDecided,
    EngineUnavailable,
    Forbidden,
    InputInvalid,
    LockHeld,
    NotRetryable,
    NotWaiting,
)
from bridge.domain.progress import Gate
from bridge.domain.runs import RunStatus
from bridge.ports import AuditFilter
from bridge.services.control import Wish
from tests.domain.making import DOCUMENT, node
from tests.services.fakes import APPLIED, FakeCatalog
from tests.services.world import World, through_backstage

ANN, BOB, EVE = "user:default/ann", "user:default/bob", "user:default/eve"
ADMIN = frozenset({"thing:admin"})
APPROVAL = DOCUMENT["spec"]["approval"]


def wish(run, who: str | None = BOB, reason: str = "") -> Wish:
    """What *who* asks through Backstage, as an admin of things."""
    return Wish(run.id, through_backstage(who, "thing:admin"), reason)


def gate(phase: str = "Running", **fields):
    """The gate that the definition names."""
    return node("approve", "Suspend", phase, **fields)


@pytest.fixture
async def waiting(outside):
    """A world whose run waits for an approval by the admins, of whom Bob is one."""
    outside.catalog = FakeCatalog()
    outside.catalog.groups = {BOB: frozenset({"group:default/admins"})}
    world = World(outside)
    await world.start()
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, gate())
    await world.clock.settle()
    return world, run


async def trail(world: World) -> list[tuple[str, str | None, str]]:
    """Action, user and outcome of each audit record, oldest first."""
    records = await world.store.audit_records(AuditFilter(limit=99))
    return [(r.draft.action, r.draft.user, r.draft.outcome) for r in reversed(records)]


# --- approve and reject --------------------------------------------------------------------------


async def test_an_approval_opens_the_gate_once_and_says_by_whom(waiting):
    """The step goes on, Argo and the log name who approved and why, and the trail keeps it."""
    world, run = waiting

    await world.control.decide(wish(run, reason="looks good"), Verb.APPROVE, {})
    await world.clock.settle()

    ((name, gate_id, approved, message, outputs),) = world.engine.called("decide")
    assert (name, approved, outputs) == (run.workflow_name, True, {})
    assert message == f"approved by {BOB}: looks good"
    assert f"approved by {BOB}: looks good" in world.told(run)
    (command,) = await world.store.commands(run.id)
    assert (command.gate, command.outcome) == (gate_id, "done")
    assert await trail(world) == [
        ("run.accept", ANN, "done"),
        ("run.approve", BOB, "asked"),
        ("run.approve.settled", None, "done"),
    ]


async def test_a_rejection_closes_the_gate_with_its_reason(waiting):
    """Who rejects says why, and that is what the requester reads."""
    world, run = waiting

    await world.control.decide(wish(run, reason="too big"), Verb.REJECT, {})
    await world.clock.settle()

    ((_, _, approved, message, _),) = world.engine.called("decide")
    assert (approved, message) == (False, f"rejected by {BOB}: too big")


async def test_the_same_decision_twice_is_one_decision(waiting):
    """A repeated approval by the same person changes nothing and is no error."""
    world, run = waiting
    await world.control.decide(wish(run), Verb.APPROVE, {})
    await world.clock.settle()
    lines = world.told(run)

    again = await world.control.decide(wish(run), Verb.APPROVE, {})

    assert again.id == run.id
    assert world.told(run) == lines
    assert len(world.engine.called("decide")) == 1


@pytest.mark.parametrize(("who", "verb"), [(BOB, Verb.REJECT), (EVE, Verb.APPROVE)])
async def test_a_second_decision_is_told_of_the_first(waiting, who, verb):
    """Whoever comes later, or changes their mind, learns who decided what."""
    world, run = waiting
    world.outside.catalog.groups[EVE] = frozenset({"group:default/admins"})
    await world.control.decide(wish(run, reason="fine"), Verb.APPROVE, {})
    await world.clock.settle()

    with pytest.raises(AlreadyDecided, match=f"approved by {BOB} already: fine"):
        await world.control.decide(wish(run, who), verb, {})

    assert len(world.engine.called("decide")) == 1
    assert (await trail(world))[-1] == (f"run.{verb}", who, "already_decided")


async def test_two_decisions_at_once_are_one(waiting):
    """Of two that decide while Argo is still being asked, the first one counts."""
    world, run = waiting
    world.engine.faults["decide"].append(EngineUnavailable("cut"))
    await world.control.decide(wish(run), Verb.REJECT, {})

    with pytest.raises(AlreadyDecided, match=f"rejected by {BOB}"):
        await world.control.decide(wish(run), Verb.APPROVE, {})
    await world.clock.advance(5)

    assert [call[2] for call in world.engine.called("decide")] == [False, False]


async def test_the_requester_may_not_decide(waiting):
    """Four eyes: whoever asked for it cannot approve it, even as an admin."""
    world, run = waiting
    world.outside.catalog.groups[ANN] = frozenset({"group:default/admins"})

    with pytest.raises(Forbidden, match="somebody else"):
        await world.control.decide(wish(run, ANN), Verb.APPROVE, {})

    assert world.engine.called("decide") == []
    assert (await trail(world))[-1] == ("run.approve", ANN, "forbidden")


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (Caller("plugin:scaffolder", EVE, roles=ADMIN), "is none of them"),
        (Caller("service:ops", roles=ADMIN), "names no person"),
    ],
)
async def test_only_those_who_are_named_may_decide(waiting, who, why):
    """Others, admins among them, are refused with the name of those who may."""
    world, run = waiting

    with pytest.raises(Forbidden, match=f"group:default/admins.*{why}"):
        await world.control.decide(Wish(run.id, who), Verb.APPROVE, {})

    assert world.engine.called("decide") == []


async def test_without_a_catalog_nobody_is_known_to_be_in_a_group(world: World):
    """A bridge that cannot look groups up says so, in place of letting everybody decide."""
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, gate())
    await world.clock.settle()

    with pytest.raises(Forbidden, match="BRIDGE_BACKSTAGE_URL"):
        await world.control.decide(wish(run), Verb.APPROVE, {})


@pytest.mark.parametrize("by", [[BOB], ["service:ops"], []])
async def test_people_and_services_can_be_named_themselves(world: World, by):
    """An approval can be given to one person, to a service, or to everybody else."""
    world.define(approval={"node": "approve", "by": by})
    run = await world.ask()
    world.engine.show(run.workflow_name, gate())
    await world.clock.settle()

    caller = Caller("service:ops") if by == ["service:ops"] else through_backstage(BOB)
    await world.control.decide(Wish(run.id, caller), Verb.APPROVE, {})
    await world.clock.settle()

    assert len(world.engine.called("decide")) == 1


async def test_what_the_approver_fills_in_reaches_the_gate(world: World):
    """Inputs of an approval are checked, defaults included, before Argo gets them."""
    inputs = {
        "properties": {
            "size": {"enum": ["small", "large"]},
            "note": {"type": "string"},
            "backup": {"type": "boolean"},
        }
    }
    world.define(approval={"node": "approve", "inputs": inputs})
    run = await world.ask()
    supplied = [
        {"name": "size", "valueFrom": {"supplied": {}}},
        {"name": "note", "valueFrom": {"supplied": {}, "default": "none"}},
        {"name": "backup", "valueFrom": {"supplied": {}}},
    ]
    open_gate = {**gate(), "outputs": {"parameters": supplied}}
    world.engine.show(run.workflow_name, open_gate)
    await world.clock.settle()

    right = {"size": "large", "backup": True}
    for field, wrong in (("size", {"size": "huge"}), ("note", {"note": "{{=1+1}}"})):
        with pytest.raises(InputInvalid) as refused:
            await world.control.decide(wish(run), Verb.APPROVE, {**right, **wrong})
        assert [error.pointer for error in refused.value.errors] == [f"/{field}"]
    with pytest.raises(InputInvalid, match=r"inputs\.size is needed") as refused:
        await world.control.decide(wish(run), Verb.APPROVE, {"backup": True})
    assert [error.pointer for error in refused.value.errors] == ["/size"]
    await world.control.decide(wish(run), Verb.APPROVE, right)
    await world.clock.settle()

    ((*_, outputs),) = world.engine.called("decide")
    assert outputs == {"size": "large", "note": "none", "backup": "true"}


async def test_a_gate_that_the_definition_does_not_name_is_nobodys_here(world: World):
    """Who may open a gate is the platform team's to say; the bridge lets nobody guess."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("pause", "Suspend"))
    await world.clock.settle()

    with pytest.raises(Forbidden, match=r"add spec\.approval"):
        await world.control.decide(wish(run), Verb.APPROVE, {})


async def test_a_run_without_an_open_gate_waits_for_nobody(world: World):
    """Approving what does not wait is refused with where the run stands."""
    run = await world.ask()

    with pytest.raises(NotWaiting, match="waits for nobody"):
        await world.control.decide(wish(run), Verb.APPROVE, {})

    assert (await trail(world))[-1] == ("run.approve", BOB, "not_waiting")


async def test_an_answer_of_200_that_did_nothing_is_not_believed(waiting):
    """Argo may say yes and do nothing: the gate is looked at again until it is decided."""
    world, run = waiting
    world.engine.deaf = True
    await world.control.decide(wish(run), Verb.APPROVE, {})
    await world.clock.advance(2)
    (command,) = await world.store.commands(run.id)
    assert command.outcome is None

    world.engine.deaf = False
    await world.clock.advance(20)

    (command,) = await world.store.commands(run.id)
    assert command.outcome == "done"
    assert len(world.engine.called("decide")) > 1


async def test_a_decision_whose_answer_was_lost_is_not_made_twice(waiting):
    """A cut connection after the gate was opened opens it once all the same."""
    world, run = waiting
    world.engine.faults["decide"].append((APPLIED, EngineUnavailable("cut")))

    await world.control.decide(wish(run), Verb.APPROVE, {})
    await world.clock.advance(5)

    assert len(world.engine.called("decide")) == 1
    (command,) = await world.store.commands(run.id)
    assert command.outcome == "done"


async def test_a_gate_that_was_decided_in_argo_is_told_as_it_is(waiting):
    """Who approves what was rejected in Argo's own page learns that it was decided there."""
    world, run = waiting
    world.engine.faults["decide"].append(EngineUnavailable("cut"))
    await world.control.decide(wish(run), Verb.APPROVE, {})
    world.engine.show(run.workflow_name, gate("Failed", ended=2, message="no"))

    await world.clock.advance(5)

    (command,) = await world.store.commands(run.id)
    assert command.outcome == "decided otherwise in Argo"
    assert "the approval was decided otherwise in Argo before" in world.told(run)


async def test_a_decision_outlives_the_process(waiting):
    """An approval that was accepted is carried out after a crash."""
    world, run = waiting
    world.engine.faults["decide"].extend([EngineUnavailable("x")] * 9)
    await world.control.decide(wish(run), Verb.APPROVE, {})
    world.engine.faults["decide"].clear()

    again = await world.restart()
    await again.clock.advance(1)

    (command,) = await again.store.commands(run.id)
    assert command.outcome == "done"


async def test_an_approval_that_nobody_gives_in_time_is_rejected(world: World):
    """A run does not wait for ever: after the definition's time it is rejected, and says why."""
    world.define(approval={**APPROVAL, "timeout": "1h"})
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, gate(started=0))
    await world.clock.advance(3590)
    assert world.engine.called("decide") == []

    await world.clock.advance(30)

    ((_, _, approved, message, _),) = world.engine.called("decide")
    assert not approved
    assert message == "rejected by bridge: nobody decided within 1 h 0 min"
    assert ("run.reject", None, "asked") in await trail(world)


async def test_the_time_of_an_approval_is_not_begun_anew_by_a_restart(world: World):
    """A crash does not give a waiting approval more time than it had."""
    world.define(approval={**APPROVAL, "timeout": "1h"})
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, gate(started=0))
    await world.clock.advance(3000)

    again = await world.restart()
    await again.clock.advance(630)

    assert len(again.engine.called("decide")) == 1


async def test_an_approval_in_time_is_not_rejected_later(waiting):
    """A decided gate has no deadline any more."""
    world, run = waiting
    snapshot = await world.engine.get(run.workflow_name)
    world.deadlines.gate_open(run.id, Gate("approve", timeout=3600), snapshot)

    await world.control.decide(wish(run), Verb.APPROVE, {})
    await world.clock.advance(4000)

    assert [call[2] for call in world.engine.called("decide")] == [True]


async def test_a_later_gate_has_its_own_time(world: World):
    """A run that comes to the approval a second time is not kept waiting for the first's time."""
    world.define(approval={**APPROVAL, "timeout": "1m"})
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, gate(started=0))
    await world.clock.advance(10)
    later = node("again.approve", "Suspend", started=30)
    world.engine.show(run.workflow_name, gate("Succeeded", started=0, ended=10), later)

    await world.clock.advance(60)
    assert world.engine.called("decide") == []
    await world.clock.advance(25)

    ((_, _, approved, message, _),) = world.engine.called("decide")
    assert (approved, message) == (False, "rejected by bridge: nobody decided within 1 min 0 s")


async def test_a_gate_since_when_nobody_knows_keeps_no_run_from_being_followed(world: World):
    """An odd time of Argo costs the deadline, and neither a line nor the end."""
    world.define(approval={**APPROVAL, "timeout": "1m"})
    run = await world.ask(environment="production")
    world.engine.show(run.workflow_name, {**gate(), "startedAt": "yesterday"})
    world.engine.show(run.workflow_name, {**gate("Succeeded", ended=9), "startedAt": "yesterday"})
    world.ended(run, gate("Succeeded", ended=9))

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


# --- terminate -----------------------------------------------------------------------------------


async def test_terminating_is_a_second_explicit_step(world: World):
    """Cancel stops and rolls back; terminate after it ends at once, without the exit handler."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", "HTTP"))
    await world.clock.settle()
    await world.cancel(run, by=ANN)

    await world.control.terminate(wish(run, BOB, "stuck"))
    await world.clock.settle()

    assert world.engine.called("stop") == [(run.workflow_name, False), (run.workflow_name, True)]
    assert f"termination requested by {BOB}: stuck" in world.told(run)
    world.ended(run, node("a", "HTTP", "Failed", ended=2), phase="Failed")
    ended = await world.finish(run)
    assert ended.status is RunStatus.CANCELLED
    assert ended.cancel_requested_by == ANN


# --- retry ---------------------------------------------------------------------------------------


async def test_a_failed_run_is_tried_again_as_a_new_attempt(world: World):
    """Retry gives another run with another workflow, and the old one points to it."""
    run = await world.failed()

    again = (await world.control.retry(wish(run, reason="quota was raised"), "attempt")).run
    await world.clock.settle()

    assert (again.attempt, again.status) == (2, RunStatus.ACCEPTED)
    assert world.run(run).superseded_by == again.id
    assert again.workflow_name in world.engine.workflows
    assert again.workflow_name != run.workflow_name
    assert ("run.retry", BOB, "done") in await trail(world)


async def test_retrying_twice_is_one_attempt(world: World):
    """A second retry of the same run gives the attempt that is there."""
    run = await world.failed()

    one = await world.control.retry(wish(run), "attempt")
    two = await world.control.retry(wish(run), "attempt")
    await world.clock.settle()

    assert one.run.id == two.run.id
    assert (one.replayed, two.replayed) == (False, True)
    assert len(world.engine.called("create")) == 2


async def test_a_workflow_can_be_retried_in_place(world: World):
    """Argo runs only what failed again: the same workflow, followed by a new attempt."""
    run = await world.failed()

    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.advance(2)

    assert world.engine.called("retry") == [(run.workflow_name,)]
    assert len(world.engine.called("create")) == 1
    assert (again.workflow_name, again.takes_over) == (run.workflow_name, run.id)
    world.ended(again, node("a", "HTTP", "Succeeded", started=50, ended=52))
    ended = await world.finish(again)
    assert ended.status is RunStatus.SUCCEEDED
    assert "✓ a (2 s)" in world.told(again)
    world.check(run)


@pytest.mark.parametrize("lost", [True, False])
async def test_a_retry_in_place_is_applied_once(world: World, lost):
    """A cut connection does not make Argo retry twice."""
    run = await world.failed()
    cut = EngineUnavailable("cut")
    world.engine.faults["retry"].append((APPLIED, cut) if lost else cut)

    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.advance(5)

    assert len(world.engine.called("retry")) == (1 if lost else 2)
    assert world.run(again).status is RunStatus.RUNNING


async def test_the_end_of_the_attempt_before_is_not_the_end_of_the_next(world: World):
    """A list that still shows the old end does not end a retry that is only beginning."""
    run = await world.failed()
    old = world.engine.workflows[run.workflow_name]
    world.engine.faults["retry"].extend([EngineUnavailable("cut")] * 3)

    again = (await world.control.retry(wish(run), "workflow")).run
    for _ in range(3):
        world.engine.tell("MODIFIED", old)
        await world.clock.advance(0.5)
    assert not world.run(again).finished
    await world.clock.advance(20)
    world.engine.tell("MODIFIED", old)
    await world.clock.advance(5)

    assert world.run(again).status is RunStatus.RUNNING
    world.ended(again, node("a", "HTTP", "Succeeded", started=50, ended=52))
    assert (await world.finish(again)).status is RunStatus.SUCCEEDED


async def test_a_retry_that_fails_within_the_same_second_ends_all_the_same(world: World):
    """Argo's times are whole seconds: an end that looks like the old one is asked about."""
    run = await world.failed()
    old = world.engine.workflows[run.workflow_name]["status"]
    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.advance(2)

    world.ended(again, node("a", "HTTP", "Failed", ended=2), phase="Failed", **ends(old))
    ended = await world.finish(again)

    assert ended.status is RunStatus.FAILED


def ends(status):
    """The times of a workflow that has ended."""
    return {key: status[key] for key in ("startedAt", "finishedAt") if key in status}


async def test_a_retry_in_place_is_not_repeated_by_who_takes_over(world: World):
    """Killed after Argo had retried and failed again: what it did is told, not done once more."""
    run = await world.failed()
    world.engine.faults["retry"].append((APPLIED, EngineUnavailable("cut")))
    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.until(lambda: world.engine.called("retry"))
    await world.tasks.aclose()
    world.ended(
        again,
        node("a", "HTTP", "Failed", started=50, ended=52),
        phase="Failed",
        startedAt="2026-11-22T12:00:00Z",
        finishedAt="2026-11-22T12:00:00Z",
    )

    after = await world.restart()
    ended = await after.finish(again)

    assert ended.status is RunStatus.FAILED
    assert len(after.engine.called("retry")) == 1


async def test_letting_the_attempt_before_go_late_leaves_the_next_one_followed(world: World):
    """What a replica hears late of an ended attempt takes no line from the one that goes on."""
    run = await world.failed()
    world.follower.track(run, definition=await world.actions.definition_of(run))
    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.advance(2)

    world.follower.forget(run.id)
    world.engine.show(run.workflow_name, node("b", "HTTP", started=50))
    await world.clock.settle()

    assert "● b running" in world.told(again)


async def test_a_workflow_that_argo_has_removed_cannot_be_retried_in_place(world: World):
    """The user is told to ask for a new attempt."""
    run = await world.failed()
    world.engine.remove(run.workflow_name)

    again = (await world.control.retry(wish(run), "workflow")).run
    ended = await world.finish(again)

    assert ended.status is RunStatus.LOST
    assert "ask for a new attempt" in ended.error.message


async def test_only_what_ended_badly_is_retried(world: World):
    """An open run and one that went well are left as they are."""
    run = await world.ask()
    with pytest.raises(NotRetryable, match=r"is (running|submitting)"):
        await world.control.retry(wish(run), "attempt")
    world.ended(run)
    await world.finish(run)

    with pytest.raises(NotRetryable, match="succeeded"):
        await world.control.retry(wish(run), "attempt")


async def test_a_run_that_never_had_a_workflow_is_retried_as_a_whole(world: World):
    """There is nothing in Argo to go on with; a new attempt is possible."""
    world.engine.down = EngineUnavailable("x")
    run = await world.ask()
    await world.cancel(run, by=ANN)
    world.engine.down = None
    await world.finish(run)

    with pytest.raises(NotRetryable, match="never had a workflow"):
        await world.control.retry(wish(run), "workflow")

    assert (await world.control.retry(wish(run), "attempt")).run.attempt == 2


# --- a workflow retried in Argo itself -----------------------------------------------------------


async def test_a_workflow_retried_by_hand_is_followed_by_a_new_attempt(world: World):
    """Who presses retry in Argo sees it in Backstage: the ended run stays, the next one goes on."""
    run = await world.failed()

    await world.engine.retry(run.workflow_name)
    await world.clock.settle()

    successor = world.store._memory.runs[world.run(run).superseded_by]
    assert successor.status is RunStatus.RUNNING
    assert len(world.engine.called("retry")) == 1
    world.check(run)
    world.ended(successor, node("a", "HTTP", "Succeeded", started=50, ended=52))
    assert (await world.finish(successor)).status is RunStatus.SUCCEEDED
    assert ("run.reopened", None, "done") in await trail(world)


async def test_an_old_picture_of_a_workflow_opens_nothing(world: World):
    """A watch or list that shows the past is checked before anything is believed."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", "HTTP"), startedAt="2026-11-22T10:00:00Z")
    old = world.engine.workflows[run.workflow_name]
    await world.clock.settle()
    world.ended(run, node("a", "HTTP", "Failed", ended=2), phase="Failed")
    await world.finish(run)

    for _ in range(3):
        world.engine.tell("MODIFIED", old)
        await world.clock.settle()

    assert world.run(run).superseded_by is None
    assert len(world.engine.called("get", run.workflow_name)) <= 1


# --- locks ---------------------------------------------------------------------------------------


def locked(world: World, **lock) -> None:
    """Let the action lock what it makes."""
    world.define(lock={"key": "thing/{input.name}", **lock})


async def test_a_second_run_on_the_same_thing_is_refused_with_the_first(world: World):
    """Two runs never work on one thing; the second caller is told which run does."""
    locked(world)
    run = await world.ask(name="x")

    with pytest.raises(LockHeld, match=run.id) as refused:
        await world.ask(name="x")
    other = await world.ask(name="y")

    assert refused.value.run_id == run.id
    world.ended(run)
    await world.finish(run)
    assert (await world.ask(name="x")).status is RunStatus.ACCEPTED
    assert world.run(other).workflow_uid


async def test_a_queued_run_goes_on_when_the_one_before_it_ends(world: World):
    """Who may wait waits, is told for whom, and goes on in turn."""
    locked(world, whenHeld="queue")
    first, second, third = [await world.ask(name="x", key=str(n)) for n in range(3)]
    await world.clock.advance(10)
    assert [call[0] for call in world.engine.called("create")] == [first.workflow_name]
    assert f"⏸ waiting for run {first.id}, which has thing/x" in world.told(second)

    world.ended(first)
    await world.finish(first)
    await world.clock.advance(6)
    assert len(world.engine.workflows) == 2
    world.ended(second)
    await world.finish(second)
    await world.clock.advance(6)

    names = [call[0] for call in world.engine.called("create")]
    assert names == [first.workflow_name, second.workflow_name, third.workflow_name]


async def test_a_queued_run_can_be_cancelled(world: World):
    """A run that waits for its turn ends at once, without a workflow."""
    locked(world, whenHeld="queue")
    await world.ask(name="x", key="1")
    queued = await world.ask(name="x", key="2")

    await world.cancel(queued, by=ANN)

    assert (await world.finish(queued)).status is RunStatus.CANCELLED
    assert len(world.engine.called("create")) == 1


async def test_a_queued_run_waits_on_after_a_restart(world: World):
    """A crash lets nobody through."""
    locked(world, whenHeld="queue")
    first = await world.ask(name="x", key="1")
    second = await world.ask(name="x", key="2")

    again = await world.restart()
    await again.clock.advance(10)
    assert len(again.engine.called("create")) == 1
    again.ended(first)
    await again.finish(first)
    await again.clock.advance(6)

    assert again.run(second).workflow_uid


@pytest.mark.parametrize("mode", ["attempt", "workflow"])
async def test_a_retry_does_not_go_past_the_lock(world: World, mode):
    """Trying again is refused while another run works on the same thing, in either way."""
    locked(world)
    run = await world.failed(name="x")
    other = await world.ask(name="x")

    with pytest.raises(LockHeld, match=other.id):
        await world.control.retry(wish(run), mode)

    assert world.run(run).superseded_by is None
    assert world.engine.called("retry") == []


async def test_a_retried_workflow_holds_its_lock(world: World):
    """While Argo runs the failed steps again, nobody else works on the thing."""
    locked(world)
    run = await world.failed(name="x")
    again = (await world.control.retry(wish(run), "workflow")).run
    await world.clock.settle()

    with pytest.raises(LockHeld, match=again.id):
        await world.ask(name="x")


async def test_a_retried_workflow_may_wait_for_its_lock(world: World):
    """Where runs queue, a retry queues too: Argo is asked when it is its turn."""
    locked(world, whenHeld="queue")
    run = await world.failed(name="x")
    other = await world.ask(name="x", key="other")
    await world.control.retry(wish(run), "workflow")
    await world.clock.advance(10)
    assert world.engine.called("retry") == []

    world.ended(other)
    await world.finish(other)
    await world.clock.advance(10)

    assert world.engine.called("retry") == [(run.workflow_name,)]
