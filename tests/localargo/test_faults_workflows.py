"""What becomes of workflows under faults: never looked at, deleted too early, archived."""

from __future__ import annotations

import dataclasses

import pytest

from tests.localargo.reading import (
    EVENTS,
    SMALL,
    SSE,
    WORKFLOWS,
    put,
    reading,
    recorded,
    suspended,
)

ARCHIVE = "/api/v1/archived-workflows"
STATUS = "workflows.argoproj.io/workflow-archiving-status"


async def test_no_phase_is_never_looked_at(faulty):
    """Created, no phase: stop, terminate and resume succeed without effect, delete works."""
    await put(faulty, workflows=[{"fault": "no-phase", "template": "suspend-only", "times": 1}])
    await faulty.create("suspend-only", "stuck")
    await suspended(faulty, "other")  # the controller has looked at what came later
    for action in ("stop", "terminate"):
        answer = await faulty.put("stuck", action)
        assert answer["spec"]["shutdown"].lower() == action
    await faulty.put("stuck", "resume")
    status = (await faulty.call("GET", f"{WORKFLOWS}/stuck?fields=status"))["status"]
    assert {key for key, value in status.items() if value} == {"storedTemplates"}
    real = recorded("stuck-without-phase", call="delete")
    answer = await faulty.http.delete(f"{WORKFLOWS}/stuck")
    assert (answer.status_code, answer.text) == (real["status"], real["body"])
    assert faulty.faults.state()["applied"]["workflows"] == [1]


async def test_fates_are_for_their_template(faulty):
    """A rule for one template leaves the workflows of others alone."""
    await put(faulty, workflows=[{"fault": "no-phase", "template": "ttl"}])
    await suspended(faulty, "w")


@pytest.mark.parametrize(
    ("fault", "types"),
    [("vanish", ["MODIFIED", "DELETED"]), ("vanish-unseen", ["DELETED"])],
)
async def test_vanish_deletes_what_has_ended(faulty, fault, types):
    """DELETED comes right after the end, or carries the final state that nobody saw before."""
    await put(faulty, workflows=[{"fault": fault}])
    await suspended(faulty, "w")
    async with reading(faulty) as stream:
        await stream.until(1)
        await faulty.put("w", "resume")
        await stream.until(2 + len(types))
    assert stream.shown() == [
        ("ADDED", "Running"),
        ("MODIFIED", "Running"),  # the resumed node
        *((type_, "Succeeded") for type_ in types),
    ]
    assert (await faulty.http.get(f"{WORKFLOWS}/w")).status_code == 404


async def ended(argo, name):
    """A workflow that has ended and was deleted; its last state."""
    await suspended(argo, name, run=name)
    await argo.put(name, "resume")
    state = await argo.end(name)
    await argo.call("DELETE", f"{WORKFLOWS}/{name}")
    return state


async def test_archive_answers_for_what_was_deleted(faulty):
    """GET by name or uid, the list and the archive's own routes show a deleted workflow."""
    await put(faulty, archive=True)
    state = await ended(faulty, "w")
    uid = state["metadata"]["uid"]
    for query in ("", f"?uid={uid}"):
        found = await faulty.call("GET", f"{WORKFLOWS}/w{query}")
        labels = {**state["metadata"]["labels"], STATUS: "Persisted"}
        assert found["metadata"] == {**state["metadata"], "labels": labels}
        assert found["status"] == state["status"]
    await suspended(faulty, "live", run="live")
    listed = (await faulty.call("GET", WORKFLOWS))["items"]
    assert [item["metadata"]["name"] for item in listed] == ["live", "w"]
    partial = (await faulty.call("GET", ARCHIVE))["items"]
    assert [item["metadata"]["uid"] for item in partial] == [uid]
    assert "nodes" not in partial[0]["status"]
    assert (await faulty.call("GET", f"{ARCHIVE}/{uid}"))["status"] == state["status"]
    await faulty.call("DELETE", f"{ARCHIVE}/{uid}")
    assert await faulty.refused("GET", f"{ARCHIVE}/{uid}") == (404, 5, "not found")
    assert (await faulty.http.get(f"{WORKFLOWS}/w")).status_code == 404


async def test_archive_holds_what_ended_while_it_was_on(faulty):
    """What ended before is not in it, what still exists is listed once, and off means off."""
    await ended(faulty, "before")
    await put(faulty, archive=True)
    assert (await faulty.http.get(f"{WORKFLOWS}/before")).status_code == 404
    await ended(faulty, "gone")
    await suspended(faulty, "kept")
    await faulty.put("kept", "resume")
    await faulty.end("kept")
    listed = (await faulty.call("GET", WORKFLOWS))["items"]
    assert [item["metadata"]["name"] for item in listed] == ["kept", "gone"]
    await put(faulty)
    listed = (await faulty.call("GET", WORKFLOWS))["items"]
    assert [item["metadata"]["name"] for item in listed] == ["kept"]
    assert (await faulty.http.get(f"{WORKFLOWS}/gone")).status_code == 404
    assert (await faulty.call("GET", ARCHIVE))["items"] is None


async def test_archive_tells_names_used_twice_apart(faulty):
    """By uid the old workflow, by name the live one; a uid that nobody had is the recorded 500."""
    await put(faulty, archive=True)
    old = (await ended(faulty, "w"))["metadata"]["uid"]
    new = (await suspended(faulty, "w"))["metadata"]["uid"]
    by_uid = await faulty.call("GET", f"{WORKFLOWS}/w?uid={old}&fields=metadata.uid")
    by_name = await faulty.call("GET", f"{WORKFLOWS}/w?fields=metadata.uid")
    assert [found["metadata"]["uid"] for found in (by_uid, by_name)] == [old, new]
    real = recorded("get-workflow", status=500)
    answer = await faulty.http.get(f"{WORKFLOWS}/w?uid=00000000-0000-0000-0000-000000000000")
    assert (answer.status_code, answer.text) == (500, real["body"])


async def test_archive_off_knows_nothing(faulty):
    """Without the archive a deleted workflow is 404, and another uid the recorded 500."""
    uid = (await ended(faulty, "w"))["metadata"]["uid"]
    missing = (404, 5, 'workflows.argoproj.io "w" not found')
    assert await faulty.refused("GET", f"{WORKFLOWS}/w?uid={uid}") == missing
    await suspended(faulty, "w")
    answer = await faulty.http.get(f"{WORKFLOWS}/w?uid={uid}")
    assert answer.text == recorded("get-workflow", status=500)["body"]
    off = (500, 13, "getting archived workflows not supported")
    assert await faulty.refused("GET", f"{ARCHIVE}/{uid}") == off


async def test_archived_names_open_watches_that_stay_silent(quick):
    """A watch by the name of an archived workflow opens and never shows it; its log is empty."""
    await put(quick, archive=True)
    await ended(quick, "w")
    query = f"{SMALL}&listOptions.fieldSelector=metadata.name%3Dw"
    async with reading(quick, query) as stream:
        assert stream.answer.status_code == 200
        await stream.more()
        assert stream.raw.strip(b":\n") == b""
    log = await quick.http.get(f"{WORKFLOWS}/w/log?logOptions.container=main")
    assert (log.status_code, log.content) == (200, b"")
    answer = await quick.http.get(f"{EVENTS}?{query[:-1]}x", headers=SSE)
    assert answer.status_code == 404


async def test_retry_is_looked_at_at_once(faulty):
    """A manual retry: for an instant no phase, then Running, though the next look would be late."""
    await faulty.create("always-fails", "w")
    failed = await faulty.end("w")
    settings = faulty.engine.settings
    faulty.engine.settings = dataclasses.replace(settings, requeue_seconds=60)
    async with reading(faulty) as stream:
        await stream.until(1)
        answer = await faulty.put("w", "retry")
        await stream.until(3)
    assert answer["metadata"]["uid"] == failed["metadata"]["uid"]
    assert answer["status"]["finishedAt"] is None
    phases = [("ADDED", "Failed"), ("MODIFIED", None), ("MODIFIED", "Running")]
    assert stream.shown()[:3] == phases
