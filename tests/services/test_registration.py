"""From a succeeded workflow to an entity that the catalog shows."""

from __future__ import annotations

import pytest

from bridge.domain.entities import EntityRef
from bridge.domain.errors import CatalogRejected, CatalogUnavailable, EntityUnknown
from bridge.domain.runs import RunStatus
from tests.domain.making import document
from tests.services.fakes import FakeCatalog
from tests.services.world import Outside, World

AWAY = CatalogUnavailable("The catalog does not answer")
THING = EntityRef("resource", "default", "a-thing")


@pytest.fixture
def outside() -> Outside:
    """Everything around the bridge, with a catalog."""
    return Outside(catalog=FakeCatalog())


def after_success(world: World, run) -> list[str]:
    """What is told of the registration."""
    return world.told(run)[1:-1]


async def test_the_entity_is_in_the_catalog_before_the_run_succeeds(world: World):
    """When the task is green, the entity can be clicked on."""
    catalog = world.outside.catalog
    catalog.looks_needed = 3
    run = await world.ask()
    world.ended(run)

    ended = await world.finish(run)

    assert after_success(world, run) == [
        "● registering resource:default/a-thing in the catalog",
        "✓ resource:default/a-thing is in the catalog (0.8 s)",
    ]
    assert catalog.registered == ["resource:default/c1", "resource:default/a-thing"]
    assert catalog.shown[THING]["metadata"]["annotations"] == {"bridge/run": run.id}
    assert ended.entity_ref == "resource:default/a-thing"
    assert (await world.store.entity(kind="resource", name="a-thing")).run_id == run.id


async def test_an_older_document_of_the_same_entity_is_not_taken_for_the_new_one(world: World):
    """Only this run's document counts: the catalog may still show the last run's."""
    catalog = world.outside.catalog
    catalog.looks_needed = 2
    catalog.shown[THING] = {"metadata": {"annotations": {"bridge/run": "an older run"}}}
    run = await world.ask()
    world.ended(run)

    await world.finish(run)

    assert catalog.shown[THING]["metadata"]["annotations"]["bridge/run"] == run.id


async def test_what_surrounds_the_entity_is_registered_once(world: World):
    """The cluster is registered with the first namespace, so that no relation dangles."""
    for number in range(2):
        run = await world.ask(name=f"thing-{number}")
        world.ended(run)
        await world.finish(run)

    assert world.outside.catalog.registered == [
        "resource:default/c1",
        "resource:default/thing-0",
        "resource:default/thing-1",
    ]


async def test_what_surrounds_the_entity_is_not_registered_over_somebody_elses(world: World):
    """A cluster that the catalog knows already stays whose it is."""
    world.outside.catalog.shown[EntityRef("resource", "default", "c1")] = {}
    run = await world.ask()
    world.ended(run)
    await world.finish(run)

    assert world.outside.catalog.registered == ["resource:default/a-thing"]


async def test_registration_is_tried_until_the_catalog_answers(world: World):
    """An outage of Backstage delays the end of a run, says so once, and loses nothing."""
    world.outside.catalog.faults.extend([AWAY, AWAY, AWAY, CatalogRejected("No rule for it")])
    run = await world.ask()
    world.ended(run)

    ended = await world.finish(run)

    assert ended.status is RunStatus.SUCCEEDED
    assert [line for line in world.told(run) if "tried again" in line] == [
        "The catalog does not answer; registration is tried again",
        "No rule for it; registration is tried again",
    ]


async def test_an_entity_that_does_not_appear_is_registered_again(world: World):
    """A catalog that took a location and shows nothing is asked again, for ever."""
    catalog = world.outside.catalog
    catalog.looks_needed = 200
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: len(world.told(run)) == 3)
    assert world.run(run).status is RunStatus.REGISTERING
    assert world.told(run)[2] == (
        "The catalog took the location of resource:default/a-thing but does not show the entity "
        "after 30 s; registration is tried again"
    )
    catalog.looks_needed = 0

    ended = await world.finish(run, within=300)

    assert ended.status is RunStatus.SUCCEEDED
    assert catalog.registered.count("resource:default/a-thing") == 2


async def test_somebody_elses_entity_is_not_overwritten(world: World):
    """An entity that the bridge did not make fails the run, with a sentence on what to do."""
    catalog = world.outside.catalog
    catalog.shown[THING] = {"metadata": {"name": "a-thing"}}
    catalog.foreign.add(THING)
    run = await world.ask()
    world.ended(run)

    ended = await world.finish(run)

    assert (ended.status, ended.error.code) == (RunStatus.FAILED, "entity_conflict")
    assert "already has a resource:default/a-thing that the bridge did not make" in (
        ended.error.message
    )
    assert catalog.registered == []
    with pytest.raises(EntityUnknown):
        await world.store.entity(kind="resource", name="a-thing")


async def test_a_conflict_is_told_when_the_store_is_back(world: World):
    """The end of a conflict is stored however often the store fails."""
    catalog = world.outside.catalog
    catalog.shown[THING] = {"metadata": {"name": "a-thing"}}
    catalog.foreign.add(THING)
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: world.run(run).phase == "Succeeded")
    world.store.faults.extend(["full"] * 3)

    assert (await world.finish(run)).error.code == "entity_conflict"


async def test_a_store_that_is_away_delays_a_registration(world: World):
    """A store that fails while the catalog is away ends neither the run nor the attempt."""
    world.outside.catalog.faults.append(AWAY)
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: world.run(run).status is RunStatus.REGISTERING)
    world.store.faults.extend(["full"] * 5)

    assert (await world.finish(run)).status is RunStatus.SUCCEEDED


async def test_a_registration_goes_on_after_a_restart(world: World):
    """A bridge that is killed while it registers goes on when it is back."""
    world.outside.catalog.faults.extend([AWAY] * 3)
    run = await world.ask()
    world.ended(run)
    await world.clock.until(lambda: world.run(run).status is RunStatus.REGISTERING)

    again = await world.restart()
    ended = await again.finish(run)

    assert ended.status is RunStatus.SUCCEEDED
    assert ended.entity_ref == "resource:default/a-thing"


async def test_an_action_that_removes_takes_its_document_away(world: World):
    """A removed thing is not served to the catalog any more."""
    run = await world.ask()
    world.ended(run)
    await world.finish(run)
    catalog = {**document()["spec"]["catalog"], "mode": "remove"}
    world.define(catalog=catalog)

    removal = await world.ask()
    world.ended(removal)
    await world.finish(removal)

    assert after_success(world, removal) == [
        "● removing resource:default/a-thing from the catalog",
        "✓ resource:default/a-thing has left the catalog",
    ]
    with pytest.raises(EntityUnknown):
        await world.store.entity(kind="resource", name="a-thing")


async def test_the_bridges_own_documents_are_served_from_the_start(world: World):
    """The cluster's document is there before the first run."""
    assert (await world.store.entity(kind="resource", name="c1")).run_id is None


async def test_a_store_that_is_away_at_the_start_does_not_keep_the_bridge_from_starting(outside):
    """The bridge starts, says so in its log, and serves what it can."""
    outside.store.away = True
    world = World(outside)

    await world.registrar.serve_base_entities()

    assert await world.store.entities() == []


async def test_a_run_that_has_ended_is_not_registered(world: World):
    """A late attempt changes nothing."""
    run = await world.ask()
    await world.endings.lost(run.id)

    await world.registrar.register(run.id)

    assert world.run(run).status is RunStatus.LOST
    assert world.outside.catalog.registered == []
