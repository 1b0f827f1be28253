"""Following: a watch that rotates, expires, breaks and coalesces, and a store that fails."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.errors import (
    EngineForbidden,
    EngineUnavailable,
    WatchExpired,
)
from bridge.domain.runs import RunStatus
from bridge.domain.workflows import Snapshot
from tests.domain.making import node
from tests.services.fakes import HANG, lines
from tests.services.world import World

CUT = EngineUnavailable("the connection was cut")


def steps(world: World, run) -> list[str]:
    """The lines about steps and pods."""
    return [line for line in world.told(run) if line[0] in "●✓✗○⏸" or " | " in line]


async def test_a_rotated_watch_goes_on_where_it_was(world: World):
    """The server ends every watch now and then; nothing is missed and nothing is listed again."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    version = world.engine.workflows[run.workflow_name]["metadata"]["resourceVersion"]
    listings = len(world.engine.called("listing"))

    world.engine.end_watches()
    await world.clock.settle()
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=1))
    await world.clock.settle()

    assert world.engine.called("watch")[-1] == (version,)
    assert len(world.engine.called("listing")) == listings
    assert steps(world, run) == ["● a running", "✓ a (1 s)"]


async def test_a_bookmark_moves_the_position_and_tells_nothing(world: World):
    """A quiet watch stays young, so that resuming it works."""
    world.engine.tell("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
    await world.clock.settle()
    world.engine.end_watches()
    await world.clock.settle()

    assert world.engine.called("watch")[-1] == ("77",)


async def test_a_watch_that_ends_at_once_is_not_opened_in_a_tight_loop(world: World):
    """A server that closes every watch is asked a few times a second and not thousands."""
    await world.clock.settle()
    opened = len(world.engine.called("watch"))
    for _ in range(20):
        world.engine.end_watches()
        await world.clock.settle()

    assert len(world.engine.called("watch")) == opened
    await world.clock.advance(0.2)
    assert len(world.engine.called("watch")) == opened + 1


async def test_an_expired_position_lists_again_and_finds_what_happened(world: World):
    """What happened while nobody looked is told once the workflows are listed."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=1), quietly=True)

    world.engine.end_watches(WatchExpired("too old"))
    await world.clock.advance(1)

    assert steps(world, run) == ["✓ a (1 s)"]
    assert world.follower.connected


async def test_a_listing_that_is_always_too_old_is_no_tight_loop(world: World):
    """A server whose listing is older than its watch can begin is not hammered."""
    world.engine.faults["watch"].extend([WatchExpired("too old")] * 1000)
    world.engine.end_watches(WatchExpired("too old"))

    await world.clock.advance(10)

    assert len(world.engine.called("listing")) < 60


async def test_an_outage_is_survived_and_seen(world: World):
    """While Argo is away readiness says so; afterwards every line comes, once."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()
    world.engine.down = CUT
    world.engine.end_watches(CUT)
    await world.clock.advance(100)
    assert not world.follower.connected
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=9), node("b"))

    world.engine.down = None
    await world.clock.advance(20)

    assert world.follower.connected
    assert steps(world, run) == ["● a running", "● b running", "✓ a (9 s)"]
    assert len(world.engine.called("listing")) < 20


async def test_a_server_that_names_its_wait_is_given_it(world: World):
    """A server that says when to come again is left alone until then."""
    asked = len(world.engine.called("listing"))
    world.engine.end_watches(EngineForbidden("no", retry_after=30))

    await world.clock.advance(29)
    assert len(world.engine.called("listing")) == asked
    await world.clock.advance(2)
    assert len(world.engine.called("listing")) == asked + 1


async def test_workflows_are_compared_again_now_and_then(world: World):
    """An event that a watch swallowed is made good within minutes."""
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a", phase="Succeeded", ended=1), quietly=True)

    await world.clock.advance(310)
    world.engine.tell("BOOKMARK", {"metadata": {"resourceVersion": "99"}})
    await world.clock.settle()

    assert steps(world, run) == ["✓ a (1 s)"]


async def test_a_workflow_of_nobody_is_ignored(world: World):
    """Workflows that no run asked for disturb nothing."""
    world.engine.tell("ADDED", {"metadata": {"name": "stranger", "uid": "u"}})
    await world.clock.settle()

    assert len(world.follower) == 0
    assert world.follower.connected


async def test_only_the_end_is_seen(world: World):
    """A workflow that is over before the bridge looks is told whole and ends its run."""
    run = await world.ask()

    world.ended(run, node("a", phase="Succeeded", ended=2), node("b", phase="Skipped", ended=2))
    ended = await world.finish(run)

    assert ended.status is RunStatus.SUCCEEDED
    assert steps(world, run)[0] == "✓ a (2 s)"


async def test_an_answer_that_comes_late_undoes_nothing(world: World):
    """The watch may be faster than the answer to a creation; the newer of the two counts."""
    run = await world.ask()
    fresh = Snapshot(world.engine.workflows[run.workflow_name])
    world.engine.show(run.workflow_name, node("approve", "Suspend"))
    await world.clock.settle()

    world.follower.created(run, fresh)
    await world.clock.settle()

    assert world.run(run).status is RunStatus.WAITING
    assert world.run(run).phase == "Running"


# --- workflows that vanish ------------------------------------------------------------------------


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
    assert "✓ a (2 s)" in steps(world, run)


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
    await world.tasks.aclose()


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


# --- workflows that never start -----------------------------------------------------------------


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
    assert steps(world, run) == ["● a running"]


# --- a store that fails --------------------------------------------------------------------------


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

    assert steps(world, run) == ["● a running", "● b running", "a | one", "a | two"]
    assert world.run(run).progress == "1/2"


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_commit_whose_answer_is_lost_is_not_made_twice(world: World, lost):
    """A store that has written and cannot say so leads to no line twice."""
    world.engine.pods["a"].append([lines("one"), lines("two", second=1), HANG])
    run = await world.ask()
    world.store.faults.extend(["lost"] * lost)

    world.engine.show(run.workflow_name, node("a"), progress="0/2")
    await world.clock.advance(60)

    assert steps(world, run) == ["● a running", "a | one", "a | two"]


async def test_lines_that_could_not_be_stored_are_told_when_they_can(world: World):
    """Pod lines cannot be asked for again one by one, so they are kept until they are stored."""
    world.engine.pods["a"].append([lines("one"), lines("two", second=1), HANG])
    run = await world.ask()
    world.store.faults.extend(["ok", "full", "full"])  # the step, its lines, its lines again

    world.engine.show(run.workflow_name, node("a"))
    await world.clock.advance(60)

    assert steps(world, run) == ["● a running", "a | one", "a | two"]


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

    assert steps(world, run) == ["● a running"]


async def test_a_run_that_the_store_has_lost_is_let_go(world: World):
    """A run that is in no store any more is not followed, nor waited for, for ever."""
    run = await world.ask()
    del world.store._runs[run.id]

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


async def test_an_answer_for_a_run_that_has_ended_is_dropped(world: World):
    """An answer to a creation that comes after the end changes nothing."""
    run = await world.ask()
    fresh = Snapshot(world.engine.workflows[run.workflow_name])
    world.ended(run)
    await world.finish(run)

    world.follower.created(run, fresh)
    await world.clock.settle()

    world.check(run)


async def test_a_watch_that_rotates_when_it_is_time_to_list_is_followed_by_a_listing(
    world: World,
):
    """A server that rotates often is compared with all the same."""
    listings = len(world.engine.called("listing"))
    await world.clock.advance(301)
    world.engine.tell("ADDED", {"metadata": {"name": "stranger", "resourceVersion": "9"}})
    world.engine.end_watches()

    await world.clock.advance(1)

    assert len(world.engine.called("listing")) == listings + 1


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


async def test_what_nobody_follows_is_not_told(world: World):
    """Lines of a run that has ended are dropped."""
    world.follower.tell_lines("unknown", pod="p", cursor="t", lines=[])
    world.follower.forget("unknown")
    await world.follower.flush("unknown")

    assert world.follower.cursor("unknown", pod="p") == ""
