"""From an accepted run to one workflow, whatever happens in between."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.errors import (
    EngineConflict,
    EngineForbidden,
    EngineUnavailable,
    EngineUnreached,
    TemplateMissing,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.domain.runs import Run, RunStatus
from tests.domain.making import node
from tests.services.fakes import APPLIED
from tests.services.world import World

DOWN = EngineUnavailable("Argo does not answer.")
WAITS = "Argo does not answer; the run is kept and goes on when Argo answers"


def accepted(run) -> str:
    return f"accepted thing:make as {run.id}"


async def test_the_run_is_submitting_before_argo_is_asked(world: World):
    """A bridge that is killed right after the call knows that there may be a workflow."""
    world.outside.engine.down = DOWN

    run = await world.ask()

    assert world.run(run).status is RunStatus.SUBMITTING
    assert world.engine.called("create") == [(run.workflow_name,)]


async def test_a_workflow_is_made_once_although_the_answer_was_lost(world: World):
    """A cut connection never makes a second workflow: the first one is taken up."""
    world.engine.faults["create"].append((APPLIED, DOWN))
    world.engine.end_watches(EngineUnavailable("cut"))
    world.engine.faults["listing"].extend([DOWN, DOWN])

    run = await world.ask()
    await world.clock.advance(0.6)

    assert world.engine.called("create") == [(run.workflow_name,)]
    assert (
        world.run(run).workflow_uid == world.engine.workflows[run.workflow_name]["metadata"]["uid"]
    )
    assert world.told(run) == [accepted(run), WAITS, "Argo answers again"]
    world.ended(run)
    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_the_watch_may_show_the_workflow_before_a_lost_answer_is_asked_for_again(
    world: World,
):
    """A run that is seen running is not submitted again, even if its workflow is gone by then."""
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    world.ended(run, node("work", phase="Succeeded", ended=1))
    await world.clock.settle()
    world.engine.remove(run.workflow_name)

    await world.clock.advance(60)

    assert world.engine.called("create") == [(run.workflow_name,)]
    assert world.engine.workflows == {}
    assert (await world.finish(run)).status is RunStatus.SUCCEEDED
    assert world.told(run)[:3] == [accepted(run), WAITS, "✓ work (1 s)"]


async def test_a_retried_submission_does_not_tell_again_what_the_watch_told(world: World):
    """Taking up the workflow after a lost answer repeats no line."""
    world.engine.faults["create"].append((APPLIED, DOWN))
    run = await world.ask()
    world.engine.show(run.workflow_name, node("work"))

    await world.clock.advance(60)

    assert world.told(run) == [accepted(run), WAITS, "● work running"]


async def test_somebody_elses_workflow_of_the_same_name_is_not_taken(world: World):
    """A run never follows, and never touches, a workflow that it did not make."""
    world.engine.faults["create"].append(WorkflowExists("taken"))
    foreign = {"metadata": {"name": "x", "uid": "u", "labels": {"bridge/run": "other"}}}
    world.engine.archived["thing-make-01kagw9zq6x3v5t7y8r2m00001"] = foreign

    run = await world.ask()

    ended = await world.finish(run)
    assert ended.status is RunStatus.FAILED
    assert ended.error.code == "workflow_exists"
    assert ended.error.message.endswith(
        "belongs to somebody else; delete it or ask again under a new key."
    )
    assert world.engine.called("stop") == []


async def test_while_argo_is_away_the_run_waits_and_says_so_once(world: World):
    """The user reads one line about the outage, and the run goes on when Argo is back."""
    world.engine.down = DOWN
    run = await world.ask()
    await world.clock.advance(300)
    assert world.told(run) == [accepted(run), WAITS]

    world.engine.down = None
    await world.clock.until(lambda: world.engine.workflows)
    world.ended(run)

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED
    assert world.told(run)[:3] == [accepted(run), WAITS, "Argo answers again"]


async def test_another_reason_to_wait_is_another_line(world: World):
    """The user sees why the run waits now, not only why it waited first."""
    world.engine.faults["create"].extend(
        [DOWN, EngineForbidden("The token is refused."), EngineForbidden("The token is refused.")]
    )

    run = await world.ask()
    await world.clock.advance(30)

    assert [line.partition(";")[0] for line in world.told(run)[1:]] == [
        "Argo does not answer",
        "The token is refused",
        "Argo answers again",
    ]


async def test_argo_is_asked_again_when_it_says_and_ever_less_often(world: World):
    """A struggling Argo is not made worse: waits grow, and its own wish is honoured."""
    world.engine.faults["create"].append(EngineUnavailable("busy", retry_after=7))
    run = await world.ask()

    await world.clock.advance(6.9)
    assert len(world.engine.called("create")) == 1
    await world.clock.advance(0.2)
    assert len(world.engine.called("create")) == 2
    assert world.run(run).workflow_uid


@pytest.mark.parametrize(
    ("error", "code"),
    [(WorkflowRejected("spec is bad"), "workflow_rejected"), (WorkflowGone("x"), "workflow_gone")],
)
async def test_what_argo_will_never_take_fails_at_once(world: World, error, code):
    """A run that cannot succeed does not keep its user waiting."""
    world.engine.faults["create"].append(error)

    ended = await world.finish(await world.ask(), within=0.1)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, code)
    assert len(world.follower) == 0


async def test_a_missing_template_says_how_to_install_it(world: World):
    """The user can tell the platform team the very command that is missing."""
    world.engine.faults["create"].append(TemplateMissing("not found"))

    ended = await world.finish(await world.ask())

    assert ended.error.code == "template_missing"
    assert ended.error.message == (
        "The WorkflowTemplate make-thing is not installed in namespace argo; ask the platform team "
        "to install it: kubectl apply -n argo -f backstage-actions/actions/thing-make/workflow.yaml"
    )


@pytest.mark.parametrize("conflict", [EngineConflict("modified"), WorkflowExists("taken")])
async def test_a_conflict_is_tried_again(world: World, conflict):
    """A quota conflict, or a name that is free again in the next moment, is no failure."""
    world.engine.faults["create"].append(conflict)

    run = await world.ask()
    await world.clock.advance(5)

    assert world.run(run).workflow_uid
    assert world.told(run)[-1] == "Argo answers again"


async def test_a_store_that_is_away_delays_a_submission_and_loses_nothing(world: World):
    """Neither a failed commit nor an outage of both sides ends the attempt."""
    world.store.faults.extend(["full"] * 2)
    run = await world.ask()
    await world.clock.advance(0.6)
    world.store.away, world.engine.down = True, DOWN
    await world.clock.advance(60)
    assert world.told(run) == [accepted(run)]
    world.store.away = False
    await world.clock.advance(60)
    world.engine.down = None

    await world.clock.until(lambda: world.run(run).workflow_uid)

    assert world.told(run) == [accepted(run), WAITS, "Argo answers again"]
    world.ended(run)
    await world.finish(run)


async def test_a_reason_that_could_not_be_stored_is_said_the_next_time(world: World):
    """A store that fails just when Argo does not swallows the reason for waiting."""
    world.engine.down = DOWN
    run = await world.ask()
    world.engine.down = EngineForbidden("The token is refused.")
    world.store.faults.append("full")

    await world.clock.advance(0.6)
    assert world.told(run) == [accepted(run), WAITS]
    await world.clock.advance(60)

    assert world.told(run)[2].startswith("The token is refused;")
    assert len(world.told(run)) == 3


async def test_a_bounded_number_is_submitted_at_a_time(outside):
    """A thousand requests do not take all of Argo's connections at once."""
    world = World(outside, at_once=3)
    outside.engine.create = _Hanging()
    for number in range(9):
        await world.ask(key=f"key-{number}")

    assert outside.engine.create.asked == 3


class _Hanging:
    asked = 0

    async def __call__(self, workflow):
        del workflow
        self.asked += 1
        await asyncio.get_running_loop().create_future()


async def test_a_run_that_was_only_accepted_is_submitted_after_a_restart(outside):
    """Accepted is a promise: the next process keeps it."""
    dead = World(outside)
    outside.engine.down = DOWN
    run = await dead.ask()
    outside.engine.down = None

    world = await dead.restart()

    assert len(outside.engine.workflows) == 1
    world.ended(run)
    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_a_stored_definition_is_used_however_the_files_change(world: World):
    """A run that was accepted under a definition is submitted under it."""
    world.engine.down = DOWN
    run = await world.ask()
    world.actions.catalogue = type(world.actions.catalogue)(files={})

    world.engine.down = None
    await world.clock.advance(30)

    assert world.engine.workflows[run.workflow_name]["spec"]["workflowTemplateRef"] == {
        "name": "make-thing"
    }


async def killed_while_creating(world: World, *, applied: bool) -> tuple[World, Run]:
    """A process that died between asking Argo for a workflow and hearing of it."""
    world.engine.end_watches(DOWN)
    world.engine.faults["listing"].extend([DOWN] * 99)
    world.engine.faults["create"].append((APPLIED, DOWN) if applied else DOWN)
    run = await world.ask()
    world.engine.faults["listing"].clear()
    return world, run


async def test_a_creation_that_was_interrupted_is_looked_for_before_it_is_repeated(world: World):
    """Killed after Argo took the workflow, and it ended and left before the restart: no second."""
    world, run = await killed_while_creating(world, applied=True)
    world.engine.show(run.workflow_name, phase="Succeeded", quietly=True)
    world.engine.remove(run.workflow_name, archive=True, quietly=True)

    again = await world.restart()
    ended = await again.finish(run)

    assert ended.status is RunStatus.SUCCEEDED
    assert len(again.engine.called("create")) == 1


async def test_a_creation_that_never_arrived_is_repeated_after_a_restart(world: World):
    """Killed before Argo took it, restarted soon: the workflow is made."""
    world, run = await killed_while_creating(world, applied=False)

    again = await world.restart()
    await again.clock.advance(5)

    assert len(again.engine.called("create")) == 2
    assert again.run(run).workflow_uid


async def test_a_creation_is_not_repeated_once_argo_may_have_removed_its_result(world: World):
    """After longer than Argo keeps a workflow nobody knows: the run says so, and makes none."""
    world, run = await killed_while_creating(world, applied=False)
    await world.tasks.aclose()
    world.clock.time += 3601

    again = await world.restart()
    ended = await again.finish(run)

    assert ended.status is RunStatus.LOST
    assert "look for its effects" in ended.error.message
    assert len(again.engine.called("create")) == 1


async def test_a_long_outage_of_argo_is_no_doubt(world: World):
    """A run that waited hours for Argo is made when it answers: no try of it ever arrived."""
    world.engine.down = EngineUnreached("Argo could not be asked: refused")
    run = await world.ask()
    await world.clock.advance(3 * 3600)
    world.engine.down = None

    await world.clock.advance(60)

    assert world.run(run).workflow_uid


async def test_a_restart_in_a_long_outage_is_no_doubt_either(world: World):
    """The time of the last try counts, not that of the first."""
    world.engine.down = EngineUnreached("Argo could not be asked: refused")
    run = await world.ask()
    await world.clock.advance(3 * 3600)

    again = await world.restart()
    again.engine.down = None
    await again.clock.advance(60)

    assert again.run(run).workflow_uid


async def test_many_interrupted_creations_cost_one_list(world: World):
    """After a crash a list tells of all that were made; Argo is not asked one by one."""
    world.engine.end_watches(DOWN)
    world.engine.faults["listing"].extend([DOWN] * 99)
    world.engine.faults["create"].extend([(APPLIED, DOWN)] * 20)
    runs = [await world.ask(name=f"n{number}") for number in range(20)]
    world.engine.faults["listing"].clear()
    before = len(world.engine.calls)

    again = await world.restart()
    await again.clock.advance(1)

    calls = [call[0] for call in again.engine.calls[before:]]
    assert calls.count("get") == 0
    assert calls.count("create") == 0
    assert all(again.run(run).workflow_uid for run in runs)
