"""Forgetting by age: what goes, when, and what a reader is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.domain.errors import RunUnknown, StoreUnavailable
from bridge.services.retention import Retention
from tests.services.world import World, through_backstage

DAY = 86_400


@pytest.fixture
def retention(world: World) -> Retention:
    """Events for a day, runs for a week."""
    return Retention(
        store=world.store,
        clock=world.clock,
        events=timedelta(days=1),
        runs=timedelta(days=7),
    )


async def test_old_events_go_and_the_end_stays(world: World, retention):
    """A reader of an old run is told how many lines are gone, and how it ended."""
    run = await world.ask()
    world.ended(run)
    ended = await world.finish(run)
    still_open = await world.ask(name="open")
    world.clock.time += DAY + 1

    pruning = retention.prune()
    removed = await world.clock_run(pruning)

    assert removed == (ended.last_seq - 1, 0)
    page = await world.runs.events(run, after=0, limit=99)
    assert [(event.seq, event.draft.type) for event in page] == [
        (ended.last_seq - 1, "gap"),
        (ended.last_seq, "done"),
    ]
    assert page[0].draft.data == {"from": 1, "to": ended.last_seq - 1}
    reader = world.streams.subscribe(run.id, after=2)
    frames = await world.streams.read(reader)
    assert f"id: {ended.last_seq - 1}\nevent: gap\n".encode() in frames
    assert await world.streams.read(reader) is None
    assert len(world.events(still_open)) > 1


async def test_old_runs_go_with_all_that_is_theirs(world: World, retention):
    """After the longer age a run is unknown, and its key is free."""
    run = await world.ask(key="k")
    world.ended(run)
    await world.finish(run)
    ann = through_backstage("user:default/ann")
    await world.runs.acknowledge(run.id, by=ann, reader="r", seq=1)
    world.clock.time += 7 * DAY + 1

    await world.clock_run(retention.prune())

    with pytest.raises(RunUnknown):
        await world.runs.get(run.id, by=ann)
    assert (await world.ask(key="k")).attempt == 1


async def test_much_is_removed_in_small_batches_with_pauses(world: World, retention):
    """However much there is to remove, others get their turn in between."""
    runs = []
    for number in range(3):
        run = await world.ask(name=f"n{number}")
        world.ended(run)
        runs.append(await world.finish(run))
    sizes = []
    real = world.store.prune_events

    async def counted(**batch):
        sizes.append(await real(**{**batch, "limit": 2}))
        return sizes[-1]

    world.store.prune_events = counted
    world.clock.time += DAY + 1
    before = world.clock.time

    await world.clock_run(retention.prune())

    assert sum(sizes) == sum(run.last_seq - 1 for run in runs)
    assert max(sizes) == 2
    assert world.clock.time > before


async def test_a_store_that_is_away_is_pruned_later(world: World, retention):
    """A failure keeps nothing from being removed the next time."""
    run = await world.ask()
    world.ended(run)
    await world.finish(run)
    world.clock.time += DAY + 1
    real = world.store.prune_events

    async def away(**_batch):
        world.store.prune_events = real
        raise StoreUnavailable("away")

    world.store.prune_events = away
    world.spawn(retention.watch(every=60.0))

    await world.clock.advance(61)
    assert len(world.events(run)) > 1
    await world.clock.advance(61)

    assert len(world.events(run)) == 1
