"""What people ask of a run that is under way, over HTTP, carried out in Argo and kept in the trail.

Each verb is asked twice: the second time is an answer and not an effect.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scenarios.argo import until
from tests.scenarios.making import STEPS, ended
from tests.scenarios.stage import Asked, Stage, open_stage

TESTER, APPROVER, BRIDGE = "service:tester", "service:approver", "bridge"
ACCEPTED = ("run.accept", TESTER, "", "done")


async def waiting(stage: Stage, action: str = "work:gate", **asked: Any) -> Asked:
    """A run that waits for an approval."""
    run = await stage.ask(action, **asked)
    await run.reader.told("⏸ waiting for approval by service:tester or service:approver")
    await stage.until(run, "waiting")
    return run


# --- ending --------------------------------------------------------------------------------------


async def test_cancel_stops_and_rolls_back(stage: Stage):
    """A cancelled run ends as cancelled, with its exit handler run, and says who asked and why."""
    run = await waiting(stage)

    first, second = [await stage.act(run, "cancel", reason="wrong name") for _ in range(2)]

    assert (first[0], second[0]) == (202, 202)
    assert await ended(stage, run, "cancelled", "cancelled") == f"Cancelled by {TESTER}."
    assert run.reader.count(f"cancel requested by {TESTER}: wrong name") == 1
    assert "✓ tidy" in run.reader.steps
    run.reader.check_spoken("tidy", ["tidied up after Failed"])
    assert stage.argo.calls(run.workflow) == ["create", "stop"]
    assert (await stage.act(run, "cancel"))[0] == 200
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.cancel", TESTER, "wrong name", "asked"),
        ("run.cancel.settled", BRIDGE, f"asked by {TESTER}", "stopped"),
    ]


async def test_terminate_ends_at_once_without_a_rollback(stage: Stage):
    """A terminated run ends without its exit handler; that is a second, explicit step."""
    run = await waiting(stage)

    first, second = [await stage.act(run, "terminate", reason="it hangs") for _ in range(2)]

    assert (first[0], second[0]) == (202, 202)
    assert await ended(stage, run, "cancelled", "cancelled") == f"Cancelled by {TESTER}."
    assert "✓ tidy" not in run.reader.steps
    assert run.reader.count("terminated; nothing is rolled back") == 1
    assert stage.argo.calls(run.workflow) == ["create", "terminate"]
    assert (await stage.act(run, "terminate"))[0] == 200
    assert await stage.trail(run) == [
        ACCEPTED,
        ("run.terminate", TESTER, "it hangs", "asked"),
        ("run.terminate.settled", BRIDGE, f"asked by {TESTER}", "terminated"),
    ]


async def test_a_cancel_while_argo_is_away(stage: Stage):
    """A cancel is kept until Argo can be asked; a lost answer does not roll back twice."""
    run = await waiting(stage)
    stage.argo.faults.put({"unary": [{"route": "stop", "fault": "cut-after", "times": 1}]})
    async with stage.argo.away():
        assert (await stage.act(run, "cancel"))[0] == 202

    await ended(stage, run, "cancelled", "cancelled")
    assert stage.argo.calls(run.workflow)[:2] == ["create", "stop"]
    assert run.reader.count("the workflow is being stopped") == 1
    assert run.reader.steps.count("✓ tidy") == 1


async def test_a_cancel_before_there_is_a_workflow(stage: Stage):
    """A run that was never submitted ends as cancelled and makes nothing in Argo."""
    async with stage.argo.away():
        run = await stage.ask("work:gate")
        await run.reader.told("Argo is not reachable")
        assert (await stage.act(run, "cancel"))[0] == 202

    end = await run.reader.end()
    assert (end["status"], end["error"]["code"]) == ("cancelled", "cancelled")
    assert stage.argo.created() == 0


# --- trying again --------------------------------------------------------------------------------


async def failed(stage: Stage) -> Asked:
    """A run whose gate somebody failed in Argo."""
    run = await stage.held(key="task-1")
    stage.argo.close(run.workflow, "not today")
    assert await ended(stage, run, "failed", "workflow_failed") == "hold failed: not today"
    return run


async def test_retry_as_a_new_attempt(stage: Stage):
    """A failed run tried again is another run with another workflow; asked twice it is one."""
    run = await failed(stage)

    first, second = [await stage.act(run, "retry", reason="fixed it") for _ in range(2)]

    assert (first[0], second[0]) == (202, 200)
    assert first[1]["id"] == second[1]["id"] == (await stage.run(run))["supersededBy"]
    again = stage.asked(first[1])
    await again.reader.told("⏸ waiting for hold")
    stage.argo.open(again.workflow)
    assert (await again.reader.end())["status"] == "succeeded"
    assert again.reader.steps == STEPS
    assert again.workflow != run.workflow
    assert (await stage.run(again))["attempt"] == 2
    assert stage.argo.created() == 2
    assert await stage.trail(again) == [("run.retry", TESTER, "fixed it", "done")]


async def test_retry_in_argo(stage: Stage):
    """A failed run can go on where it failed: the same workflow, only what failed runs again."""
    run = await failed(stage)
    await stage.argo.a_second_later(run.workflow)

    first, second = [await stage.act(run, "retry", mode="workflow") for _ in range(2)]

    assert (first[0], second[0]) == (202, 200)
    assert first[1]["id"] == second[1]["id"]
    again = stage.asked(first[1])
    await again.reader.told("⏸ waiting for hold")
    stage.argo.open(again.workflow)
    assert (await again.reader.end())["status"] == "succeeded"
    assert again.reader.steps == STEPS[1:]
    assert again.workflow == run.workflow
    assert stage.argo.calls(run.workflow) == ["create", "retry"]


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
async def test_retry_in_argo_whose_answer_is_lost(stage: Stage, fault: str):
    """A lost answer to the retry leads to one retry in Argo, whether or not it had been done."""
    run = await failed(stage)
    await stage.argo.a_second_later(run.workflow)
    stage.argo.faults.put({"unary": [{"route": "retry", "fault": fault, "times": 1}]})

    again = stage.asked((await stage.act(run, "retry", mode="workflow"))[1])
    await again.reader.told("⏸ waiting for hold")
    stage.argo.open(again.workflow)

    assert (await again.reader.end())["status"] == "succeeded"
    assert again.reader.steps == STEPS[1:]
    assert stage.argo.calls(run.workflow) == ["create", "retry"]


async def test_a_run_that_goes_well_is_not_tried_again(stage: Stage):
    """There is nothing to retry in an open run."""
    run = await stage.held()

    status, problem = await stage.act(run, "retry")

    assert (status, problem["code"]) == (409, "not_retryable")


# --- deciding ------------------------------------------------------------------------------------


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

    codes = [answer[1].get("code", "heard") for answer in answers]
    assert codes.count("heard") == 1 or (codes == ["already_decided", "heard", "heard"])
    assert "already_decided" in codes
    told = next(answer[1]["detail"] for answer in answers if answer[0] == 409)
    assert " already" in told
    await run.reader.end()
    assert len(stage.argo.calls(run.workflow)) == 2
    late, problem = await stage.act(run, "reject", by="approver", reason="later")
    assert (late, problem["code"]) == (409, "already_decided")
    refusals = [record for record in await stage.trail(run) if record[3] == "already_decided"]
    assert len(refusals) == codes.count("already_decided") + 1


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
    """Others are refused with the names of those who may."""
    run = await waiting(stage)

    status, problem = await stage.act(run, "approve", by="other")

    assert (status, problem["code"]) == (403, "forbidden")
    assert APPROVER in problem["detail"]
    assert (await stage.trail(run))[-1] == ("run.approve", "service:other", "", "forbidden")


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


async def test_resume_that_says_200_and_did_nothing(stage: Stage):
    """An approval that Argo swallowed is given again until the gate is open; the trail waits."""
    ignored = {"route": "set", "fault": "ignore", "times": 3}
    stage.argo.faults.put({"unary": [ignored]})
    run = await waiting(stage)

    await stage.act(run, "approve", by="approver", reason="as agreed")
    await until(lambda: stage.argo.faults.state()["applied"]["unary"] == [2])
    assert [record[0] for record in await stage.trail(run)] == ["run.accept", "run.approve"]

    assert (await run.reader.end())["status"] == "succeeded"
    assert run.reader.count("approved by") == 1
    assert stage.argo.calls(run.workflow) == ["create", "set"]
    assert ("run.approve.settled", BRIDGE, f"asked by {APPROVER}", "done") in await stage.trail(run)


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


# --- the trail -----------------------------------------------------------------------------------


async def test_a_command_outlives_the_bridge(kept, argo):
    """An approval that was accepted is carried out by whoever has the run after a restart."""
    async with open_stage(kept, argo=argo) as stage:
        run = await waiting(stage)
        argo.faults.put({"unary": [{"route": "set", "fault": "cut-before"}]})
        await stage.act(run, "approve", by="approver", reason="as agreed")
        await until(lambda: argo.faults.state()["applied"]["unary"][0] > 1)
    argo.faults.clear()

    async with open_stage(kept, argo=argo) as stage:
        reader = stage.asked(await stage.run(run)).reader
        assert (await reader.end())["status"] == "succeeded"
        trail = await stage.trail(run)
    assert argo.calls(run.workflow) == ["create", "set"]
    assert [record[0] for record in trail] == ["run.accept", "run.approve", "run.approve.settled"]


async def test_the_trail_is_append_only(stage: Stage):
    """No route changes or removes a record; every record keeps its number, time and words."""
    run = await waiting(stage)
    before = (await stage.http.get("/v1/audit")).json()["records"]

    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/v1/audit", f"/v1/audit/{before[0]['number']}"):
            answer = await stage.http.request(method, path, json={})
            assert answer.status_code in {404, 405}
    await stage.act(run, "cancel")
    await run.reader.end()

    after = (await stage.http.get("/v1/audit")).json()["records"]
    assert after[-len(before) :] == before
    assert len(after) > len(before)
    numbers = [record["number"] for record in after]
    assert numbers == sorted(numbers, reverse=True)


def gate_of(stage: Stage, run: Asked) -> dict[str, Any]:
    """The approval's node as Argo shows it."""
    nodes = stage.argo.workflow(run.workflow)["status"]["nodes"].values()
    return next(node for node in nodes if node["displayName"] == "approve")
