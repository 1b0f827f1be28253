"""Several replicas over one store: one owner for each run, readers at any of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bridge.adapters.memory import Memory
from bridge.domain.commands import Verb
from bridge.domain.errors import StoreUnavailable
from bridge.domain.runs import RunStatus
from bridge.services.control import Wish
from tests.domain.making import node
from tests.services.fakes import FakeClock, FaultyStore
from tests.services.world import Outside, World, through_backstage

ANN, BOB = "user:default/ann", "user:default/bob"


@pytest.fixture
async def pair():
    """Two replicas over the same store, Argo and time."""
    memory, clock = Memory(), FakeClock()
    first = Outside(store=FaultyStore(memory, replica="one", clock=clock), clock=clock)
    second = replace(first, store=FaultyStore(memory, replica="two", clock=clock))
    one, two = World(first), World(second)
    await one.start()
    await two.start()
    yield one, two
    await first.aclose()


def silence(world: World) -> None:
    """Let no replica hear any more of what another one writes."""
    listeners = world.store._memory.listeners
    listeners.update(dict.fromkeys(listeners, lambda _run_id: None))


async def read(world: World, run, got: list[bytes]) -> None:
    """Read a run's stream at *world* to its end."""
    reader = world.streams.subscribe(run.id, after=0)
    while (chunk := await world.streams.read(reader)) is not None:
        got.append(chunk)
    world.streams.leave(reader)


def ids(got: list[bytes]) -> list[int]:
    """The ids of all frames."""
    lines = b"".join(got).decode().splitlines()
    return [int(line[4:]) for line in lines if line.startswith("id: ")]


async def test_only_the_owner_works_on_a_run(pair):
    """A workflow that both replicas see makes one set of events."""
    one, two = pair
    run = await one.ask()
    one.engine.show(run.workflow_name, node("a", "HTTP"))
    one.ended(run, node("a", "HTTP", "Succeeded", ended=2))

    await one.finish(run)

    assert len(one.engine.called("create")) == 1
    assert len(two.follower) == 0
    assert one.steps(run)[:2] == ["● a running", "✓ a (2 s)"]


async def test_any_replica_serves_any_stream(pair):
    """A reader at the other replica gets every event, once, in order, to the end."""
    one, two = pair
    run = await one.ask()
    got: list[bytes] = []
    reading = asyncio.ensure_future(read(two, run, got))
    await one.clock.settle()
    one.engine.show(run.workflow_name, node("a", "HTTP"))
    await one.clock.settle()
    one.ended(run, node("a", "HTTP", "Succeeded", ended=2))
    await one.finish(run)
    await one.clock.settle()

    assert reading.done()
    assert ids(got) == [event.seq for event in one.events(run)]


async def test_news_that_were_missed_are_asked_for(pair):
    """A reader loses nothing when the stores do not tell each other."""
    one, two = pair
    silence(one)
    run = await one.ask()
    got: list[bytes] = []
    reading = asyncio.ensure_future(read(two, run, got))
    await one.clock.settle()
    one.ended(run)
    await one.finish(run)

    await one.clock.advance(3)

    assert reading.done()
    assert ids(got) == [event.seq for event in one.events(run)]


@pytest.mark.parametrize("told", [True, False])
async def test_a_command_reaches_the_owner_from_any_replica(pair, told):
    """Who cancels at the other replica stops the workflow, by its owner, at once or by asking."""
    one, two = pair
    run = await one.ask()
    if not told:
        silence(one)

    await two.control.cancel(Wish(run.id, through_backstage(ANN)))
    await one.clock.advance(0 if told else 3)

    assert one.engine.called("stop") == [(run.workflow_name, False)]
    (command,) = await one.store.commands(run.id)
    assert command.outcome == "stopped"


async def test_the_runs_of_a_dead_replica_are_taken_over(pair):
    """A run whose replica was killed goes on at the other one, without a second workflow."""
    one, two = pair
    run = await one.ask()
    one.engine.show(run.workflow_name, node("a", "HTTP"))
    await one.clock.settle()
    await one.tasks.aclose()  # killed: its lease is not released

    two.ended(run, node("a", "HTTP", "Succeeded", ended=2))
    await two.clock.advance(2)
    assert not two.run(run).finished

    ended = await two.finish(run, within=20)
    assert ended.status is RunStatus.SUCCEEDED
    assert (ended.owner, ended.fence) == ("two", 2)
    assert two.steps(run)[:2] == ["● a running", "✓ a (2 s)"]
    assert len(two.engine.called("create")) == 1


async def test_a_released_lease_is_taken_over_without_waiting(pair):
    """A replica that ends in order leaves its runs to the others at once."""
    one, two = pair
    run = await one.ask()
    await one.tasks.aclose()
    await one.replicas.release()

    await two.clock.advance(4)

    assert two.run(run).owner == "two"


async def test_a_replica_that_slept_writes_nothing_when_it_wakes(pair):
    """A paused process whose runs were taken over changes nothing: its fence is old."""
    one, two = pair
    run = await one.ask()
    one.engine.show(run.workflow_name, node("a", "HTTP"))
    await one.clock.settle()
    del one.store._memory.leases["one"]
    await two.replicas.claim()
    await two.clock.settle()
    assert two.run(run).fence == 2

    # Both watches show the end; only the new owner may say so.
    two.ended(run, node("a", "HTTP", "Succeeded", ended=2))
    ended = await two.finish(run)
    await one.clock.settle()

    assert ended.status is RunStatus.SUCCEEDED
    assert not one.journal.owns(run.id)
    assert len(one.follower) == 0
    assert [line for line in two.told(run) if line == "✓ a (2 s)"] == ["✓ a (2 s)"]


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.TERMINATE])
async def test_an_open_command_is_taken_over_with_its_run(pair, verb):
    """A command that its owner did not live to carry out is carried out by the next one."""
    one, two = pair
    run = await one.ask()
    await one.tasks.aclose()
    give = two.control.cancel if verb is Verb.CANCEL else two.control.terminate
    await give(Wish(run.id, through_backstage(BOB, "thing:admin")))
    await two.clock.advance(1)
    assert two.engine.called("stop") == []

    await two.clock.advance(15)

    assert two.engine.called("stop") == [(run.workflow_name, verb is Verb.TERMINATE)]


async def test_a_store_that_is_away_does_not_end_a_replica(pair):
    """Lease, news and claims go on when the store is back."""
    one, two = pair
    broken = StoreUnavailable("away")

    async def away(**_: object) -> None:
        raise broken

    for name in ("keep_lease", "open_commands", "heads"):
        setattr(two.store, name, away)
    await two.clock.advance(12)
    for name in ("keep_lease", "open_commands", "heads"):
        delattr(two.store, name)
    run = await one.ask()
    await one.tasks.aclose()

    await two.clock.advance(20)

    assert two.run(run).owner == "two"


async def test_a_second_replica_costs_argo_no_second_look(pair):
    """A workflow of another replica is looked up in the store, not in Argo."""
    one, two = pair
    run = await one.ask()
    for second in range(5):
        one.engine.show(run.workflow_name, node("a", "HTTP", ended=second))
        await one.clock.settle()

    assert two.engine.called("get") == []
