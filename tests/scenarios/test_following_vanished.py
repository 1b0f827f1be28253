"""Following workflows that are deleted, archived, replaced, abandoned, or never begun."""

from __future__ import annotations

import pytest

from tests.scenarios.making import SAID, STEPS, ended
from tests.scenarios.stage import Stage, open_stage


async def test_deletion_by_ttl_before_we_saw_the_end(stage: Stage):
    """A workflow that is gone, and in no archive, ends its run with a sentence and not never."""
    run = await stage.held()
    async with stage.argo.away():
        stage.argo.open(run.workflow)
        await stage.argo.ended(run.workflow)
        stage.argo.faults.now({"do": "delete", "name": run.workflow})

    reason = await ended(stage, run, "lost", "workflow_lost")
    assert reason.startswith("The workflow was deleted before its end was seen")
    assert run.reader.steps[:2] == ["✓ first", "⏸ waiting for hold"]
    run.reader.check_spoken("first", SAID)


async def test_deletion_by_ttl_that_shows_the_end(stage: Stage):
    """A TTL that is faster than the watch loses no step: the deletion itself tells the end."""
    stage.argo.faults.put({"workflows": [{"fault": "vanish-unseen"}]})
    run = await stage.held()
    stage.argo.open(run.workflow)

    assert (await run.reader.end())["status"] == "succeeded"
    assert run.reader.steps == STEPS
    said = run.reader.spoken("last")
    assert said == SAID[: len(said)]  # its pod went with the workflow
    assert stage.argo.engine.find(run.workflow) is None


@pytest.mark.parametrize("is_listed", [True, False])
async def test_archived_fallback(stage: Stage, monkeypatch: pytest.MonkeyPatch, *, is_listed: bool):
    """A workflow that was cleaned away while nobody looked is found in the archive, by list or get.

    The list has the archive in it, unless who asks may not read that (research/argo, 1.6).
    """
    stage.argo.faults.put({"archive": True})
    if not is_listed:
        monkeypatch.setattr(stage.argo.engine.archive, "without", lambda _live: [])
    run = await stage.held()
    async with stage.argo.away():
        stage.argo.open(run.workflow)
        await stage.argo.ended(run.workflow)
        stage.argo.faults.now({"do": "delete", "name": run.workflow})

    end = await run.reader.end()
    assert end["status"] == "succeeded"
    assert run.reader.steps[:4] == ["✓ first", "⏸ waiting for hold", "✓ hold", "✓ last"]
    run.reader.check_spoken("first", SAID)
    assert stage.argo.created() == 1


async def test_same_name_with_another_uid(stage: Stage):
    """A workflow that somebody made anew under the name is not this run's, which is lost."""
    run = await stage.held()
    async with stage.argo.away():
        stage.argo.replace(run.workflow)
        await stage.argo.at_gate(run.workflow)
        stage.argo.open(run.workflow)
        await stage.argo.ended(run.workflow)

    await ended(stage, run, "lost", "workflow_lost")
    assert run.reader.steps[:2] == ["✓ first", "⏸ waiting for hold"]
    assert run.reader.count("✓ last") == 0


async def test_same_name_with_another_uid_while_watched(stage: Stage):
    """The same when the bridge sees the deletion and the new workflow happen."""
    run = await stage.held()
    stage.argo.replace(run.workflow)

    await ended(stage, run, "lost", "workflow_lost")
    assert run.reader.count("⏸") == 1


async def test_node_left_running_under_a_terminal_phase(stage: Stage):
    """The phase of the workflow is its end, whatever its nodes say; the user sees which hung."""
    run = await stage.held()
    stage.argo.abandon(run.workflow)

    reason = await ended(stage, run, "failed", "workflow_failed")
    assert reason == "the controller gave up"
    assert "○ hold did not finish" in run.reader.steps
    assert stage.argo.workflow(run.workflow)["status"]["nodes"]


async def test_workflow_never_given_a_phase(kept):
    """A workflow that Argo never looks at is deleted after a limit, and the run says why."""
    async with open_stage(kept, stuck_seconds=1) as stage:
        stage.argo.faults.put({"workflows": [{"fault": "no-phase"}]})
        run = await stage.ask()

        reason = await ended(stage, run, "failed", "workflow_stuck")
        assert "never started it, so it was deleted" in reason
        assert stage.argo.calls(run.workflow) == ["create", "delete"]
        assert stage.argo.engine.find(run.workflow) is None


async def test_manual_retry_in_argo_reopens_a_finished_run(stage: Stage):
    """Who presses retry in Argo sees it here: the ended run stays, a new attempt goes on."""
    run = await stage.held()
    stage.argo.close(run.workflow, "not today")
    assert await ended(stage, run, "failed", "workflow_failed") == "hold failed: not today"

    await stage.argo.retry(run.workflow)
    again = await stage.successor(run)
    await again.reader.told("⏸ waiting for hold")
    stage.argo.open(again.workflow)
    end = await again.reader.end()

    assert end["status"] == "succeeded"
    assert again.workflow == run.workflow
    assert again.reader.steps == STEPS[1:]
    shown = await stage.run(again)
    assert (shown["attempt"], shown["takesOver"]) == (2, run.id)
    assert (await stage.run(run))["status"] == "failed"
    assert ("run.reopened", "argo", "retried in Argo", "done") in await stage.trail(again)
    assert stage.argo.created() == 1


async def test_manual_retry_in_argo_shown_late(stage: Stage):
    """Old states that come after the retry neither end the new attempt nor are told again."""
    run = await stage.held()
    stage.argo.faults.put(
        {
            "unary": [{"route": "list", "fault": "stale", "behind": 1}],
            "streams": [{"route": "watch", "fault": "replay"}],
        }
    )
    await stage.argo.end_watch("rotate")
    stage.argo.close(run.workflow, "not today")
    await ended(stage, run, "failed", "workflow_failed")

    await stage.argo.retry(run.workflow)
    again = await stage.successor(run)
    await again.reader.told("⏸ waiting for hold")
    stage.argo.open(again.workflow)
    assert (await again.reader.end())["status"] == "succeeded"
    assert again.reader.steps == STEPS[1:]
