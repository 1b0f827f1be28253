"""Registration that cannot half-happen: succeeded means that the catalog shows the entity."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.scenarios.argo import Argo, until
from tests.scenarios.making import ended
from tests.scenarios.stage import Stage, open_stage

REF = "resource:default/thing"
ORIGIN = "backstage.io/managed-by-origin-location"
THEIRS = {
    "kind": "Resource",
    "metadata": {
        "name": "thing",
        "annotations": {ORIGIN: "url:https://git.example/catalog-info.yaml"},
    },
    "spec": {"owner": "group:default/somebody-else"},
}


@pytest.fixture
async def stage(kept: dict[str, Any]) -> AsyncIterator[Stage]:
    """A bridge, an Argo and a catalog."""
    async with open_stage(kept, catalog=True) as opened:
        yield opened


def shown(stage: Stage) -> str | None:
    """The run whose document the catalog shows."""
    assert stage.catalog is not None
    entity = stage.catalog.entities.get(REF)
    return str(entity["metadata"]["annotations"]["bridge/run"]) if entity else None


async def test_succeeded_means_registered(stage: Stage):
    """When the run says succeeded, the catalog shows this run's entity."""
    run = await stage.ask("work:entity")

    end = await run.reader.end()

    assert shown(stage) == run.id
    assert (end["status"], end["entityRef"]) == ("succeeded", REF)
    assert f"✓ {REF} is in the catalog" in run.reader.steps


async def test_a_run_is_registering_until_the_catalog_shows_it(stage: Stage):
    """While the catalog is away the run says so, is tried again, and succeeds when it is back."""
    stage.catalog.mood = "away"
    run = await stage.ask("work:entity")
    await run.reader.told("registration is tried again")
    waits = await stage.run(run)
    assert (waits["status"], waits["entityRef"]) == ("registering", None)
    assert shown(stage) is None

    stage.catalog.mood = "well"
    end = await run.reader.end()

    assert end["status"] == "succeeded"
    assert shown(stage) == run.id
    assert run.reader.count("registration is tried again") == 1


async def test_a_failed_run_registers_nothing(stage: Stage):
    """What did not succeed is never shown, not even for a moment."""
    stage.argo.faults.put({"workflows": [{"fault": "no-phase"}]})
    run = await stage.ask("work:entity")
    await until(lambda: stage.argo.engine.find(run.workflow))
    stage.argo.abandon(run.workflow)

    await ended(stage, run, "failed", "workflow_failed")
    assert [past for past in stage.catalog.history if past.ref == REF] == []
    assert (await stage.http.get("/catalog/resource/thing.yaml")).status_code == 404


async def test_registration_goes_on_after_a_restart(kept: dict[str, Any], argo: Argo):
    """A bridge that ends while it registers is finished by the next one."""
    async with open_stage(kept, argo=argo, catalog=True) as stage:
        stage.catalog.mood = "away"
        run = await stage.ask("work:entity")
        await run.reader.told("registration is tried again")
    async with open_stage(kept, argo=argo, catalog=True) as stage:
        reader = stage.asked(await stage.run(run)).reader
        assert (await reader.end())["status"] == "succeeded"
        assert shown(stage) == run.id
    assert argo.calls(run.workflow) == ["create"]


async def test_removal_unregisters(stage: Stage):
    """A run that removes succeeds when the catalog and the bridge show the entity no more."""
    await (await stage.ask("work:entity")).reader.end()
    run = await stage.ask("work:removal")

    end = await run.reader.end()

    assert end["status"] == "succeeded"
    assert REF not in stage.catalog.entities
    assert (await stage.http.get("/catalog/resource/thing.yaml")).status_code == 404
    assert f"✓ {REF} has left the catalog" in run.reader.steps
    assert not [target for target in stage.catalog.locations.values() if "thing" in target]


async def test_removal_is_registering_until_the_catalog_has_let_go(stage: Stage):
    """A removal that the catalog cannot hear of is visible, and is tried until it is done."""
    await (await stage.ask("work:entity")).reader.end()
    stage.catalog.mood = "away"
    run = await stage.ask("work:removal")
    await run.reader.told("registration is tried again")
    assert (await stage.run(run))["status"] == "registering"

    stage.catalog.mood = "well"
    assert (await run.reader.end())["status"] == "succeeded"
    assert REF not in stage.catalog.entities


async def test_the_bridge_never_overwrites_an_entity_it_did_not_create(stage: Stage):
    """Somebody else's entity of that name stays as it is, and the run says what to do."""
    stage.catalog.entities[REF] = THEIRS
    run = await stage.ask("work:entity")

    reason = await ended(stage, run, "failed", "entity_conflict")

    assert f"the catalog already has a {REF} that the bridge did not make" in reason
    assert stage.catalog.entities[REF] is THEIRS
    assert (await stage.http.get("/catalog/resource/thing.yaml")).status_code == 404


async def test_the_bridge_never_removes_an_entity_it_did_not_create(stage: Stage):
    """A removal leaves somebody else's entity alone."""
    stage.catalog.entities[REF] = THEIRS
    run = await stage.ask("work:removal")

    await ended(stage, run, "failed", "entity_conflict")

    assert stage.catalog.entities[REF] is THEIRS


async def test_the_next_run_takes_over_its_own_entity(stage: Stage):
    """An entity that the bridge made is the next run's to change, and shows that run."""
    await (await stage.ask("work:entity")).reader.end()
    run = await stage.ask("work:entity")

    assert (await run.reader.end())["status"] == "succeeded"
    assert shown(stage) == run.id
