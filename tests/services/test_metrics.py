"""What the services tell of runs, the watch, streams and the catalog, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from bridge.domain.definitions import Catalogue, Problem
from bridge.domain.errors import CatalogRejected, CatalogUnavailable, EngineUnavailable
from bridge.domain.errors import WatchExpired as Expired
from bridge.domain.events import Event, log
from bridge.domain.runs import Run, RunStatus
from bridge.measuring import Measured, RunMeter
from bridge.metrics import Metrics
from bridge.services.streams import Subscription
from tests.domain.making import definition, document, node
from tests.services.fakes import FakeCatalog
from tests.services.world import Outside, World

ACTION = "thing:make"


class Meters:
    """A bridge that is measured as the composition root has it measured."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.metrics = Metrics(version="1", clock=world.clock.monotonic)
        self.runs = RunMeter(self.metrics, clock=world.clock)
        world.journal.subscribe(self.runs)
        world.runs._on_accepted = self._accepted
        self._measured = Measured(
            self.metrics,
            runs=self.runs,
            streams=world.streams,
            actions=world.actions,
            registrar=world.registrar,
            submitter=world.submitter,
            followers={"default": world.follower},
            clock=world.clock,
        )

    def _accepted(self, run: Run) -> None:
        self.runs.accepted(run)
        self.world.submit(run)

    def get(self, name: str, **labels: str) -> float | None:
        """A sample as it is now; None if there is none."""
        self._measured._look()
        return self.metrics.registry.get_sample_value(f"bridge_{name}", labels)

    def open(self) -> dict[str, float]:
        """The statuses that open runs have, and how many have each."""
        found = {status: self.get("runs_open", status=status) for status in RunStatus}
        return {str(status): count for status, count in found.items() if count}


@pytest.fixture
def outside() -> Outside:
    """Everything around the bridge, with a catalog."""
    return Outside(catalog=FakeCatalog())


@pytest.fixture
async def meters(world: World) -> Meters:
    """A bridge and its metrics."""
    return Meters(world)


# --- runs ---------------------------------------------------------------------------------------


async def test_a_run_is_counted_with_its_end_and_its_time(meters: Meters):
    """A dashboard shows how runs of each action end, and how long they take."""
    world = meters.world
    run = await world.ask()
    assert meters.get("runs_accepted_total", action=ACTION) == 1
    await world.clock.advance(42)
    world.ended(run)
    await world.finish(run)

    ended = {"action": ACTION, "outcome": "succeeded"}
    assert meters.get("runs_total", **ended) == 1
    assert meters.get("run_duration_seconds_count", **ended) == 1
    assert meters.get("run_duration_seconds_sum", **ended) == pytest.approx(42, abs=3)
    assert meters.get("run_duration_seconds_bucket", **ended, le="30.0") == 0
    assert meters.get("run_duration_seconds_bucket", **ended, le="60.0") == 1


async def test_ways_of_ending_are_told_apart(meters: Meters):
    """An alert on failures does not go off for what somebody cancelled."""
    world = meters.world
    await world.failed()
    cancelled = await world.ask(name="b")
    await world.cancel(cancelled)
    world.ended(cancelled, phase="Failed", spec={"shutdown": "Stop"})
    await world.finish(cancelled)
    lost = await world.ask(name="c")
    world.engine.remove(lost.workflow_name)
    await world.finish(lost)

    outcomes = ("succeeded", "failed", "cancelled", "lost")
    found = [meters.get("runs_total", action=ACTION, outcome=outcome) for outcome in outcomes]
    assert found == [0, 1, 1, 1]


async def test_an_outcome_that_has_not_happened_is_zero(meters: Meters):
    """The first failure is an increase, which an alert can see."""
    assert meters.get("runs_total", action=ACTION, outcome="failed") == 0
    assert meters.get("runs_accepted_total", action=ACTION) == 0


async def test_the_wait_for_a_workflow_is_measured(meters: Meters):
    """An Argo that takes nothing shows as runs that wait."""
    world = meters.world
    world.engine.down = EngineUnavailable("Argo is away")
    run = await world.ask()
    await world.clock.advance(100)
    assert meters.get("queue_wait_seconds_count", action=ACTION) is None
    assert meters.open() == {"submitting": 1}

    world.engine.down = None
    await world.clock.until(lambda: world.run(run).status is RunStatus.RUNNING)

    assert meters.get("queue_wait_seconds_count", action=ACTION) == 1
    waited = meters.get("queue_wait_seconds_sum", action=ACTION)
    assert waited is not None
    assert 100 <= waited <= 116
    assert meters.open() == {"running": 1}
    world.ended(run)
    await world.finish(run)
    assert meters.get("queue_wait_seconds_count", action=ACTION) == 1


async def test_the_wait_for_a_lock_is_measured(meters: Meters):
    """Runs that queue for the same thing show, and those that need not wait as no wait."""
    world = meters.world
    world.define(lock={"key": "thing/{input.name}", "whenHeld": "queue"})
    first = await world.ask()
    second = await world.ask(team="team-b")
    assert meters.get("lock_wait_seconds_count", action=ACTION) == 1
    assert meters.get("lock_wait_seconds_sum", action=ACTION) == 0
    await world.clock.advance(60)
    world.ended(first)
    await world.finish(first)
    await world.clock.until(lambda: world.run(second).workflow_uid)

    assert meters.get("lock_wait_seconds_count", action=ACTION) == 2
    waited = meters.get("lock_wait_seconds_sum", action=ACTION)
    assert waited is not None
    assert 60 <= waited <= 70


async def test_a_run_without_a_lock_has_no_wait_for_one(meters: Meters):
    """Quantiles of the wait are not those of runs that never wait."""
    await meters.world.ask()
    assert meters.get("lock_wait_seconds_count", action=ACTION) is None


async def test_open_runs_are_counted_where_they_are_owned(meters: Meters):
    """The sum over replicas is the number of open runs: none counts twice, none stays for ever."""
    world = meters.world
    run, other = await world.ask(), await world.ask(name="b")
    world.engine.show(run.workflow_name, node("gate", "Suspend"))
    await world.clock.settle()
    assert meters.open() == {"waiting": 1, "running": 1}

    meters.runs.drop(other.id)
    assert meters.open() == {"waiting": 1}
    meters.runs.take(world.run(other))
    assert meters.open() == {"waiting": 1, "running": 1}
    for one in (run, other):
        world.ended(one)
        await world.finish(one)
    assert meters.open() == {}


async def test_a_run_of_another_replica_is_not_counted_as_open(meters: Meters):
    """A command that reaches the wrong replica changes no gauge there."""
    world = meters.world
    run = await world.ask()
    meters.runs.drop(run.id)
    await world.cancel(run)
    assert meters.open() == {}


# --- the watch ----------------------------------------------------------------------------------


async def test_the_ends_of_watches_are_told_apart(meters: Meters):
    """Rotation is normal, and an outage shows as one."""
    world = meters.world
    world.engine.end_watches()
    await world.clock.advance(1)
    world.engine.end_watches(Expired("too old"))
    await world.clock.advance(1)
    world.engine.end_watches(EngineUnavailable("the connection was cut"))
    await world.clock.settle()
    assert meters.get("watch_connected", target="default") == 0
    await world.clock.advance(1)
    assert meters.get("watch_connected", target="default") == 1
    world.engine.faults["listing"].append(RuntimeError("never seen before"))
    world.engine.end_watches(Expired("too old"))
    await world.clock.advance(400)
    world.engine.tell("BOOKMARK", {"metadata": {"resourceVersion": "900"}})
    await world.clock.advance(1)

    reasons = ("rotated", "expired", "unavailable", "crashed", "resync")
    found = [meters.get("watch_restarts_total", target="default", reason=r) for r in reasons]
    assert found == [1, 2, 1, 1, 1]


async def test_a_silent_watch_grows_old(meters: Meters):
    """A watch that is open and says nothing is seen for what it is."""
    await meters.world.clock.advance(50)
    assert meters.get("watch_last_frame_seconds", target="default") == 50
    meters.metrics.watch_heard("default")
    await meters.world.clock.advance(3)
    assert meters.get("watch_last_frame_seconds", target="default") == 3


# --- streams ------------------------------------------------------------------------------------


class Moment:
    """A subscriber after whom 4 ms have passed: readers wake up later."""

    def __init__(self, world: World) -> None:
        self.clock = world.clock

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """See Subscriber."""
        del run, events
        self.clock.time += 0.004


async def reader_of(world: World, run: Run) -> tuple[Subscription, Any]:
    """A reader that waits for what comes, and its waiting."""
    reader = world.streams.subscribe(run.id, after=world.run(run).last_seq)
    reading = world.streams.read(reader)
    return reader, reading


async def test_delivery_is_measured_once_for_each_commit(meters: Meters):
    """The figure costs the same for one stream and for ten thousand."""
    world = meters.world
    run = await world.ask()
    tasks = [world.tasks.spawn((await reader_of(world, run))[1], name=f"{n}") for n in range(3)]
    await world.clock.settle()
    assert meters.get("streams_open") == 3

    world.journal.subscribe(Moment(world))
    await world.journal.write(run.id, log("one"), log("two"))
    await world.clock.settle()

    assert all(task is not None and task.done() for task in tasks)
    assert meters.get("event_delivery_seconds_count") == 1
    assert meters.get("event_delivery_seconds_sum") == pytest.approx(0.004)


async def test_a_slow_client_is_no_slow_bridge(meters: Meters):
    """A reader that is still busy with what it got before is not measured."""
    world = meters.world
    run = await world.ask()
    reader, reading = await reader_of(world, run)
    world.tasks.spawn(reading, name="reading")
    await world.clock.settle()
    await world.journal.write(run.id, log("one"))
    await world.clock.settle()
    assert meters.get("event_delivery_seconds_count") == 1

    await world.journal.write(run.id, log("while the client is busy"))
    world.clock.time += 30
    await world.streams.read(reader)

    assert meters.get("event_delivery_seconds_count") == 1


# --- the catalog --------------------------------------------------------------------------------


async def test_attempts_to_register_are_counted_by_what_came_of_them(meters: Meters):
    """A catalog that is away is told from one that must be configured, and both from success."""
    world = meters.world
    away = CatalogUnavailable("The catalog does not answer")
    world.outside.catalog.faults.extend([away, away, CatalogRejected("No rule for it")])
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: world.run(run).status is RunStatus.REGISTERING)
    assert meters.get("registering") == 1
    assert meters.open() == {"registering": 1}
    await world.finish(run)

    outcomes = ("registered", "retried", "rejected")
    assert [meters.get("registrations_total", outcome=each) for each in outcomes] == [1, 2, 1]
    assert meters.get("registering") == 0


async def test_an_entity_that_has_left_the_catalog_counts_too(meters: Meters):
    """Removal is work with the catalog like any other."""
    world = meters.world
    catalog = document()["spec"]["catalog"]
    world.define(catalog={**catalog, "mode": "remove"})
    run = await world.ask()
    world.ended(run)
    await world.finish(run)

    assert meters.get("registrations_total", outcome="registered") == 1


async def test_an_entity_of_somebody_else_is_a_rejection(meters: Meters):
    """What nobody can repair by waiting is no retry."""
    catalog = meters.world.outside.catalog
    first = await meters.world.ask()
    meters.world.ended(first)
    await meters.world.finish(first)
    catalog.foreign.add(next(ref for ref in catalog.shown if ref.name == "a-thing"))
    run = await meters.world.ask()
    meters.world.ended(run)

    assert (await meters.world.finish(run)).status is RunStatus.FAILED
    assert meters.get("registrations_total", outcome="rejected") == 1
    assert meters.get("registrations_total", outcome="registered") == 1


# --- definitions --------------------------------------------------------------------------------


async def test_broken_definitions_are_counted_by_file(meters: Meters):
    """A folder that somebody broke shows before anybody misses the action."""
    assert meters.get("definitions", state="in_use") == 1
    assert meters.get("definitions", state="broken") == 0
    problems = (Problem("a.yaml", 1, "no"), Problem("a.yaml", 7, "no"), Problem("b.yaml", 1, "no"))
    catalogue = Catalogue(files={"thing": definition()}, problems=problems)
    meters.world.outside.source.catalogue = catalogue
    meters.world.actions.reload()

    assert meters.get("definitions", state="broken") == 2


async def test_a_run_asked_for_twice_is_accepted_once(meters: Meters):
    """A client that tries again does not look like more work."""
    await meters.world.ask(key="one")
    await meters.world.ask(key="one")
    assert meters.get("runs_accepted_total", action=ACTION) == 1
