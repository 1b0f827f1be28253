"""What every workflow engine promises of gates and retries, and that both are safe to repeat.

Lost and refused answers are shown on the embedded Argo: only there is something between.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.errors import (
    EngineConflict,
    EngineError,
    EngineUnavailable,
    EngineUnreached,
    GateClosed,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.domain.workflows import Node, Snapshot
from bridge.ports import WorkflowEngine
from tests.contract.engines import embedded, watched, workflow
from tests.services.fakes import FakeEngine

OUTPUTS = {"approve": "YES", "comment": "as agreed"}
ASK = {
    "id": "wf-1",
    "name": "wf[0].ask",
    "displayName": "ask",
    "type": "Suspend",
    "phase": "Running",
}


async def at_gate(engine: WorkflowEngine, *, name: str = "one") -> Node:
    """The open gate of a new workflow."""
    await engine.create(workflow(name, template="asking"))
    if isinstance(engine, FakeEngine):
        engine.show(name, ASK)
    else:
        await watched(engine, "", lambda e: e.snapshot.name == name and e.snapshot.suspended)
    (gate,) = (await engine.get(name)).gates
    return gate


async def decide(engine: WorkflowEngine, gate: Node, *, approved: bool, name: str = "one") -> None:
    """Decide as ann."""
    outputs = OUTPUTS if approved else {}
    await engine.decide(
        name, node_id=gate.id, approved=approved, message="told by ann", outputs=outputs
    )


async def decided(engine: WorkflowEngine, gate: Node) -> Node:
    """The gate as it is now."""
    return Node((await engine.get("one")).raw_nodes[gate.id])


async def rejected(engine: WorkflowEngine) -> Snapshot:
    """A workflow that failed at its gate."""
    await decide(engine, await at_gate(engine), approved=False)
    if isinstance(engine, FakeEngine):
        engine.show("one", {**ASK, "phase": "Failed"}, phase="Failed")
        return await engine.get("one")
    return (await watched(engine, "", lambda e: e.snapshot.ended))[-1].snapshot


# --- every engine -------------------------------------------------------------------------------


@pytest.mark.parametrize(("approved", "phase"), [(True, "Succeeded"), (False, "Failed")])
async def test_a_gate_is_decided_once(engine: WorkflowEngine, approved: bool, phase: str):
    """The first decision stands with its reason; a second one, the same or not, is told so."""
    gate = await at_gate(engine)
    await decide(engine, gate, approved=approved)
    for again in (True, False):
        with pytest.raises(GateClosed):
            await decide(engine, gate, approved=again)
    found = await decided(engine, gate)
    assert (found.phase, found.message) == (phase, "told by ann")


async def test_only_the_gate_that_was_meant_is_decided(engine: WorkflowEngine):
    """An approval never opens another gate, nor one of another workflow."""
    gate = await at_gate(engine)
    other = await at_gate(engine, name="two")
    with pytest.raises(GateClosed):
        await decide(engine, Node({"id": "one"}), approved=True)
    with pytest.raises(GateClosed):
        await decide(engine, other, approved=True)
    with pytest.raises(WorkflowGone):
        await decide(engine, gate, approved=False, name="none")
    assert (await decided(engine, gate)).phase == "Running"


async def test_a_failed_workflow_runs_again(engine: WorkflowEngine):
    """A retry goes on with the same workflow, and what it ran into may be decided anew."""
    failed = await rejected(engine)
    again = await engine.retry("one")
    assert (again.name, again.uid) == ("one", failed.uid)
    assert not (await engine.get("one")).ended
    with pytest.raises(WorkflowRejected):
        await engine.retry("one")


async def test_what_has_not_failed_is_not_retried(engine: WorkflowEngine):
    """Nothing that runs or that is gone is begun a second time."""
    await at_gate(engine)
    with pytest.raises(WorkflowRejected):
        await engine.retry("one")
    with pytest.raises(WorkflowGone):
        await engine.retry("none")


# --- the embedded Argo --------------------------------------------------------------------------


async def test_an_approval_carries_its_values():
    """What the approver entered reaches the steps that ask for it."""
    async with embedded() as argo:
        gate = await at_gate(argo)
        assert dict(gate.supplied) == {"approve": None, "comment": "none"}
        await decide(argo, gate, approved=True)
        given = (await decided(argo, gate)).raw["outputs"]["parameters"]
        assert {each["name"]: each["value"] for each in given} == OUTPUTS
        ended = (await watched(argo, "", lambda e: e.snapshot.ended))[-1].snapshot
        assert ended.phase == "Succeeded"


async def test_values_that_the_gate_does_not_ask_for_are_refused():
    """An approval that cannot be carried out leaves the gate as it was."""
    async with embedded() as argo:
        gate = await at_gate(argo)
        with pytest.raises(WorkflowRejected, match="nope"):
            await argo.decide(
                "one", node_id=gate.id, approved=True, message="", outputs={"nope": "1"}
            )
        assert (await decided(argo, gate)).phase == "Running"


@pytest.mark.parametrize(
    ("route", "approved", "phase"), [("set", True, "Succeeded"), ("stop", False, "Failed")]
)
async def test_a_decision_whose_answer_was_lost_is_repeated(route: str, approved: bool, phase: str):
    """An approver who lost the connection decided once, and asking again changes nothing."""
    async with embedded(fault={"route": route, "fault": "cut-after", "times": 1}) as argo:
        gate = await at_gate(argo)
        with pytest.raises(EngineUnavailable) as lost:
            await decide(argo, gate, approved=approved)
        assert type(lost.value) is EngineUnavailable
        with pytest.raises(GateClosed):
            await decide(argo, gate, approved=approved)
        found = await decided(argo, gate)
    assert (found.phase, found.message) == (phase, "told by ann")


async def test_a_decision_that_did_not_arrive_is_repeated():
    """A connection that broke before Argo read anything costs one more request."""
    async with embedded(fault={"route": "set", "fault": "cut-before", "times": 1}) as argo:
        gate = await at_gate(argo)
        with pytest.raises(EngineUnavailable):
            await decide(argo, gate, approved=True)
        await decide(argo, gate, approved=True)
        assert (await decided(argo, gate)).phase == "Succeeded"


async def test_a_retry_whose_answer_was_lost_is_not_done_twice():
    """The second try is refused, because the first one has begun."""
    async with embedded(fault={"route": "retry", "fault": "cut-after", "times": 1}) as argo:
        failed = await rejected(argo)
        with pytest.raises(EngineUnavailable) as lost:
            await argo.retry("one")
        assert type(lost.value) is EngineUnavailable
        with pytest.raises(WorkflowRejected, match="Cannot retry a workflow in phase"):
            await argo.retry("one")
        assert (await argo.get("one")).uid == failed.uid


async def test_two_retries_at_once_are_one():
    """A workflow that somebody else was just retrying is not disturbed."""
    async with embedded(fault={"route": "retry", "fault": "modified", "times": 1}) as argo:
        failed = await rejected(argo)
        with pytest.raises(EngineConflict, match="object has been modified"):
            await argo.retry("one")
        assert (await argo.get("one")).ended
        assert (await argo.retry("one")).uid == failed.uid


FAILURES: dict[str, tuple[dict[str, Any], type[EngineError], int | None]] = {
    "limited": ({"fault": "rate-limit"}, EngineUnreached, 1),
    "limited by a proxy": ({"fault": "rate-limit", "retry_after": 600}, EngineUnreached, 60),
    "starting": ({"fault": "unavailable", "retry_after": 3}, EngineUnreached, 3),
    "a page": ({"fault": "html", "retry_after": 3}, EngineUnavailable, 3),
    "internal": ({"fault": "internal"}, EngineUnavailable, None),
    "cut": ({"fault": "cut-before"}, EngineUnavailable, None),
}


@pytest.mark.parametrize(("fault", "kind", "wait"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_creation_says_whether_it_may_have_been_done(
    fault: dict[str, Any], kind: type[EngineError], wait: int | None
):
    """A run is looked for before it is asked for again, where and only where that is needed."""
    async with embedded(fault={"route": "create", "times": 1, **fault}) as argo:
        with pytest.raises(EngineUnavailable) as caught:
            await argo.create(workflow("one"))
        assert (type(caught.value), caught.value.retry_after) == (kind, wait)
        await argo.create(workflow("one"))
