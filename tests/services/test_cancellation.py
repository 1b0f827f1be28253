"""Cancelling: before, during and after, once and for certain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.domain.commands import Command, Verb
from bridge.domain.errors import (
    CatalogUnavailable,
    EngineUnavailable,
    EngineUnreached,
    RunUnknown,
)
from bridge.domain.runs import RunStatus
from bridge.services.control import Wish
from tests.domain.making import NOW, node
from tests.services.fakes import APPLIED, FakeCatalog
from tests.services.world import World, through_backstage

DOWN = EngineUnavailable("Argo does not answer")
BY = "user:default/ann"


async def cancel(world: World, run):
    """Ann cancels."""
    return await world.cancel(run, by=BY)


async def test_a_running_workflow_is_stopped_and_rolled_back(world: World):
    """Cancel means: stop, roll back, and end as cancelled by whoever asked."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", "HTTP"))
    await world.clock.settle()

    await cancel(world, run)
    world.ended(
        run,
        node("a", "HTTP", "Failed", ended=2, message="workflow shutdown"),
        node(".onExit[0].undo", "HTTP", "Succeeded", started=2, ended=3),
        phase="Failed",
    )
    ended = await world.finish(run)

    assert world.engine.called("stop") == [(run.workflow_name, False)]
    assert ended.status is RunStatus.CANCELLED
    assert ended.error.message == f"Cancelled by {BY}."
    assert world.told(run)[2:] == [
        f"cancel requested by {BY}",
        "the workflow is being stopped; it rolls back",
        "✗ a failed (2 s): workflow shutdown",
        "✓ undo (1 s)",
        "✗ thing:make was cancelled",
    ]


async def test_a_definition_may_ask_for_the_hard_way(world: World):
    """Where rolling back makes no sense, cancel terminates."""
    world.define(cancel="terminate")
    run = await world.ask()

    await cancel(world, run)

    assert world.engine.called("stop") == [(run.workflow_name, True)]
    assert world.told(run)[-1] == "the workflow is being terminated; nothing is rolled back"


async def test_cancelling_twice_changes_nothing(world: World):
    """A second cancel is the same cancel."""
    run = await world.ask()
    await cancel(world, run)
    lines = world.told(run)

    again = await world.cancel(run, by="user:default/bob")

    assert again.cancel_requested_by == BY
    assert world.told(run) == lines


async def test_a_run_that_has_ended_is_not_cancelled(world: World):
    """Too late is too late, and says so by showing the end."""
    run = await world.ask()
    world.ended(run)
    ended = await world.finish(run)

    assert await cancel(world, run) == ended
    assert world.engine.called("stop") == []


async def test_an_unknown_run_cannot_be_cancelled(world: World):
    """Nothing is cancelled by a guess."""
    with pytest.raises(RunUnknown):
        await world.control.cancel(Wish("unknown", through_backstage(BY)))


async def test_a_run_that_waits_for_argo_is_cancelled_without_a_workflow(world: World):
    """A run that never reached Argo never will, once it is cancelled."""
    world.engine.down = DOWN
    run = await world.ask()
    await cancel(world, run)
    world.engine.down = None

    ended = await world.finish(run)

    assert ended.status is RunStatus.CANCELLED
    assert ended.error.message == f"Cancelled by {BY} before a workflow was made."
    assert len(world.engine.called("create")) == 1
    assert world.engine.called("stop") == []
    assert len(world.follower) == 0


async def test_a_workflow_that_was_made_although_the_answer_was_lost_is_stopped(world: World):
    """A cancelled run whose workflow exists after all is stopped, not forgotten."""
    world.engine.end_watches(DOWN)
    world.engine.faults["listing"].extend([DOWN] * 3)
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    await cancel(world, run)

    await world.clock.until(lambda: world.engine.called("stop"))
    world.ended(run, phase="Failed")

    assert (await world.finish(run)).status is RunStatus.CANCELLED
    assert len(world.engine.called("create")) == 1


async def test_a_cancelled_submission_is_carried_on_after_a_restart(world: World):
    """Killed between creating and hearing of it, cancelled, restarted: it is stopped and ends."""
    world.engine.end_watches(DOWN)
    world.engine.faults["listing"].extend([DOWN] * 3)
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    await cancel(world, run)

    again = await world.restart()
    await again.clock.until(lambda: again.engine.called("stop"))
    again.ended(run, phase="Failed")

    assert (await again.finish(run)).status is RunStatus.CANCELLED
    assert len(again.engine.called("create")) == 1


async def test_a_cancel_waits_for_a_creation_that_may_be_under_way(world: World):
    """Killed while Argo was creating, cancelled, and the workflow appears late: it is stopped."""
    world.engine.end_watches(DOWN)
    world.engine.faults["listing"].extend([DOWN] * 3)
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    late = world.engine.workflows.pop(run.workflow_name)
    await cancel(world, run)

    again = await world.restart()
    await again.clock.advance(20)
    assert not again.run(run).finished
    again.engine.workflows[run.workflow_name] = late
    again.engine.tell("ADDED", late)
    await again.clock.until(lambda: again.engine.called("stop"))
    again.ended(run, phase="Failed")

    assert (await again.finish(run)).status is RunStatus.CANCELLED


async def test_a_cancel_of_what_was_never_made_ends_when_nothing_can_come_any_more(world: World):
    """After the longest time that a creation can take, there is nothing to wait for."""
    world.engine.faults["create"].append(DOWN)
    run = await world.ask()
    await cancel(world, run)

    again = await world.restart()
    ended = await again.finish(run, within=40)

    assert ended.status is RunStatus.CANCELLED
    assert len(again.engine.called("create")) == 1


async def test_a_cancel_that_was_committed_before_the_creation_prevents_it(world: World):
    """A cancel that is stored before Argo is asked leaves nothing to stop."""
    world.engine.down = EngineUnreached("refused")
    run = await world.ask()
    looked = world.store.run

    async def slow_look(run_id):
        found = await looked(run_id)
        world.store.run = looked
        world.engine.down = None
        await cancel(world, run)  # between the look and the creation
        return found

    world.store.run = slow_look
    ended = await world.finish(run)

    assert ended.status is RunStatus.CANCELLED
    assert world.engine.workflows == {}


async def test_a_retried_workflow_that_is_cancelled_is_stopped(world: World):
    """A cancel of a run that goes on with a workflow stops that workflow."""
    first = await world.failed()
    again = (
        await world.control.retry(Wish(first.id, through_backstage(BY, "thing:admin")), "workflow")
    ).run
    await world.clock.until(lambda: world.engine.called("retry"))
    await cancel(world, again)
    await world.clock.advance(2)

    assert world.engine.called("stop") == [(first.workflow_name, False)]


async def test_a_workflow_that_comes_after_its_cancel_is_stopped(world: World):
    """Whatever is made for a run that was cancelled without a workflow does no work for long."""
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    late = world.engine.workflows.pop(run.workflow_name)
    world.store._memory.runs[run.id] = replace(
        world.run(run), status=RunStatus.CANCELLED, finished_at=NOW, workflow_uid=None
    )
    world.follower.forget(run.id)

    world.engine.workflows[run.workflow_name] = late
    world.engine.tell("MODIFIED", late)
    await world.clock.settle()

    assert world.engine.called("stop") == [(run.workflow_name, False)]


async def test_somebody_elses_workflow_is_never_stopped(world: World):
    """A foreign workflow under the name of a cancelled run is left alone."""
    world.engine.down = DOWN
    run = await world.ask()
    await cancel(world, run)
    foreign = {"metadata": {"name": run.workflow_name, "uid": "u"}, "spec": {}, "status": {}}
    world.engine.workflows[run.workflow_name] = foreign
    world.engine.down = None

    ended = await world.finish(run)

    assert ended.status is RunStatus.CANCELLED
    assert world.engine.called("stop") == []


async def test_a_cancellation_waits_for_argo_and_for_the_store(world: World):
    """A cancel that was accepted is carried out, however long it takes."""
    run = await world.ask()
    world.engine.faults["stop"].extend([DOWN, DOWN])
    await cancel(world, run)
    world.store.faults.append("full")

    await world.clock.advance(30)

    assert world.engine.called("stop") == [(run.workflow_name, False)] * 3
    assert world.told(run)[-1].startswith("the workflow is being stopped")


async def test_a_stop_that_did_nothing_is_asked_for_again(world: World):
    """Argo may say yes and do nothing: the run is stopped when its workflow says so."""
    run = await world.ask()
    world.engine.deaf = True
    await cancel(world, run)
    await world.clock.advance(2)
    (command,) = await world.store.commands(run.id)
    assert command.outcome is None

    world.engine.deaf = False
    await world.clock.advance(10)

    (command,) = await world.store.commands(run.id)
    assert command.outcome == "stopped"


async def test_a_cancellation_is_carried_out_after_a_restart(world: World):
    """A cancel that was accepted outlives the process."""
    run = await world.ask()
    world.engine.faults["stop"].extend([DOWN] * 9)
    await cancel(world, run)
    world.engine.faults["stop"].clear()

    again = await world.restart()
    await again.clock.advance(1)

    assert again.engine.workflows[run.workflow_name]["spec"]["shutdown"] == "Stop"


async def test_a_workflow_that_succeeds_all_the_same_has_succeeded(world: World):
    """A cancel that came too late for Argo does not undo what was done."""
    run = await world.ask()
    await cancel(world, run)

    world.ended(run)

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_a_cancellation_ends_with_its_workflow(world: World):
    """A workflow that is gone needs no stopping; its run ends as it is found."""
    run = await world.ask()
    world.engine.remove(run.workflow_name)

    await cancel(world, run)

    assert (await world.finish(run)).status is RunStatus.LOST
    assert len(world.engine.called("stop")) <= 1


async def test_a_run_that_registers_is_past_cancelling(outside):
    """What Argo has done is done: the user is told that it is too late."""
    outside.catalog = FakeCatalog()
    outside.catalog.faults.extend([CatalogUnavailable("x")] * 5)
    world = World(outside)
    await world.start()
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: world.run(run).status is RunStatus.REGISTERING)

    for _ in range(2):
        answered = await world.cancel(run, by=BY)

    late = "too late to cancel: the workflow has succeeded"
    assert answered.status is RunStatus.REGISTERING
    assert [line for line in world.told(run) if "too late" in line] == [late]
    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_a_cancellation_under_way_ends_with_its_run(world: World):
    """A cancel that finds its run ended, or forgotten, stops nothing."""
    run = await world.ask()
    world.ended(run)
    await world.finish(run)
    late = Command(run.id, Verb.CANCEL, by=BY, at=NOW)
    await world.commander.carry_out(late)
    world.store._memory.runs.pop(run.id)

    await world.commander.carry_out(late)

    assert world.engine.called("stop") == []
