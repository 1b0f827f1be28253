"""The lines of pods: each once, the user's only, a few streams at a time."""

from __future__ import annotations

import pytest

from bridge.domain.errors import EngineUnavailable
from bridge.domain.logs import PodLine
from tests.domain.making import node
from tests.services.fakes import HANG, STUCK, lines
from tests.services.world import Outside, World

CUT = EngineUnavailable("the stream was cut")
EXECUTOR = 'time=2026-11-21T22:51:40.878Z level=INFO msg="waiting" argo=true'


def spoken(world: World, run) -> list[str]:
    """The lines of pods."""
    return [line for line in world.told(run) if " | " in line]


async def running(world: World, *nodes):
    """A run whose workflow shows these nodes."""
    run = await world.ask()
    world.engine.show(run.workflow_name, *nodes)
    await world.clock.advance(0.1)
    return run


async def test_lines_come_while_the_step_runs_without_the_executors_own(world: World):
    """A developer reads what the step says, at once, and nothing of Argo's machinery."""
    texts = (EXECUTOR, "hello", "\x1b[32mgreen\x1b[0m", "", "Error: exit status 1")
    world.engine.pods["a"].append([lines(*texts), lines(EXECUTOR, second=1), HANG])

    run = await running(world, node("a"))

    assert spoken(world, run) == ["a | hello", "a | green"]
    (event,) = [e for e in world.events(run) if e.draft.message == "a | hello"]
    assert event.draft.data == {"source": "pod", "step": "a"}


@pytest.mark.parametrize("end", [CUT, None])
async def test_a_cut_stream_is_opened_again_and_repeats_nothing(world: World, end):
    """A reconnection replays the whole log, and the reader sees only what is new."""
    first = [lines("one", "two"), *([end] if end else [])]
    again = [lines("one", "two", "three"), lines("four", second=1), HANG]
    world.engine.pods["a"].extend([first, again])
    run = await running(world, node("a"))

    await world.clock.advance(1)

    assert spoken(world, run) == ["a | one", "a | two", "a | three", "a | four"]
    assert world.engine.called("logs") == [("a", True, None)] * 2


async def test_a_log_that_cannot_be_read_is_tried_ever_less_often(world: World):
    """A pod that gives no log does not cost a call each moment."""
    world.engine.pods["a"].append([CUT])
    await running(world, node("a"))

    await world.clock.advance(60)

    assert 5 < len(world.engine.called("logs")) < 20


async def test_the_last_lines_come_after_the_end(world: World):
    """Argo sends lines once a second, so a step is heard a little longer than it runs."""
    world.engine.pods["a"].extend([[lines("one"), HANG], [lines("one", "last")]])
    run = await running(world, node("a"))
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=1), node("b", "HTTP"))

    await world.clock.advance(1.4)
    assert spoken(world, run) == ["a | one"]
    await world.clock.advance(0.2)

    assert spoken(world, run) == ["a | one", "a | last"]
    assert world.engine.called("logs")[-1] == ("a", False, 2_000)
    assert world.engine.reading == 0


async def test_a_failed_step_that_was_never_seen_running_still_speaks(world: World):
    """Steps jump from waiting to failed; their last lines are read all the same."""
    world.engine.pods["a"].append([lines("why it failed")])

    run = await running(world, node("a", phase="Failed", ended=2))

    assert spoken(world, run) == ["a | why it failed"]
    assert world.engine.called("logs") == [("a", False, 2000)]


async def test_a_step_that_went_well_unseen_is_read_once(world: World):
    """Steps jump from waiting to done: what they said is shown; what has no pod is not asked."""
    world.engine.pods["a"].append([lines("what it did")])

    run = await running(
        world,
        node("a", phase="Succeeded", ended=2),
        node("b", "Suspend"),
        node("c", phase="Pending"),
    )

    assert spoken(world, run) == ["a | what it did"]
    assert world.engine.called("logs") == [("a", False, 2000)]


async def test_lines_that_came_while_nobody_was_there_are_read_after_a_restart(world: World):
    """Killed between two lines of a step that goes well meanwhile: the rest is told, once."""
    world.engine.pods["a"].extend([[lines("1", "2"), HANG], [lines("1", "2", "3", "4")]])
    run = await running(world, node("a"))
    assert spoken(world, run) == ["a | 1", "a | 2"]

    await world.tasks.aclose()
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=2), quietly=True)
    again = await world.restart()
    await again.clock.advance(5)

    assert spoken(again, run) == ["a | 1", "a | 2", "a | 3", "a | 4"]


async def test_lines_are_read_although_the_first_look_shows_the_past(world: World):
    """After a take-over an old picture comes first: the step it does not show yet is read too."""
    run = await running(world, node("gate", "Suspend"))
    old = world.engine.workflows[run.workflow_name]
    world.engine.pods["a"].extend([[CUT], [lines("1")]])
    world.engine.faults["silent_templates"].extend([CUT] * 9)
    gate = node("gate", "Suspend", "Succeeded", ended=1)
    now = (gate, node("a", started=1, phase="Succeeded", ended=2))
    world.engine.show(run.workflow_name, *now)
    await world.clock.settle()
    assert world.steps(run)[-1] == "✓ a (1 s)"
    new = world.engine.workflows[run.workflow_name]

    await world.tasks.aclose()
    world.engine.workflows[run.workflow_name] = old
    again = await world.restart()
    again.engine.workflows[run.workflow_name] = new
    again.engine.tell("MODIFIED", new)
    await again.clock.advance(3)

    assert spoken(again, run) == ["a | 1"]
    statuses = [e.draft.data["status"] for e in again.events(run) if e.draft.type == "status"]
    assert statuses.count("waiting") == 1


async def test_a_pod_that_was_read_to_its_end_is_not_read_again(world: World):
    """A restart asks Argo only for what may be missing."""
    world.engine.pods["a"].append([lines("1")])
    run = await running(world, node("a", phase="Succeeded", ended=2))
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=2), node("b", "HTTP"))
    await world.clock.advance(1)
    asked = len(world.engine.called("logs"))

    again = await world.restart()
    await again.clock.advance(5)

    assert len(again.engine.called("logs")) == asked
    assert spoken(again, run) == ["a | 1"]


async def test_the_last_lines_are_asked_for_until_argo_answers(world: World):
    """An outage at the end of a step costs no line."""
    world.engine.pods["a"].extend([[CUT], [CUT], [lines("1", "2")]])

    run = await running(world, node("a", phase="Succeeded", ended=2))
    await world.clock.advance(10)

    assert spoken(world, run) == ["a | 1", "a | 2"]


async def test_tries_speak_for_their_step(world: World):
    """Each try is read, and its lines bear the name of the step."""
    retried = {"nodeFlag": {"retried": True}, "templateName": "x"}
    tries = [node("x(0)", phase="Failed", ended=2, **retried), node("x(1)", started=3, **retried)]
    world.engine.pods["x(0)"].append([lines("first")])
    world.engine.pods["x(1)"].append([lines("second"), HANG])

    run = await running(world, node("x", "Retry"), *tries)

    assert sorted(spoken(world, run)) == ["x | first", "x | second"]


async def test_only_a_few_logs_are_read_at_a_time(outside: Outside):
    """Two hundred and fifty streams would stop Argo; the bridge keeps to its few."""
    world = World(outside, at_once=2)
    await world.start()
    nodes = [node(f"s{n}") for n in range(6)]
    run = await running(world, *nodes)
    assert world.engine.reading == 2

    done = [{**raw, "phase": "Succeeded", "finishedAt": "2026-11-22T10:00:09Z"} for raw in nodes]
    failed = {**done[5], "phase": "Failed"}
    world.engine.show(run.workflow_name, *done[:5], failed)
    await world.clock.advance(30)

    assert world.engine.most_reading == 2
    assert {call[0] for call in world.engine.called("logs")} == {f"s{n}" for n in range(6)}


async def test_steps_without_lines_of_their_own_are_not_read(world: World):
    """A step that only makes an object has no log of a user; Argo is asked for that once."""
    world.engine.silent = frozenset({"quiet"})
    world.engine.pods["loud"].append([lines("hello"), HANG])

    run = await running(world, node("quiet"), node("loud"))
    await world.clock.advance(59)
    world.engine.show(run.workflow_name, node("quiet"), node("loud"), node("late"))
    await world.clock.advance(0.1)

    assert spoken(world, run) == ["loud | hello"]
    assert world.engine.called("silent_templates") == [("make-thing",)]
    world.engine.faults["silent_templates"].append(CUT)
    await world.clock.advance(5)
    world.engine.show(run.workflow_name, node("other"))
    world.engine.show(run.workflow_name, node("quiet", started=99))
    await world.clock.advance(0.1)
    assert {call[0] for call in world.engine.called("logs")} == {"loud", "late", "other"}


async def test_a_flood_of_lines_is_cut_once(world: World):
    """A step that prints without end fills neither the store nor the page."""
    flood = [
        tuple(PodLine(f"2026-11-22T10:{n:02}:00.{i:09}Z", f"{n}.{i}") for i in range(300))
        for n in range(9)
    ]
    world.engine.pods["a"].append([*flood, HANG])

    run = await running(world, node("a"))

    told = spoken(world, run)
    assert len(told) == 2_001
    assert told[-1] == "a | … more lines are in Argo only"
    assert told[-2] == "a | 6.199"


async def test_a_flood_that_ends_at_the_limit_is_whole(world: World):
    """Exactly as many lines as are shown are shown without a word about more."""
    batch = tuple(PodLine(f"2026-11-22T10:00:00.{i:09}Z", str(i)) for i in range(2_000))
    more = (PodLine("2026-11-22T10:00:01.000000000Z", "more"),)
    world.engine.pods["a"].extend([[batch], [(*batch, *more), HANG]])

    run = await running(world, node("a"))
    assert spoken(world, run)[-1] == "a | 1999"
    await world.clock.advance(5)

    assert spoken(world, run)[-1] == "a | … more lines are in Argo only"
    assert len(spoken(world, run)) == 2_001


async def test_lines_without_a_time_are_told(world: World):
    """A log without timestamps is shown too."""
    world.engine.pods["a"].append([(PodLine("", "no time"),), HANG])

    run = await running(world, node("a"))

    assert spoken(world, run) == ["a | no time"]


async def test_a_log_that_does_not_end_does_not_keep_the_run_open(world: World):
    """The end of a run waits a moment for its pods, and then no longer."""
    world.engine.pods["a"].append([lines("one"), HANG])
    run = await running(world, node("a"))

    last = await world.pods.drain(run.id, within=0)

    assert list(last.values()) == ["one"]
    await world.clock.settle()
    assert world.engine.reading == 0
    assert await world.pods.drain(run.id) == {}


async def test_a_log_that_comes_late_is_waited_for_and_asked_for_again(world: World):
    """A slow answer after a step's end costs no line."""
    world.engine.pods["a"].extend([[STUCK], [lines("1", "2")]])

    run = await running(world, node("a", phase="Succeeded", ended=2))
    await world.clock.advance(15)
    assert spoken(world, run) == []
    await world.clock.advance(10)

    assert spoken(world, run) == ["a | 1", "a | 2"]


async def test_the_last_words_are_known_after_a_restart(world: World):
    """A bridge that is killed between a failure and its end still gives the reason."""
    world.engine.pods["a"].append([lines("boom")])
    run = await running(world, node("a", phase="Failed", ended=2, message="main: Error"))
    world.engine.show(
        run.workflow_name,
        node("a", phase="Failed", ended=2, message="main: Error"),
        phase="Failed",
        quietly=True,
    )

    again = await world.restart()
    ended = await again.finish(run)

    assert ended.error.message == "a failed: boom (Error)"
    assert spoken(again, run) == ["a | boom"]


async def test_what_a_step_said_while_the_bridge_was_away_is_read_if_it_had_begun(world: World):
    """A step whose lines had begun to show is read to its end by the next process."""
    world.engine.pods["a"].append([lines("one"), HANG])
    run = await running(world, node("a"))
    world.engine.pods["a"].append([lines("one", "two")])
    world.engine.show(
        run.workflow_name, node("a", phase="Succeeded", ended=2), node("b", "HTTP"), quietly=True
    )

    again = await world.restart()
    await again.clock.advance(5)

    assert spoken(again, run) == ["a | one", "a | two"]
