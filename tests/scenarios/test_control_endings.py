"""Cancel, terminate and retry over HTTP: each asked twice, and the second time has no effect."""

from __future__ import annotations

import pytest

from tests.scenarios.making import ACCEPTED, BRIDGE, STEPS, TESTER, ended, waiting
from tests.scenarios.stage import Asked, Stage


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
