"""What the end of a workflow means for its run."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from bridge.domain.errors import EngineUnavailable
from bridge.domain.runs import RunStatus
from tests.domain.making import document, node
from tests.services.world import World


async def test_a_workflow_that_somebody_stopped_in_argo_has_failed(world: World):
    """Only who asked the bridge to cancel has cancelled; anything else is a failure."""
    run = await world.ask()

    world.ended(run, phase="Failed", spec={"shutdown": "Stop"}, message="Stopped with strategy")
    ended = await world.finish(run)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, "workflow_failed")
    assert ended.error.message == "Stopped with strategy"


async def test_an_error_of_argo_itself_is_a_failure(world: World):
    """A workflow that ends as Error fails its run like one that ends as Failed."""
    run = await world.ask()

    world.ended(run, phase="Error", message="no such account")

    assert (await world.finish(run)).error.message == "no such account"


async def test_outputs_are_told_before_the_end(world: World):
    """The outputs of a workflow are an event of their own, and part of the last."""
    run = await world.ask()

    world.ended(run, outputs={"parameters": [{"name": "thing", "value": "t"}]})
    await world.finish(run)

    output, done = (e.draft for e in world.events(run) if e.draft.type in {"output", "done"})
    assert output.data == {"outputs": {"thing": "t", "ref": "resource:default/a-thing"}}
    assert done.data["outputs"] == output.data["outputs"]
    assert done.data["entityRef"] == "resource:default/a-thing"


async def test_an_action_without_an_entity_ends_when_its_workflow_does(world: World):
    """Not every action leaves something in the catalog."""
    world.define(catalog=None, outputs={"url": {"from": "workflow.url"}})
    run = await world.ask()
    world.ended(run)

    ended = await world.finish(run, within=10)

    uid = world.engine.workflows[run.workflow_name]["metadata"]["uid"]
    assert ended.outputs == {"url": f"https://argo.example/{run.workflow_name}/{uid}"}
    assert ended.entity_ref is None


@pytest.mark.parametrize(
    "spec",
    [
        {"catalog": {"entity": {"kind": "Resource", "metadata": {"name": "no {input.name}"}}}},
        {"outputs": {"o": {"from": "workflow.outputs.thing", "as": "entityRef"}}},
    ],
)
async def test_a_result_that_cannot_be_shown_ends_the_run_all_the_same(world: World, spec):
    """A mistake in a definition never leaves a run without an end."""
    world.define(**spec)
    run = await world.ask()

    world.ended(run, outputs={"parameters": [{"name": "thing", "value": "a b"}]})
    ended = await world.finish(run)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, "definition_invalid")
    assert ended.error.message.startswith("The work is done, but its result cannot be shown: ")


async def test_an_entity_may_hold_what_the_workflow_gave(world: World):
    """The workflow's own outputs reach the document, by whatever name the action gives them on."""
    entity = copy.deepcopy(document()["spec"]["catalog"]["entity"])
    entity["metadata"]["annotations"] = {"example/uid": "{workflow.outputs.thing}"}
    world.define(catalog={"entity": entity}, outputs={"other": {"from": "workflow.outputs.thing"}})
    run = await world.ask()

    world.ended(run, outputs={"parameters": [{"name": "thing", "value": "u-1"}]})
    ended = await world.finish(run)

    shown = await world.store.entity(kind="resource", name="a-thing")
    assert ended.outputs == {"other": "u-1"}
    assert shown.document["metadata"]["annotations"]["example/uid"] == "u-1"


async def test_an_end_waits_for_a_store_that_is_away(world: World):
    """The end of a workflow is never lost, however long the store is away."""
    run = await world.ask()
    world.store.faults.extend(["full"] * 4)
    world.ended(run, node("a", "HTTP", "Failed", ended=2, message="no"), phase="Failed")

    ended = await world.finish(run)

    assert ended.error.message == "a failed: no"
    assert world.told(run)[-2:] == [
        "✗ a failed (2 s): no",
        "✗ thing:make failed: a failed: no",
    ]


async def test_an_end_whose_answer_is_lost_is_written_once(world: World):
    """A store that has written the outputs, and cannot say so, gets them once."""
    run = await world.ask()
    world.store.faults.extend(["ok", "lost"])  # the last snapshot, the outputs
    world.ended(run)

    await world.finish(run)

    kinds = [event.draft.type for event in world.events(run)]
    assert kinds.count("output") == 1


async def test_a_run_that_has_ended_meanwhile_stays_as_it_ended(world: World):
    """Two reasons to end are one end: the first."""
    run = await world.ask()
    await world.endings.lost(run.id)
    before = world.run(run)
    assert before.status is RunStatus.LOST

    await world.endings.lost(run.id)

    assert world.run(run) == before
    world.check(run)


async def test_an_end_that_needs_argo_waits_for_it(world: World):
    """A stuck workflow is really deleted before its run says so."""
    run = await world.ask()
    world.engine.faults["delete"].append(EngineUnavailable("x"))

    world.spawn(world.endings.stuck(run.id))
    await world.clock.settle()
    assert not world.run(run).finished

    assert (await world.finish(run)).error.code == "workflow_stuck"


async def test_a_run_that_was_killed_while_it_registered_is_not_told_its_outputs_twice(
    world: World,
):
    """An end that is seen again by the next process goes on where the first stopped."""
    run = await world.ask()
    world.ended(run)
    await world.finish(run)
    ended = world.run(run)
    world.store._memory.runs[run.id] = replace(
        ended, status=RunStatus.REGISTERING, finished_at=None
    )
    world.store._memory.runs[run.id] = replace(
        world.store._memory.runs[run.id], last_seq=ended.last_seq - 1
    )
    del world.store._memory.events[run.id][-1]

    again = await world.restart()
    await again.finish(run)

    kinds = [event.draft.type for event in again.events(run)]
    assert kinds.count("output") == 1
