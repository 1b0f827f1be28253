"""Following: a watch that rotates, expires, breaks and coalesces."""

from __future__ import annotations

from bridge.domain.errors import (
    EngineForbidden,
    EngineUnavailable,
    WatchExpired,
)
from bridge.domain.runs import RunStatus
from bridge.domain.workflows import Snapshot
from tests.domain.making import node
from tests.services.world import World

CUT = EngineUnavailable("the connection was cut")


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
    assert world.steps(run) == ["● a running", "✓ a (1 s)"]


async def test_an_answer_that_nobody_foresaw_does_not_end_the_following(world: World):
    """Whatever goes wrong with one answer, every run is followed on."""
    world.engine.faults["listing"].append(RuntimeError("never seen before"))
    world.engine.end_watches(WatchExpired("too old"))
    await world.clock.advance(5)
    run = await world.ask()
    world.engine.show(run.workflow_name, node("a"))
    await world.clock.settle()

    assert world.follower.connected
    assert world.steps(run) == ["● a running"]


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

    assert world.steps(run) == ["✓ a (1 s)"]
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
    assert world.steps(run) == ["● a running", "● b running", "✓ a (9 s)"]
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

    assert world.steps(run) == ["✓ a (1 s)"]


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
    assert world.steps(run)[0] == "✓ a (2 s)"


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


async def test_what_nobody_follows_is_not_told(world: World):
    """Lines of a run that has ended are dropped."""
    world.follower.tell_lines("unknown", pod="p", cursor="t", lines=[])
    world.follower.forget("unknown")
    await world.follower.flush("unknown")

    assert world.follower.cursor("unknown", pod="p") == ""
