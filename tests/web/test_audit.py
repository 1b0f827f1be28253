"""``GET /v1/audit``: who did what."""

from __future__ import annotations

import json

import pytest

from bridge.adapters.memory import MemoryStore
from bridge.domain.audit import hash_of
from bridge.domain.errors import StoreUnavailable
from bridge.services import trail as trail_service
from tests.web.making import (
    ADMIN,
    APPROVER,
    GUARDED,
    PLATFORM_TOKEN,
    STRANGER,
    THING,
    Rig,
    bridge_for,
    settings_for,
)

LINES = {**ADMIN, "Accept": "application/x-ndjson"}


async def trail(rig: Rig, **query: str | int) -> list[tuple[str, str]]:
    """Action and run of the records of one page."""
    answer = await rig.http.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return [(record["action"], record["run"]) for record in answer.json()["records"]]


async def test_a_record_says_who_did_what_when_why_and_what_came_of_it():
    """An auditor reads the whole story of a decision from one answer."""
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        run = await rig.waiting()
        body = {"reason": "as agreed"}
        await rig.http.post(f"/v1/runs/{run.id}/approve", json=body, headers=APPROVER)
        answer = await rig.http.get("/v1/audit", params={"run": run.id}, headers=ADMIN)
    asked, accepted = answer.json()["records"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["next"] is None
    assert asked == {
        "number": asked["number"],
        "time": asked["time"],
        "action": "run.approve",
        "tenant": "default",
        "run": run.id,
        "caller": "service:approver",
        "user": None,
        "source": asked["source"],
        "reason": "as agreed",
        "outcome": "asked",
        "data": {},
        "previous": accepted["hash"],
        "hash": hash_of(asked),
    }
    assert asked["time"].endswith("Z")
    assert asked["number"] > accepted["number"]
    assert (accepted["action"], accepted["caller"]) == ("run.accept", "service:tester")


async def test_records_are_found_by_run_action_and_user():
    """What one person did, or what happened to one run, is one request away."""
    async with bridge_for(settings_for(demo=True, tokens=None)) as rig:
        del rig.http.headers["Authorization"]
        one, two = await rig.accepted(), await rig.accepted()
        await rig.http.post(f"/v1/runs/{one}/cancel")
        by_run = await trail(rig, run=one)
        by_action = await trail(rig, action="run.accept")
        by_user = await trail(rig, user="user:default/guest")
        both = await trail(rig, run=two, action="run.cancel")
        nobody = await trail(rig, user="user:default/ann")
    assert by_run == [("run.cancel", one), ("run.accept", one)]
    assert by_action == [("run.accept", two), ("run.accept", one)]
    assert by_user == [("run.cancel", one), ("run.accept", two), ("run.accept", one)]
    assert both == nobody == []


async def test_the_trail_is_read_page_by_page():
    """A long trail is read without loading it at once, and without a record twice."""
    async with bridge_for() as rig:
        made = [(await rig.http.post("/v1/runs", json=THING)).json()["id"] for _ in range(5)]
        query, runs, sizes = {"limit": "2"}, [], []
        while True:
            page = (await rig.http.get("/v1/audit", params=query, headers=ADMIN)).json()
            runs += [record["run"] for record in page["records"]]
            sizes.append(len(page["records"]))
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
    assert runs == made[::-1]
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("size", [1, 2, 5, 6])
async def test_the_whole_trail_is_one_download(monkeypatch: pytest.MonkeyPatch, size: int):
    """An auditor's tool gets every record that matches, one JSON object a line."""
    monkeypatch.setattr(trail_service.pages, "__kwdefaults__", {"size": size})
    async with bridge_for() as rig:
        made = [(await rig.http.post("/v1/runs", json=THING)).json()["id"] for _ in range(5)]
        await rig.http.post(f"/v1/runs/{made[0]}/cancel")
        answer = await rig.http.get("/v1/audit", params={"action": "run.accept"}, headers=LINES)
        none = await rig.http.get("/v1/audit", params={"run": "none"}, headers=LINES)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\n")
    assert [json.loads(line)["run"] for line in answer.text.splitlines()] == made[::-1]
    assert (none.status_code, none.text) == (200, "")


@pytest.mark.parametrize("headers", [ADMIN, LINES])
@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=-1", "cursor=", f"cursor={'9' * 19}", "run=%00", "user=a%0Ab"]
)
async def test_a_wrong_question_is_refused(query: str, headers: dict[str, str]):
    """A mistyped filter says so, instead of showing something else."""
    async with bridge_for() as rig:
        answer = await rig.http.get(f"/v1/audit?{query}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


@pytest.mark.parametrize("limit", ["0", "201", "x"])
async def test_a_page_has_a_size(limit: str):
    """Nobody can ask for a page that the bridge cannot hold."""
    async with bridge_for() as rig:
        answer = await rig.http.get("/v1/audit", params={"limit": limit}, headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


@pytest.mark.parametrize("headers", [ADMIN, LINES])
async def test_a_trail_that_cannot_be_read_is_a_problem(headers: dict[str, str]):
    """A download that fails at once says why, and is not an empty file."""

    class Broken(MemoryStore):
        async def audit_records(self, chosen):
            raise StoreUnavailable(f"disk full at {chosen.limit}")

    async with bridge_for(store=Broken()) as rig:
        answer = await rig.http.get("/v1/audit", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_the_trail_cannot_be_written_from_outside():
    """Records are added by what is done, and by nothing else."""
    async with bridge_for() as rig:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await rig.http.request(method, "/v1/audit")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        headers = {"Authorization": f"Bearer {PLATFORM_TOKEN}"}
        refused = await rig.http.get("/v1/audit", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_what_was_refused_is_recorded_without_secrets():
    """A token in the reason of somebody who may not cancel is not shown to auditors either."""
    async with bridge_for() as rig:
        run = await rig.accepted()
        body = {"reason": f"leaked {PLATFORM_TOKEN}"}
        refused = await rig.http.post(f"/v1/runs/{run}/cancel", json=body, headers=STRANGER)
        answer = await rig.http.get("/v1/audit", params={"limit": 1}, headers=ADMIN)
    assert refused.status_code == 404
    (record,) = answer.json()["records"]
    assert (record["outcome"], record["reason"]) == ("run_unknown", "leaked ***")
