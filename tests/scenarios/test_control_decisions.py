"""Approve and reject over HTTP: decided once, by whom the definition names, and told as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scenarios.argo import until
from tests.scenarios.making import (
    ACCEPTED,
    APPROVER,
    BRIDGE,
    OTHER,
    TESTER,
    ended,
    waiting,
)
from tests.scenarios.stage import Asked, Stage


async def test_approve_with_a_reason(stage: Stage):
    """An approved run goes on; the log and Argo name who approved and why, once."""
    run = await waiting(stage)

    first, second = [
        await stage.act(run, "approve", by="approver", reason="as agreed") for _ in range(2)
    ]

    assert first[0] in {200, 202}
    assert second[0] in {200, 202}
    assert (await run.reader.end())["status"] == "succeeded"
    assert run.reader.count(f"approved by {APPROVER}: as agreed") == 1
    run.reader.check_spoken("work", ["made a small one"])
    assert stage.argo.calls(run.workflow) == ["create", "set"]
    assert gate_of(stage, run)["message"] == f"approved by {APPROVER}: as agreed"
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.approve", APPROVER, "as agreed", "asked"),
        ("run.approve.settled", BRIDGE, f"asked by {APPROVER}", "done"),
    ]


async def test_approve_with_inputs(stage: Stage):
    """What the approver fills in is checked, and is what the workflow works with."""
    run = await waiting(stage)
    refused = [
        await stage.act(run, "approve", by="approver", inputs=wrong)
        for wrong in ({"size": "huge"}, {"size": "{{=1+1}}"}, {"colour": "red"})
    ]
    assert [(status, problem["code"]) for status, problem in refused] == [
        (422, "input_invalid")
    ] * 3

    assert (await stage.act(run, "approve", by="approver", inputs={"size": "large"}))[0] in {
        200,
        202,
    }

    assert (await run.reader.end())["status"] == "succeeded"
    run.reader.check_spoken("work", ["made a large one"])
    supplied = gate_of(stage, run)["outputs"]["parameters"]
    assert [parameter["value"] for parameter in supplied] == ["large"]


async def test_reject_with_a_reason(stage: Stage):
    """A rejected run fails with who rejected it and why, and is rolled back."""
    run = await waiting(stage)

    first, second = [
        await stage.act(run, "reject", by="approver", reason="too big") for _ in range(2)
    ]

    assert first[0] in {200, 202}
    assert second[0] in {200, 202}
    reason = await ended(stage, run, "failed", "workflow_failed")
    assert reason == f"approve failed: rejected by {APPROVER}: too big"
    assert "✓ tidy" in run.reader.steps
    assert run.reader.count(f"● rejected by {APPROVER}") == 0
    assert stage.argo.calls(run.workflow) == ["create", "stop"]
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.reject", APPROVER, "too big", "asked"),
        ("run.reject.settled", BRIDGE, f"asked by {APPROVER}", "done"),
    ]


async def test_double_decisions(stage: Stage):
    """Of two who decide at once one is heard; the other is told by whom it was decided."""
    held_back = {"route": ["set", "stop"], "fault": "delay", "seconds": 0.1}
    stage.argo.faults.put({"unary": [held_back]})
    run = await waiting(stage, "work:open")

    answers = await asyncio.gather(
        stage.act(run, "approve", by="approver", reason="fine"),
        stage.act(run, "reject", by="other", reason="no"),
        stage.act(run, "approve", by="other"),
    )

    codes = sorted(answer[1].get("code", "heard") for answer in answers)
    assert codes == ["already_decided", "already_decided", "heard"]
    told = next(answer[1]["detail"] for answer in answers if answer[0] == 409)
    assert " already" in told
    await run.reader.end()
    assert len(stage.argo.calls(run.workflow)) == 2
    late, problem = await stage.act(run, "reject", by="approver", reason="later")
    assert (late, problem["code"]) == (409, "already_decided")
    refusals = [record for record in await stage.trail(run) if record[3] == "already_decided"]
    assert len(refusals) == 3


async def test_a_decision_by_the_requester_is_refused(stage: Stage):
    """Four eyes: whoever asked for it cannot approve it, although the definition names them."""
    run = await waiting(stage)

    for verb in ("approve", "reject"):
        status, problem = await stage.act(run, verb, by="tester")
        assert (status, problem["code"]) == (403, "forbidden")
        assert "somebody else has to" in problem["detail"]

    assert (await stage.run(run))["status"] == "waiting"
    assert stage.argo.calls(run.workflow) == ["create"]
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.approve", TESTER, "", "forbidden"),
        ("run.reject", TESTER, "", "forbidden"),
    ]


async def test_a_decision_by_somebody_who_is_not_named_is_refused(stage: Stage):
    """An admin is refused with the names of those who may; for others there is no such run."""
    run = await waiting(stage)

    admin, told = await stage.act(run, "approve", by="auditor")
    other, untold = await stage.act(run, "approve", by="other")

    assert (admin, told["code"]) == (403, "forbidden")
    assert APPROVER in told["detail"]
    assert (other, untold["code"]) == (404, "run_unknown")
    assert (await stage.trail(run))[-2:] == [
        ("run.approve", "service:auditor", "", "forbidden"),
        ("run.approve", OTHER, "", "run_unknown"),
    ]


async def test_approval_timeout(stage: Stage):
    """What nobody approves in time is rejected, says so, and is rolled back."""
    run = await stage.ask("work:timed")

    reason = await ended(stage, run, "failed", "workflow_failed")

    assert reason == "approve failed: rejected by bridge: nobody decided within 1 s"
    assert "✓ tidy" in run.reader.steps
    assert stage.argo.calls(run.workflow) == ["create", "stop"]
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.reject", BRIDGE, "nobody decided within 1 s", "asked"),
        ("run.reject.settled", BRIDGE, "asked by bridge", "done"),
    ]
    assert (await stage.act(run, "approve", by="approver"))[1]["code"] == "already_decided"


@pytest.mark.parametrize(
    ("verb", "call", "status"), [("approve", "set", "succeeded"), ("reject", "stop", "failed")]
)
async def test_resume_that_says_200_and_did_nothing(
    stage: Stage, verb: str, call: str, status: str
):
    """A decision that Argo swallowed is made again until the gate shows it; the trail waits."""
    stage.argo.faults.put({"unary": [{"route": call, "fault": "ignore", "times": 3}]})
    run = await waiting(stage)

    await stage.act(run, verb, by="approver", reason="as agreed")
    await until(lambda: stage.argo.faults.state()["applied"]["unary"] == [2])
    assert [record[0] for record in await stage.trail(run)] == ["run.accept", f"run.{verb}"]

    assert (await run.reader.end())["status"] == status
    assert stage.argo.calls(run.workflow) == ["create", call]
    assert await stage.trail(run) == [
        ACCEPTED,
        (f"run.{verb}", APPROVER, "as agreed", "asked"),
        (f"run.{verb}.settled", BRIDGE, f"asked by {APPROVER}", "done"),
    ]


async def test_a_rejection_whose_answer_is_lost(stage: Stage):
    """A lost answer does not reject twice, and the run ends with its reason."""
    stage.argo.faults.put({"unary": [{"route": "stop", "fault": "cut-after", "times": 1}]})
    run = await waiting(stage)

    await stage.act(run, "reject", by="approver", reason="no")

    reason = await ended(stage, run, "failed", "workflow_failed")
    assert reason == f"approve failed: rejected by {APPROVER}: no"
    assert stage.argo.calls(run.workflow) == ["create", "stop"]


async def test_decided_in_argo_itself(stage: Stage):
    """Who decides here what was decided in Argo before learns it, and changes nothing."""
    run = await waiting(stage)
    stage.argo.close(run.workflow, "no, says the admin", gate="approve")

    await ended(stage, run, "failed", "workflow_failed")
    status, problem = await stage.act(run, "approve", by="approver")

    assert (status, problem["code"]) == (409, "not_waiting")
    assert stage.argo.calls(run.workflow) == ["create"]


def gate_of(stage: Stage, run: Asked) -> dict[str, Any]:
    """The approval's node as Argo shows it."""
    nodes = stage.argo.workflow(run.workflow)["status"]["nodes"].values()
    return next(node for node in nodes if node["displayName"] == "approve")
