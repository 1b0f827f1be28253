"""A store that fails while a workflow is followed: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.errors import EngineUnavailable
from bridge.domain.runs import RunStatus
from tests.domain.making import node
from tests.services.fakes import HANG, lines
from tests.services.world import World

CUT = EngineUnavailable("the connection was cut")


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_failed_commit_is_made_good(world: World, failing):
    """A full disk delays lines: afterwards each is there once, in order."""
    world.engine.pods["a"].append([lines("one", "two"), HANG])
    run = await world.ask()
    world.store.faults.extend(["full"] * failing)

    world.engine.show(run.workflow_name, node("a"), progress="0/2")
    await world.clock.settle()
    world.engine.show(run.workflow_name, node("a"), node("b", "HTTP", started=1), progress="1/2")
    await world.clock.advance(60)

    assert world.steps(run) == ["● a running", "● b running", "a | one", "a | two"]
    assert world.run(run).progress == "1/2"


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_commit_whose_answer_is_lost_is_not_made_twice(world: World, lost):
    """A store that has written and cannot say so leads to no line twice."""
    world.engine.pods["a"].append([lines("one"), lines("two", second=1), HANG])
    run = await world.ask()
    world.store.faults.extend(["lost"] * lost)

    world.engine.show(run.workflow_name, node("a"), progress="0/2")
    await world.clock.advance(60)

    assert world.steps(run) == ["● a running", "a | one", "a | two"]


async def test_lines_that_could_not_be_stored_are_told_when_they_can(world: World):
    """Pod lines cannot be asked for again one by one, so they are kept until they are stored."""
    world.engine.pods["a"].append([lines("one"), lines("two", second=1), HANG])
    run = await world.ask()
    world.store.faults.extend(["ok", "full", "full"])  # the step, its lines, its lines again

    world.engine.show(run.workflow_name, node("a"))
    await world.clock.advance(60)

    assert world.steps(run) == ["● a running", "a | one", "a | two"]


async def test_the_last_lines_are_stored_before_the_end_is(world: World):
    """A run does not end while something that was said waits to be stored."""
    world.engine.pods["a"].append([lines("boom")])
    run = await world.ask()
    world.store.faults.extend(["ok", "full", "full"])
    world.ended(run, node("a", phase="Failed", ended=3, message="no"), phase="Failed")

    await world.finish(run)

    assert world.told(run)[1:] == [
        "✗ a failed (3 s): no",
        "a | boom",
        "✗ thing:make failed: a failed: boom (no)",
    ]


async def test_an_end_that_could_not_be_stored_still_comes_last(world: World):
    """The last lines of a run are stored before its end is."""
    world.engine.pods["a"].append([lines("boom")])
    run = await world.ask()
    world.store.away = True
    world.ended(run, node("a", phase="Failed", ended=3, message="main: Error"), phase="Failed")
    await world.clock.advance(100)
    assert not world.run(run).finished
    world.store.away = False

    ended = await world.finish(run)

    assert ended.error.message == "a failed: boom (Error)"
    assert world.told(run)[1:] == [
        "✗ a failed (3 s): main: Error",
        "a | boom",
        "✗ thing:make failed: a failed: boom (Error)",
    ]


async def test_a_workflow_that_vanished_while_the_store_was_away_is_lost(world: World):
    """Two faults at once still end the run."""
    run = await world.ask()
    world.store.away = True
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    world.engine.remove(run.workflow_name)
    await world.clock.advance(100)
    world.store.away = False

    assert (await world.finish(run)).status is RunStatus.LOST


async def test_a_store_and_an_argo_that_are_both_away_are_waited_for(world: World):
    """Catching up needs both, and waits for both."""
    run = await world.ask()
    world.store.faults.append("full")
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    world.engine.faults["get"].extend([CUT] * 3)

    await world.clock.advance(60)

    assert world.steps(run) == ["● a running"]


async def test_a_run_that_the_store_has_lost_is_let_go(world: World):
    """A run that is in no store any more is not followed, nor waited for, for ever."""
    run = await world.ask()
    del world.store._memory.runs[run.id]

    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    waiting = asyncio.ensure_future(world.follower.flush(run.id))
    await world.clock.advance(5)

    assert len(world.follower) == 0
    assert waiting.done()


async def test_a_run_that_is_let_go_while_the_store_is_away_is_not_caught_up(world: World):
    """What nobody follows any more is not looked for."""
    run = await world.ask()
    world.store.faults.append("full")
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    world.follower.forget(run.id)

    await world.clock.advance(60)

    assert world.engine.called("get") == []


async def test_a_store_that_is_closed_while_it_writes_disturbs_nobody(world: World):
    """A process that ends in the middle of a commit ends quietly."""
    run = await world.ask()
    pending = asyncio.get_running_loop().create_future()
    world.store.append = lambda *_, **__: pending
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()

    pending.cancel()
    await world.clock.advance(5)

    assert world.engine.called("get") == []
