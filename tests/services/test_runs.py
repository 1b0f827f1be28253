"""Accepting, previewing and looking at runs; the actions on offer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue, Problem
from bridge.domain.errors import (
    ActionUnknown,
    IdempotencyKeyReused,
    InputInvalid,
    RequestInvalid,
    RunUnknown,
    StoreUnavailable,
)
from bridge.domain.runs import RunStatus
from bridge.ports import RunFilter
from bridge.services.runs import MAX_KEY, Request
from tests.domain.making import document
from tests.services.world import World, through_backstage

ANN = through_backstage("user:default/ann")


def request(**fields) -> Request:
    defaults = {
        "action": "thing:make",
        "input": {"name": "a-thing"},
        "caller": ANN,
    }
    return Request(**{**defaults, **fields})


async def test_an_accepted_run_is_durable_and_has_its_defaults(world: World):
    """When the caller has its answer, the run is stored with the whole input."""
    accepted = await world.runs.accept(request(key="k"))

    run = await world.runs.get(accepted.run.id, by=ANN)
    assert run.status in {RunStatus.ACCEPTED, RunStatus.SUBMITTING}
    assert run.input == {"name": "a-thing", "team": "team-a", "environment": "development"}
    assert (run.key, run.target, run.namespace) == ("k", "default", "argo")


async def test_the_same_key_is_submitted_once(world: World):
    """A scaffolder step that runs again gets its run back, and Argo gets one workflow."""
    first = await world.runs.accept(request(key="k"))
    await world.clock.settle()
    again = await asyncio.gather(*(world.runs.accept(request(key="k")) for _ in range(5)))
    await world.clock.settle()

    assert {acceptance.run.id for acceptance in again} == {first.run.id}
    assert all(acceptance.replayed for acceptance in again)
    assert len(world.engine.called("create")) == 1
    with pytest.raises(IdempotencyKeyReused):
        await world.runs.accept(request(key="k", input={"name": "other"}))


async def test_without_a_key_every_request_is_a_run(world: World):
    """A caller that gives no key means each request."""
    one, two = [(await world.runs.accept(request())).run for _ in range(2)]

    assert one.id != two.id
    assert one.key == one.id


async def test_a_failed_request_may_be_tried_again_under_its_key(world: World):
    """The second attempt is a run of its own, with its own workflow."""
    first = await world.ask(key="k")
    world.ended(first, phase="Failed")
    await world.finish(first)

    second = await world.ask(key="k")

    assert (second.attempt, second.workflow_name != first.workflow_name) == (2, True)
    assert len(world.engine.called("create")) == 2


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1), "é", "a\nb", "\x7f"])
async def test_a_key_that_is_none_is_refused(world: World, key):
    """A key that could not be sent in a header is no key."""
    with pytest.raises(RequestInvalid, match="1 to 255 printable ASCII"):
        await world.runs.accept(request(key=key))
    assert await world.runs.page(RunFilter(), by=ANN) == []


async def test_a_wrong_request_leaves_no_trace(world: World):
    """Nothing is stored and nothing is submitted for a request that cannot be run."""
    with pytest.raises(ActionUnknown, match="Did you mean thing:make"):
        await world.runs.accept(request(action="thing:mak"))
    with pytest.raises(InputInvalid, match="2 fields need attention"):
        await world.runs.accept(request(input={"team": 3}))
    with pytest.raises(InputInvalid, match="'\\$\\('"):
        await world.runs.accept(request(caller=through_backstage("user:default/$(id)")))

    assert await world.runs.page(RunFilter(), by=ANN) == []
    assert world.engine.called("create") == []


async def test_an_action_of_another_argo_is_refused_by_name(world: World):
    """A definition that names an Argo that is not configured says so at once."""
    spec = {**document()["spec"]["workflow"], "target": "edge"}
    world.define(workflow=spec)

    with pytest.raises(RequestInvalid, match="target 'edge' is not configured"):
        await world.runs.accept(request())


async def test_a_store_that_is_away_accepts_nothing(world: World):
    """A caller is never told of a run that is not stored."""

    async def fail(*_, **__):
        raise StoreUnavailable("disk full")

    world.store.accept = fail

    with pytest.raises(StoreUnavailable):
        await world.runs.accept(request())
    assert world.engine.called("create") == []


async def test_a_preview_shows_everything_and_does_nothing(world: World):
    """A dry run shows the workflow that would be made, and makes none."""
    shown = await world.runs.preview(request())

    assert shown["dryRun"] is True
    assert shown["input"]["environment"] == "development"
    assert shown["workflow"]["spec"]["workflowTemplateRef"] == {"name": "make-thing"}
    assert shown["outputs"] == {"thing": "a-thing"}
    assert await world.runs.page(RunFilter(), by=ANN) == []
    with pytest.raises(InputInvalid):
        await world.runs.preview(request(input={}))


async def test_runs_and_their_events_are_looked_at(world: World):
    """A run, its page and its events can be read; an unknown one is unknown."""
    run = await world.ask()

    assert [found.id for found in await world.runs.page(RunFilter(), by=ANN)] == [run.id]
    assert (await world.runs.events(run, after=1, limit=1))[0].seq == 2
    with pytest.raises(RunUnknown):
        await world.runs.get("unknown", by=ANN)


# --- the actions on offer -------------------------------------------------------------------------


async def test_an_edited_folder_is_read_again_without_a_restart(world: World, caplog):
    """An action that is added appears; a mistake is logged once, with its file and line."""
    other = document()
    other["metadata"] = {"id": "other:make", "title": "Other"}
    added = ActionDefinition.model_validate(other)
    problem = Problem("bad/action.yaml", 7, "is not YAML")
    watching = asyncio.ensure_future(world.actions.watch(every=5.0))
    await world.clock.settle()
    world.outside.source.catalogue = Catalogue(files={"o": added}, problems=(problem,))

    with caplog.at_level(logging.ERROR):
        await world.clock.advance(5)
        await _reloaded(world)
        await world.clock.advance(5)
        await _reloaded(world)

    assert set(world.actions.catalogue.actions) == {"other:make"}
    (record,) = [record for record in caplog.records if record.name == "bridge.services.actions"]
    assert (record.file, record.line, record.reason) == ("bad/action.yaml", 7, "is not YAML")
    watching.cancel()


async def _reloaded(world: World) -> None:
    """Wait for the thread that reads the folder."""
    await asyncio.to_thread(lambda: None)
    await world.clock.settle()


async def test_old_definitions_are_remembered_but_not_without_end(world: World):
    """Runs of many old definitions are served without reading each again, in bounded memory."""
    run = await world.ask()
    world.actions.catalogue = Catalogue(files={})
    first = await world.actions.definition_of(run)

    assert first.digest == run.definition_digest
    assert await world.actions.definition_of(run) is first
    for number in range(300):
        changed = document()
        changed["metadata"]["title"] = f"title {number}"
        made = ActionDefinition.model_validate(changed)
        world.store._memory.definitions[made.digest] = made.document
        world.store._memory.runs[run.id] = replace(run, definition_digest=made.digest)
        await world.actions.definition_of(world.store._memory.runs[run.id])
    assert len(world.actions._accepted) == 256
