"""The whole way of a run, as its reader sees it."""

from __future__ import annotations

from bridge.domain.runs import RunError, RunStatus
from tests.domain.making import node
from tests.services.fakes import HANG, lines
from tests.services.world import World

SERVED = (
    "no Backstage catalog is configured; /catalog/resource/a-thing.yaml serves "
    "resource:default/a-thing"
)
DONE = {"parameters": [{"name": "thing", "value": "t-1"}]}


async def test_a_run_goes_from_request_to_result(world: World):
    """A developer sees each step, the lines of its pod and the end, and gets the outputs."""
    world.engine.pods["work"].append([lines("hello", "world"), HANG])
    run = await world.ask()
    world.engine.show(run.workflow_name, node("work"), progress="0/1")
    await world.clock.advance(1)
    done = node("work", phase="Succeeded", ended=3)
    world.ended(run, done, progress="1/1", outputs=DONE)

    ended = await world.finish(run)

    assert world.told(run) == [
        f"accepted thing:make as {run.id}",
        "● work running",
        "work | hello",
        "work | world",
        "✓ work (3 s)",
        SERVED,
        "✓ thing:make succeeded (2.5 s)",
    ]
    assert ended.status is RunStatus.SUCCEEDED
    assert ended.outputs == {"thing": "t-1", "ref": "resource:default/a-thing"}
    assert ended.entity_ref == "resource:default/a-thing"
    assert ended.progress == "1/1"
    assert len(world.follower) == 0


async def test_the_states_of_a_run_are_told_in_order(world: World):
    """A page can show where a run stands: every change is an event, a gate is an approval."""
    run = await world.ask(environment="production")
    gate = node("approve", "Suspend")
    world.engine.show(run.workflow_name, gate, progress="0/1")
    await world.clock.advance(1)
    assert world.run(run).status is RunStatus.WAITING
    world.engine.show(run.workflow_name, {**gate, "phase": "Succeeded"}, progress="0/1")
    await world.clock.advance(1)
    assert world.run(run).status is RunStatus.RUNNING
    world.ended(run, progress="1/1")

    await world.finish(run)

    assert [event.draft.type for event in world.events(run)] == [
        "log",
        "status",  # submitting
        "status",  # running
        "approval",
        "status",  # waiting
        "step",
        "status",  # running
        "status",  # progress
        "output",
        "log",
        "done",
    ]
    statuses = [e.draft.data["status"] for e in world.events(run) if e.draft.type == "status"]
    assert statuses == ["submitting", "running", "waiting", "running", "running"]
    assert "⏸ waiting for approval by group:default/admins" in world.told(run)


async def test_a_failed_step_fails_the_run_with_its_last_words(world: World):
    """The task fails with one sentence: the step, what it said last, and what Argo says."""
    world.engine.pods["work"].extend([[HANG], [lines("checking", "quota exceeded")]])
    run = await world.ask()
    world.engine.show(run.workflow_name, node("work"))
    await world.clock.advance(1)
    failed = node("work", phase="Failed", ended=3, message="main: Error (exit code 1)")
    world.ended(run, failed, phase="Failed")

    ended = await world.finish(run)

    sentence = "work failed: quota exceeded (Error (exit code 1))"
    assert ended.status is RunStatus.FAILED
    assert ended.error == RunError("workflow_failed", sentence)
    assert world.told(run)[-1] == f"✗ thing:make failed: {sentence}"
    assert "work | quota exceeded" in world.told(run)


async def test_a_run_whose_bridge_is_killed_again_and_again_ends_as_it_would_have(outside):
    """However often the bridge is restarted, no line is missing and none comes twice."""
    pod = outside.engine.pods["work"]
    pod.append([lines("one"), HANG])
    world = World(outside)
    await world.start()
    run = await world.ask()
    done = node("work", phase="Succeeded", ended=2)
    late = node("late", "HTTP", "Failed", started=3, ended=4, message="no answer")
    moves = [
        lambda: world.engine.show(run.workflow_name, node("work")),
        lambda: pod.append([lines("one", "two", "three"), HANG]),
        lambda: pod.append([lines("one", "two", "three", "four"), HANG]),
        lambda: world.engine.show(run.workflow_name, done, {**late, "phase": "Running"}),
        lambda: world.ended(run, done, late, phase="Failed"),
    ]

    for move in moves:
        move()
        world = await world.restart()
        await world.clock.advance(0.01)
        world = await world.restart()
    await world.finish(run)

    assert world.told(run) == [
        f"accepted thing:make as {run.id}",
        "● work running",
        "work | one",
        "work | two",
        "work | three",
        "work | four",
        "✓ work (2 s)",
        "● late running",
        "✗ late failed (1 s): no answer",
        "✗ thing:make failed: late failed: no answer",
    ]
    assert len(world.engine.called("create")) == 1
