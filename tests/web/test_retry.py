"""``POST /v1/runs/{id}/retry``, and how attempts and locks are shown."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.runs import RunChanges, RunStatus
from tests.web.making import GUARDED, THING, Rig, bridge_for, settings_for

ENDS = (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST)


async def shown(rig: Rig, run_id: str) -> dict[str, Any]:
    """A run."""
    run: dict[str, Any] = (await rig.http.get(f"/v1/runs/{run_id}")).json()
    return run


@pytest.mark.parametrize("status", ENDS)
async def test_what_ended_badly_is_tried_again_once(status: RunStatus):
    """The button makes one new attempt, however often it is pressed, and links both ways."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.end(run_id, status=status)
        first = await rig.http.post(f"/v1/runs/{run_id}/retry", json={"reason": "flaky"})
        again = await rig.http.post(f"/v1/runs/{run_id}/retry")
        old = await shown(rig, run_id)
        new = await shown(rig, first.json()["id"])
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] != run_id
    assert first.headers["location"] == again.headers["location"] == new["links"]["self"]
    assert (new["attempt"], new["takesOver"], new["supersededBy"]) == (2, None, None)
    assert new["workflow"]["name"] != old["workflow"]["name"]
    assert old["supersededBy"] == new["id"]
    assert new["requestedBy"] == "service:tester"


async def test_the_failed_steps_of_a_workflow_are_run_again():
    """A long workflow that failed at its end need not begin anew."""
    async with bridge_for() as rig:
        run = await rig.waiting()
        await rig.end(run.id)
        answer = await rig.http.post(f"/v1/runs/{run.id}/retry", json={"mode": "workflow"})
    assert answer.status_code == 202
    assert answer.json()["takesOver"] == run.id
    assert answer.json()["workflow"]["name"] == run.workflow_name


async def test_a_run_that_never_had_a_workflow_has_none_to_go_on_with():
    """The caller is told to ask for a new attempt instead."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.end(run_id)
        answer = await rig.http.post(f"/v1/runs/{run_id}/retry", json={"mode": "workflow"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert "new attempt" in answer.json()["detail"]


async def test_what_is_open_or_went_well_is_not_tried_again():
    """Nobody makes a second thing by a click too many."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        running = await rig.http.post(f"/v1/runs/{run_id}/retry")
        for status in (RunStatus.RUNNING, RunStatus.REGISTERING):
            await rig.bridge.journal.write(run_id, changes=RunChanges(status=status))
        await rig.end(run_id, status=RunStatus.SUCCEEDED)
        succeeded = await rig.http.post(f"/v1/runs/{run_id}/retry")
        listed = (await rig.http.get("/v1/runs")).json()["runs"]
    for answer in (running, succeeded):
        assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert len(listed) == 1


async def test_a_draining_bridge_begins_no_new_attempt():
    """During a rollout a retry is told to come again, and is not half done."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.end(run_id)
        rig.bridge.drain()
        refused = await rig.http.post(f"/v1/runs/{run_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1


# --- locks ------------------------------------------------------------------------------------


async def test_a_held_lock_names_and_links_the_run_that_has_it():
    """Who asks for a second run on the same thing gets a link to the first."""
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        first = await rig.accepted()
        holder = await shown(rig, first)
        refused = await rig.http.post("/v1/runs", json=THING)
        other = await rig.http.post("/v1/runs", json={**THING, "input": {"name": "two"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "lock_held")
    assert refused.json()["run"] == first
    assert refused.json()["links"] == {"run": f"/v1/runs/{first}"}
    assert refused.headers["link"] == f'</v1/runs/{first}>; rel="related"'
    assert holder["lock"] == {"key": "thing/one", "held": True}
    assert other.status_code == 202


async def test_a_queued_run_shows_that_it_waits_for_its_lock():
    """A run that waits its turn says for what; one that has ended holds nothing."""
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        first = await rig.accepted()
        queued = (await rig.http.post("/v1/runs", json={**THING, "action": "thing:queue"})).json()
        await rig.end(first)
        ended = await shown(rig, first)
    assert queued["lock"] == {"key": "thing/one", "held": False}
    assert ended["lock"] == {"key": "thing/one", "held": False}


async def test_a_retry_of_what_somebody_else_works_on_is_refused():
    """An old attempt cannot be revived into the work of a new run."""
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        first = await rig.accepted()
        await rig.end(first)
        second = await rig.accepted()
        answer = await rig.http.post(f"/v1/runs/{first}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "lock_held")
    assert answer.json()["run"] == second
