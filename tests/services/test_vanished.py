"""Workflows that are deleted, archived, made anew, or never started."""

from __future__ import annotations

from bridge.domain.errors import EngineUnavailable, WatchExpired
from bridge.domain.runs import RunStatus
from tests.domain.making import node
from tests.services.fakes import HANG, lines
from tests.services.world import World

CUT = EngineUnavailable("the connection was cut")


async def test_a_deleted_workflow_is_found_in_the_archive(world: World):
    """A workflow that ended and was cleaned away still ends its run as it ended."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    world.engine.show(
        run.workflow_name,
        node("a", phase="Succeeded", ended=2),
        phase="Succeeded",
        quietly=True,
    )
    archived = world.engine.workflows[run.workflow_name]
    world.engine.show(run.workflow_name, node("a"), quietly=True)
    world.engine.remove(run.workflow_name)
    world.engine.archived[run.workflow_name] = archived

    ended = await world.finish(run)

    assert ended.status is RunStatus.SUCCEEDED
    assert "✓ a (2 s)" in world.steps(run)


async def test_a_deleted_workflow_whose_last_frame_is_its_end_is_not_lost(world: World):
    """A TTL that is faster than the bridge loses nothing: the last frame tells the end."""
    run = await world.ask()
    world.engine.show(
        run.workflow_name, node("a", phase="Succeeded", ended=2), phase="Succeeded", quietly=True
    )
    world.engine.remove(run.workflow_name)

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_a_workflow_that_is_neither_live_nor_archived_is_lost(world: World):
    """A run whose workflow was deleted under it ends with a sentence and not never."""
    world.engine.pods["a"].append([lines("hello"), HANG])
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.advance(1)
    world.engine.faults["get"].extend([CUT, CUT])
    world.engine.remove(run.workflow_name)

    ended = await world.finish(run)

    assert ended.status is RunStatus.LOST
    assert ended.error.code == "workflow_lost"
    assert "a | hello" in world.told(run)
    assert world.engine.reading == 0


async def test_a_workflow_that_is_missing_in_the_listing_is_looked_up(world: World):
    """What was deleted while the bridge was away is noticed when it is back."""
    run = await world.ask()
    world.engine.remove(run.workflow_name, archive=True, quietly=True)
    world.engine.archived[run.workflow_name]["status"] = {"phase": "Failed", "message": "boom"}

    world = await world.restart()

    ended = await world.finish(run)
    assert (ended.status, ended.error.message) == (RunStatus.FAILED, "boom")


async def test_a_workflow_that_the_listing_does_not_know_yet_is_not_lost(world: World):
    """Argo's listing lags behind; what is there after all goes on."""
    run = await world.ask()
    hidden = world.engine.workflows.pop(run.workflow_name)
    world.engine.archived[run.workflow_name] = hidden

    world.engine.end_watches(WatchExpired("x"))
    await world.clock.advance(1)

    assert world.run(run).status is RunStatus.RUNNING


async def test_another_workflow_of_the_same_name_is_not_followed(world: World):
    """A workflow that somebody made anew under the name is not this run's."""
    run = await world.ask()
    mine = world.engine.workflows[run.workflow_name]
    other = {**mine, "metadata": {**mine["metadata"], "uid": "another"}}
    world.engine.workflows[run.workflow_name] = other

    world.ended(run, node("a", phase="Succeeded", ended=2))
    await world.clock.advance(1)
    assert not world.run(run).finished
    world.engine.tell("DELETED", mine)

    assert (await world.finish(run)).status is RunStatus.LOST
    assert "✓ a (2 s)" not in world.told(run)


async def test_a_workflow_that_never_gets_a_phase_is_deleted(world: World):
    """A workflow that Argo cannot read ends after ten minutes, with a sentence about it."""
    run = await world.ask()
    world.engine.show(run.workflow_name, phase=None, progress="0/0")
    await world.clock.advance(590)
    assert not world.run(run).finished
    world.engine.faults["delete"].append(CUT)

    ended = await world.finish(run)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, "workflow_stuck")
    assert world.engine.called("delete") == [(run.workflow_name,)] * 2
    assert world.engine.workflows == {}


async def test_a_bridge_that_slept_deletes_no_healthy_workflow(world: World):
    """A process that was paused looks again before it calls a workflow stuck."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", "HTTP"), quietly=True)
    await world.clock.settle()
    world.clock.time += 700

    await world.clock.advance(60)

    assert world.engine.called("delete") == []
    assert world.run(run).status is RunStatus.RUNNING


async def test_a_stuck_workflow_is_called_so_although_its_deleter_died(world: World):
    """Killed between the deletion and telling of it, the next process still gives the reason."""
    run = await world.ask()
    world.engine.show(run.workflow_name, phase=None)
    await world.clock.advance(590)
    world.store.faults.extend(["ok", *["full"] * 9])
    await world.clock.until(lambda: not world.engine.workflows)
    assert not world.run(run).finished

    world.store.faults.clear()
    again = await world.restart()
    ended = await again.finish(run)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, "workflow_stuck")


async def test_a_workflow_is_not_called_stuck_while_argo_is_away(world: World):
    """An outage longer than the patience never costs a healthy workflow."""
    run = await world.ask()
    world.engine.down = CUT
    world.engine.end_watches(CUT)
    await world.clock.advance(3_000)
    world.engine.show(run.workflow_name, node("a"), quietly=True)

    world.engine.down = None
    await world.clock.advance(60)

    assert world.engine.called("delete") == []
    assert world.steps(run) == ["● a running"]


async def test_a_workflow_that_is_seen_to_vanish_twice_is_lost_once(world: World):
    """Two reports of the same deletion are one end."""
    run = await world.ask()
    lost = []
    world.follower.on_lost = lost.append
    raw = world.engine.workflows[run.workflow_name]
    world.engine.remove(run.workflow_name)
    world.engine.tell("DELETED", raw)

    await world.clock.advance(5)

    assert lost == [run.id]


async def test_a_look_up_that_is_overtaken_by_the_end_says_nothing(world: World):
    """A workflow that is looked up while its end is being stored has ended and is not lost."""
    run = await world.ask()
    world.engine.faults["get"].append(CUT)
    raw = world.engine.workflows[run.workflow_name]
    world.engine.tell("DELETED", raw)
    await world.clock.settle()
    world.ended(run)
    del world.engine.workflows[run.workflow_name]

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED
