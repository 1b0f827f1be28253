"""``/v1/runs``: accepted once, shown, listed, previewed, cancelled."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bridge.adapters.sqlite import SqliteStore
from bridge.domain.runs import RunStatus
from tests.web.making import JSON, SERVICE_TOKEN, THING, bridge_for, settings_for

VERBS = ("cancel", "terminate", "approve", "reject", "retry")
CONTEXT = {"taskId": "t-1", "stepId": "create", "template": "template:default/thing"}


async def test_a_run_is_accepted_and_shown():
    """The caller gets the run at once, with everything that it needs to follow it."""
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json={**THING, "context": CONTEXT})
        run = answer.json()
        shown = await rig.http.get(answer.headers["location"])
    here = f"/v1/runs/{run['id']}"
    assert (answer.status_code, answer.headers["location"]) == (202, here)
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert run == {
        "id": run["id"],
        "action": "thing:make",
        "status": "accepted",
        "attempt": 1,
        "input": {"name": "one", "size": 1},
        "requestedBy": "service:tester",
        "context": CONTEXT,
        "workflow": {
            "target": "default",
            "namespace": "argo-workflows",
            "name": f"thing-make-{run['id']}",
            "uid": None,
            "phase": None,
            "url": f"https://argo.example/workflows/argo-workflows/thing-make-{run['id']}",
        },
        "progress": None,
        "outputs": {},
        "entityRef": None,
        "error": None,
        "lastSeq": 1,
        "createdAt": run["createdAt"],
        "updatedAt": run["updatedAt"],
        "finishedAt": None,
        "lock": None,
        "takesOver": None,
        "supersededBy": None,
        "links": {
            "self": here,
            "events": f"{here}/events",
            **{verb: f"{here}/{verb}" for verb in VERBS},
        },
    }
    assert shown.json()["commands"] == []
    assert len(run["id"]) == 26
    assert run["id"] == run["id"].lower()


async def test_a_repeated_request_is_the_same_run():
    """A retried click or a recovered task never makes a second namespace."""
    async with bridge_for() as rig:
        headers = {"Idempotency-Key": "task-1/create"}
        first = await rig.http.post("/v1/runs", json=THING, headers=headers)
        again = await rig.http.post("/v1/runs", json=THING, headers=headers)
        fresh = await rig.http.post("/v1/runs", json=THING)
        reused = await rig.http.post(
            "/v1/runs", json={**THING, "input": {"name": "two"}}, headers=headers
        )
    assert (first.status_code, again.status_code, fresh.status_code) == (202, 200, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.json()["id"] == first.json()["id"] != fresh.json()["id"]
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
async def test_asking_again_after_a_failure_is_a_new_attempt(status: RunStatus):
    """What failed can be asked for again under the same key, and is counted."""
    async with bridge_for() as rig:
        headers = {"Idempotency-Key": "k"}
        first = await rig.http.post("/v1/runs", json=THING, headers=headers)
        await rig.end(first.json()["id"], status=status)
        again = await rig.http.post("/v1/runs", json=THING, headers=headers)
    assert again.status_code == 202
    assert again.json()["attempt"] == 2
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "täst", "a\tb"])
async def test_a_key_that_cannot_be_kept_is_refused(key: str):
    """A key is never silently changed into one that protects nothing."""
    async with bridge_for() as rig:
        headers = {"Idempotency-Key": key.encode("latin-1")}
        answer = await rig.http.post("/v1/runs", json=THING, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_preview_stores_nothing():
    """A dry run shows the workflow that would be created, and nothing else happens."""
    async with bridge_for() as rig:
        body = {**THING, "context": {**CONTEXT, "dryRun": True}}
        answer = await rig.http.post("/v1/runs", json=body)
        listed = (await rig.http.get("/v1/runs")).json()
    preview = answer.json()
    assert answer.status_code == 200
    assert set(preview) == {"dryRun", "action", "input", "workflow", "outputs"}
    assert (preview["dryRun"], preview["action"]) == (True, "thing:make")
    assert preview["input"] == {"name": "one", "size": 1}
    assert preview["outputs"] == {"thing": "a-thing"}
    assert preview["workflow"]["spec"]["workflowTemplateRef"] == {"name": "make-thing"}
    assert listed == {"runs": [], "next": None}


async def test_every_wrong_field_is_named():
    """The form shows all mistakes at once, each at its field."""
    async with bridge_for() as rig:
        wrong = {"name": "Bad_Name", "size": "big", "colour": "red"}
        answer = await rig.http.post("/v1/runs", json={"action": "thing:make", "input": wrong})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "input_invalid")
    assert answer.headers["content-type"] == "application/problem+json"
    assert sorted(e["pointer"] for e in body["errors"]) == ["/colour", "/name", "/size"]
    assert all(e["message"] for e in body["errors"])


async def test_an_unknown_action_gets_a_suggestion():
    """A template that names an action wrongly says which one is meant."""
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json={**THING, "action": "thing:mke"})
    assert (answer.status_code, answer.json()["code"]) == (404, "action_unknown")
    assert answer.json()["suggestions"] == ["thing:make"]


@pytest.mark.parametrize("path", ["/v1/runs/none", "/v1/runs/none/events"])
async def test_an_unknown_run_is_said_to_be_unknown(path: str):
    """A wrong link gets a sentence, not an empty page."""
    async with bridge_for() as rig:
        answer = await rig.http.get(path)
        cancel = await rig.http.post("/v1/runs/none/cancel")
    assert (answer.status_code, answer.json()["code"]) == (404, "run_unknown")
    assert (cancel.status_code, cancel.json()["code"]) == (404, "run_unknown")


async def test_runs_are_listed_newest_first_page_by_page():
    """Somebody who looks for yesterday's run finds it without loading them all."""
    async with bridge_for() as rig:
        made = [(await rig.http.post("/v1/runs", json=THING)).json()["id"] for _ in range(5)]
        first = (await rig.http.get("/v1/runs", params={"limit": 2})).json()
        second = (
            await rig.http.get("/v1/runs", params={"limit": 2, "cursor": first["next"]})
        ).json()
        third = (
            await rig.http.get("/v1/runs", params={"limit": 2, "cursor": second["next"]})
        ).json()
    pages = [[run["id"] for run in page["runs"]] for page in (first, second, third)]
    assert [run_id for page in pages for run_id in page] == sorted(made, reverse=True)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert third["next"] is None


async def test_runs_are_listed_by_status_and_action():
    """The failed runs of one action are one request away."""
    async with bridge_for() as rig:
        failed, other = await rig.accepted(), await rig.accepted()
        await rig.end(failed)
        found = (await rig.http.get("/v1/runs", params={"status": "failed"})).json()["runs"]
        none = (await rig.http.get("/v1/runs", params={"action": "other:one"})).json()["runs"]
        both = (await rig.http.get("/v1/runs", params={"action": "thing:make"})).json()["runs"]
    assert [run["id"] for run in found] == [failed]
    assert none == []
    assert {run["id"] for run in both} == {failed, other}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=-1", "limit=٣", "limit=", "status=gone"]
)
async def test_a_wrong_filter_is_refused(query: str):
    """A mistyped filter says so, instead of showing something else."""
    async with bridge_for() as rig:
        answer = await rig.http.get(f"/v1/runs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_a_draining_bridge_takes_no_new_run():
    """During a rollout a request is told to come again, and is not half done."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        rig.bridge.drain()
        refused = await rig.http.post("/v1/runs", json=THING)
        shown = await rig.http.get(f"/v1/runs/{run_id}")
        ready = await rig.http.get("/readyz")
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert shown.status_code == 200
    assert (ready.status_code, ready.json()["checks"]["draining"]) == (503, "yes")


ODD = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[1]",
    b"null",
    b'{"action": "thing:make", "input": []}',
    b'{"action": "thing:make", "input": null}',
    b'{"action": 1}',
    b'{"action": ""}',
    b'{"action": "thing:make", "user": "user:default/admin"}',
    b'{"action": "thing:make", "context": {"taskId": "%s"}}' % (b"x" * 301),
    b'{"action": "thing:make", "context": {"taskId": "a\\u0000"}}',
    b'{"action": "thing:make", "context": {"stepId": "a\\ud800"}}',
    b'{"action": "thing:\\ud800"}',
    b'{"action": "thing:make", "input": {"name": "a", "extra": NaN}}',
    b'{"action": "thing:make", "input": {"name": "a", "extra": 1e999}}',
    b'{"action": "thing:make", "input": {"name": "a", "extra": %s}}' % (b"9" * 5_000),
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
async def test_a_body_that_cannot_be_read_is_refused(body: bytes):
    """Whatever is sent, the caller gets one readable problem and the bridge goes on."""
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", content=body, headers=JSON)
        listed = (await rig.http.get("/v1/runs")).json()["runs"]
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert listed == []


@pytest.mark.parametrize("depth", [10, 50, 90, 200, 400, 700, 900, 1_500, 20_000])
async def test_deep_json_never_breaks_the_bridge(depth: int, tmp_path: Path):
    """Nesting is either taken and shown again, or refused: never a crash."""
    extra = b"[" * depth + b"]" * depth
    body = b'{"action": "thing:make", "input": {"name": "a", "extra": %s}}' % extra
    async with SqliteStore(tmp_path / "runs.db") as store, bridge_for(store=store) as rig:
        answer = await rig.http.post("/v1/runs", content=body, headers=JSON)
        shown = await rig.http.get("/v1/runs")
    assert answer.status_code in {202, 400, 422}
    assert shown.status_code == 200


@pytest.mark.parametrize(
    "sent", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_a_body_of_another_type_is_not_read(sent: str | None):
    """What a form on a foreign page can send starts nothing."""
    headers = {"Content-Type": sent} if sent is not None else {}
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", content=json.dumps(THING), headers=headers)
        listed = (await rig.http.get("/v1/runs")).json()["runs"]
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")
    assert listed == []


@pytest.mark.parametrize("sent", ["application/json", "Application/JSON ; charset=utf-8"])
async def test_the_type_of_a_body_may_be_written_in_any_way(sent: str):
    """Clients differ in how they say JSON."""
    async with bridge_for() as rig:
        headers = {"Content-Type": sent}
        answer = await rig.http.post("/v1/runs", content=json.dumps(THING), headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("changed", "extra", "told"),
    [
        ({"max_json_depth": 5}, [[[[]]]], "nested more than 5 levels"),
        ({"max_json_items": 20}, [0] * 20, "more than 20 fields and list items"),
        ({"max_string_bytes": 99}, "x" * 100, "longer than 99 bytes"),
        ({}, 10**64, "more than 64 characters"),
    ],
)
async def test_a_body_that_costs_too_much_is_refused(
    changed: dict[str, int], extra: object, told: str
):
    """The caller reads which limit a body exceeds; nothing of it is built."""
    body = {**THING, "input": {"name": "a", "extra": extra}}
    async with bridge_for(settings_for(**changed)) as rig:
        answer = await rig.http.post("/v1/runs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert told in answer.json()["detail"]


async def test_a_refusal_can_be_written_whatever_was_sent():
    """A name that is no Unicode text does not break the answer that names it."""
    body = b'{"action": "thing:make", "\\ud800": 1, "input": {"\\udfff": "\\udbff"}}'
    async with bridge_for() as rig:
        shape = await rig.http.post("/v1/runs", content=body, headers=JSON)
        body = body.replace(b'"\\ud800": 1, ', b"")
        value = await rig.http.post("/v1/runs", content=body, headers=JSON)
    assert (shape.status_code, value.status_code) == (400, 422)


async def test_many_wrong_fields_make_a_short_answer():
    """A body of thousands of wrong fields is not told back in full."""
    body = {**THING, **{f"field{number}": 1 for number in range(5_000)}}
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json=body)
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 50


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(chunked: bool):
    """Nobody can fill the bridge's memory with one request, with or without a length."""
    body = json.dumps({**THING, "input": {"name": "a", "extra": "x" * 2_000}}).encode()

    async def pieces():
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    async with bridge_for(settings_for(max_body_bytes=1_000)) as rig:
        sent = pieces() if chunked else body
        answer = await rig.http.post("/v1/runs", content=sent, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert math.isfinite(answer.json()["status"])


async def test_an_address_in_the_body_does_not_name_the_user():
    """Who asks is what the token says, whatever the body claims."""
    async with bridge_for() as rig:
        run_id = await rig.accepted(context={**CONTEXT, "user": "user:default/admin"})
        run = (await rig.http.get(f"/v1/runs/{run_id}")).json()
    assert run["requestedBy"] == "service:tester"
    assert SERVICE_TOKEN not in json.dumps(run)
