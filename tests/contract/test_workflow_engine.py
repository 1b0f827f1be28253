"""What every workflow engine promises: one suite, the embedded Argo over HTTP and the fake.

What the fake has no need of (templates, pods, rotation) is shown for the embedded Argo alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bridge.adapters.argo import ArgoEngine
from bridge.domain.errors import (
    EngineForbidden,
    TemplateMissing,
    WatchExpired,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.ports import WorkflowEngine
from tests.contract.engines import (
    PATIENCE_SECONDS,
    embedded,
    node_of,
    watched,
    workflow,
)


@pytest.fixture
async def argo() -> AsyncIterator[ArgoEngine]:
    """The embedded Argo through the real adapter."""
    async with embedded() as engine:
        yield engine


# --- every engine -------------------------------------------------------------------------------


async def test_a_created_workflow_can_be_got(engine: WorkflowEngine):
    """What was submitted is found again under its name, by its uid and with its labels."""
    created = await engine.create(workflow("one"))
    found = await engine.get("one")
    assert created.name == found.name == "one"
    assert created.uid == found.uid != ""
    assert (await engine.get("one", uid=created.uid)).uid == created.uid
    assert found.labels["bridge/instance"] == "contract"
    assert found.template == "waiting"
    assert not created.ended


async def test_a_name_is_taken_once(engine: WorkflowEngine):
    """A request that is sent twice makes one workflow."""
    await engine.create(workflow("one"))
    with pytest.raises(WorkflowExists):
        await engine.create(workflow("one"))
    assert [s.name for s in (await engine.listing()).snapshots] == ["one"]


async def test_what_is_not_there_is_gone(engine: WorkflowEngine):
    """A workflow that somebody deleted is said to be gone; deleting it again is fine."""
    with pytest.raises(WorkflowGone):
        await engine.get("none")
    with pytest.raises(WorkflowGone):
        await engine.stop("none")
    await engine.create(workflow("one"))
    await engine.delete("one")
    await engine.delete("one")
    with pytest.raises(WorkflowGone):
        await engine.get("one")


async def test_everything_is_listed(engine: WorkflowEngine):
    """After a restart the bridge finds all of its workflows, however many pages they fill."""
    assert (await engine.listing()).snapshots == ()
    for number in range(5):
        await engine.create(workflow(f"w{number}"))
    listing = await engine.listing()
    assert {s.name for s in listing.snapshots} == {f"w{number}" for number in range(5)}
    assert len(listing.snapshots) == 5
    assert listing.resource_version


async def test_a_watch_tells_what_comes_after_a_listing(engine: WorkflowEngine):
    """Between a listing and the watch from it nothing is missed."""
    await engine.create(workflow("before"))
    version = (await engine.listing()).resource_version
    watching = asyncio.ensure_future(watched(engine, version, lambda e: e.snapshot.name == "after"))
    await asyncio.sleep(0)
    await engine.create(workflow("after"))
    seen = await watching
    assert (seen[-1].type, seen[-1].snapshot.name) == ("ADDED", "after")
    assert "ADDED" not in {e.type for e in seen if e.snapshot.name == "before"}


@pytest.mark.parametrize(("terminate", "shutdown"), [(False, "Stop"), (True, "Terminate")])
async def test_an_asked_end_can_be_seen(engine: WorkflowEngine, terminate: bool, shutdown: str):
    """Cancelling is taken at once and may be repeated."""
    await engine.create(workflow("one"))
    for _ in range(2):
        await engine.stop("one", terminate=terminate)
    assert (await engine.get("one")).shutdown == shutdown


async def test_an_engine_that_answers_can_be_pinged(engine: WorkflowEngine):
    """Readiness can be told without looking at any workflow."""
    await engine.ping()
    assert engine.namespace
    assert isinstance(await engine.silent_templates("speaking"), frozenset)


# --- the embedded Argo --------------------------------------------------------------------------


async def test_a_workflow_is_followed_from_its_creation_to_its_end(argo: ArgoEngine):
    """Steps, lines and the end of a run reach the bridge as they happen."""
    await argo.create(workflow("one", template="speaking", who="ann"))
    waiting = (await watched(argo, "", lambda e: e.snapshot.suspended))[-1].snapshot
    speak = node_of(waiting, "speak")
    assert (waiting.phase, waiting.ended, speak.phase) == ("Running", False, "Succeeded")
    async with argo.logs("one", pod=waiting.pod_name(speak), follow=False) as batches:
        lines = [line async for batch in batches for line in batch]
    assert {line.text for line in lines} >= {"hello ann", "", "and good bye"}
    assert {len(line.time) for line in lines} == {len("2026-11-22T10:00:00.123456789Z")}
    await argo.stop("one")
    seen = await watched(argo, waiting.resource_version, lambda e: e.snapshot.ended)
    ended = seen[-1].snapshot
    assert (ended.phase, ended.shutdown) == ("Failed", "Stop")
    assert any(node.in_exit_handler and node.phase == "Succeeded" for node in ended.nodes)
    await argo.stop("one")


async def test_a_log_is_followed_until_its_workflow_ends(argo: ArgoEngine):
    """Lines arrive while the workflow goes on, and the stream ends with it."""
    await argo.create(workflow("one", template="speaking"))
    waiting = (await watched(argo, "", lambda e: e.snapshot.suspended))[-1].snapshot
    pod = waiting.pod_name(node_of(waiting, "speak"))
    texts: list[str] = []
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        argo.logs("one", pod=pod, follow=True) as batches,
    ):
        async for batch in batches:
            texts += [line.text for line in batch]
            if "and good bye" in texts:
                await argo.stop("one", terminate=True)
    assert "hello you" in texts


async def test_the_tail_of_a_log_is_its_end(argo: ArgoEngine):
    """A failed step shows its last lines without reading a whole log."""
    await argo.create(workflow("one", template="speaking"))
    waiting = (await watched(argo, "", lambda e: e.snapshot.suspended))[-1].snapshot
    pod = waiting.pod_name(node_of(waiting, "speak"))

    async def texts(tail: int | None) -> list[str]:
        async with argo.logs("one", pod=pod, follow=False, tail=tail) as batches:
            return [line.text async for batch in batches for line in batch]

    whole = await texts(None)
    assert await texts(2) == whole[-2:]


async def test_steps_without_lines_of_their_own_are_known(argo: ArgoEngine):
    """No stream is spent on a step whose log is the executor's alone."""
    assert await argo.silent_templates("speaking") == {"keep"}
    assert await argo.silent_templates("waiting") == frozenset()
    with pytest.raises(WorkflowGone):
        await argo.silent_templates("none")


REFUSED: Mapping[str, tuple[dict[str, Any], type[Exception]]] = {
    "no template": (workflow("one", template="none"), TemplateMissing),
    "no parameter": (workflow("one", who=None), WorkflowRejected),
    "a bad name": (workflow("Bad_Name"), WorkflowRejected),
}


@pytest.mark.parametrize(("body", "error"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_workflow_that_cannot_be_is_refused(
    argo: ArgoEngine, body: dict[str, Any], error: type[Exception]
):
    """The run fails at once, with the reason."""
    with pytest.raises(error):
        await argo.create(body)
    assert (await argo.listing()).snapshots == ()


async def test_workflows_of_others_are_not_seen(argo: ArgoEngine):
    """Two bridges on one Argo do not follow each other's workflows."""
    other = workflow("other")
    other["metadata"]["labels"] = {"bridge/instance": "another"}
    await argo.create(other)
    await argo.create(workflow("own"))
    assert [s.name for s in (await argo.listing()).snapshots] == ["own"]
    seen = await watched(argo, "", lambda e: e.snapshot.name == "own")
    assert {e.snapshot.name for e in seen} == {"own"}


async def test_a_deleted_workflow_is_told(argo: ArgoEngine):
    """The bridge notices when somebody deletes a workflow under it."""
    created = await argo.create(workflow("one"))
    await argo.delete("one")
    seen = await watched(argo, created.resource_version, lambda e: e.type == "DELETED")
    assert seen[-1].snapshot.uid == created.uid


async def test_a_position_that_is_too_old_expires():
    """After a long break the bridge starts over instead of missing something."""
    async with embedded(event_window=1) as argo:
        first = await argo.create(workflow("one"))
        for number in range(5):
            await argo.create(workflow(f"w{number}"))
        with pytest.raises(WatchExpired):
            await watched(argo, first.resource_version, lambda _: True)


async def test_a_wrong_token_is_forbidden():
    """A rotated token is noticed as such, and tried again."""
    async with embedded(token="right", sent="wrong") as argo:
        with pytest.raises(EngineForbidden):
            await argo.ping()
        with pytest.raises(EngineForbidden):
            await watched(argo, "", lambda _: True)
    async with embedded(token="right", sent="right") as argo:
        await argo.ping()
