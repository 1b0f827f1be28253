"""Following and submitting while Argo, or what stands before it, answers badly or not at all."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.scenarios.making import succeeded
from tests.scenarios.stage import FAST, Stage

RETRY_AFTER = 8
"""Far above the bridge's own first waits."""


def gaps(times: list[float]) -> list[float]:
    """The bridge's seconds between requests."""
    return [(after - before) * FAST for before, after in pairwise(times)]


async def test_argo_restart(stage: Stage):
    """A restart of Argo Server in the middle of a run is not seen by whoever reads along."""
    run = await stage.held()
    before = stage.argo.watches
    async with stage.argo.away():
        stage.argo.open(run.workflow)
        await stage.argo.ended(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.watches > before


async def test_503_and_cut_connections_during_an_argo_restart(stage: Stage):
    """Connections cut, refused and answered 503 cost no line and make no second workflow."""
    run = await stage.held(key="one")
    stage.argo.faults.put(
        {
            "unary": [{"fault": "unavailable", "times": 6}],
            "streams": [{"fault": "unavailable", "times": 2}],
        }
    )
    async with stage.argo.away():
        other = await stage.ask(name="other", key="two")
        await other.reader.told("Argo is not reachable")
        stage.argo.open(run.workflow)

    await succeeded(stage, run)
    await other.reader.told("⏸ waiting for hold")
    stage.argo.open(other.workflow)
    assert (await other.reader.end())["status"] == "succeeded"
    assert other.reader.count("Argo answers again") == 1
    assert stage.argo.created() == 2


async def test_a_submission_that_was_cut_after_it_was_applied(stage: Stage):
    """An answer that was lost on the way leads to the workflow that is there, not to another."""
    stage.argo.faults.put({"unary": [{"route": "create", "fault": "cut-after", "times": 1}]})
    run = await stage.held()
    stage.argo.open(run.workflow)

    await succeeded(stage, run)


@pytest.mark.parametrize("route", ["create", "list"])
async def test_429_with_retry_after(stage: Stage, route: str):
    """A rate limit is waited out for as long as it says; the run goes on by itself."""
    limit = {"fault": "rate-limit", "times": 1, "retry_after": RETRY_AFTER}
    await limited(stage, route, limit, told="Argo limits the rate of requests")


@pytest.mark.parametrize("route", ["create", "list"])
async def test_5xx_with_retry_after(stage: Stage, route: str):
    """A server that says when it will be back is asked then, and not before."""
    limit = {"fault": "unavailable", "times": 1, "retry_after": RETRY_AFTER}
    await limited(stage, route, limit, told="connection error")


async def limited(stage: Stage, route: str, limit: dict[str, object], *, told: str) -> None:
    """One refusal of a route that names a time: the run waits so long, says why, and succeeds."""
    stage.argo.faults.put({"unary": [{"route": route, **limit}]})
    if route == "list":
        assert stage.argo.faults.now({"do": "expire"})
    run = await stage.held()
    stage.argo.open(run.workflow)
    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["unary"] == [1]
    method = "POST" if route == "create" else "GET"
    waited = gaps(stage.argo.arrived(method, "/workflows/argo-workflows"))
    assert any(RETRY_AFTER <= gap < 2 * RETRY_AFTER for gap in waited), waited
    if route == "create":
        assert run.reader.count(told) == 1
        assert run.reader.count("Argo answers again") == 1


async def test_429_with_retry_after_on_a_watch(stage: Stage):
    """A limited watch waits, then shows what happened meanwhile."""
    run = await stage.held()
    limit = {"route": "watch", "fault": "rate-limit", "times": 1, "retry_after": RETRY_AFTER}
    stage.argo.faults.put({"streams": [limit]})
    assert stage.argo.faults.now({"do": "rotate"})
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    waited = gaps(stage.argo.arrived("GET", "/workflow-events/argo-workflows"))
    assert RETRY_AFTER <= waited[-1] < 2 * RETRY_AFTER


async def test_html_from_a_proxy(stage: Stage):
    """A page in place of an answer is told as what it is, and the run goes on after it."""
    stage.argo.faults.put(
        {
            "unary": [{"route": ["create", "list", "get"], "fault": "html", "times": 5}],
            "streams": [{"route": ["watch", "log"], "fault": "html", "times": 2}],
        }
    )
    assert stage.argo.faults.now({"do": "rotate"})
    run = await stage.held()
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    told = "answered 502 with a web page in place of Argo; check ARGO_WORKFLOWS_URL"
    assert run.reader.count(told) == 1
    assert stage.argo.faults.state()["applied"]["streams"] == [2]


@pytest.mark.parametrize("fault", ["internal", "modified", "unavailable", "html", "rate-limit"])
async def test_a_refusal_after_which_the_workflow_is_there(stage: Stage, fault: str):
    """Whatever an answer says that hid a success, there is no second workflow.

    Nor does it take a watch to find the first one.
    """
    refusal = {"route": "create", "fault": fault, "applied": True, "times": 1}
    stage.argo.faults.put({"unary": [refusal]})
    assert stage.argo.faults.now({"do": "silent", "route": "watch"})
    run = await stage.held()
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["unary"] == [1]
