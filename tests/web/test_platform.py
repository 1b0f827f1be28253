"""The Platform API: namespaces requested, followed and listed in its clients' own words."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import jwt
import pytest

from bridge.domain.runs import RunChanges, RunError, RunStatus
from bridge.web.openapi import document
from tests.web.making import ACTIONS as THINGS
from tests.web.making import JSON, PLATFORM_TOKEN, Rig, bridge_for, settings_for

ACTIONS = Path(__file__).parents[2] / "backstage-actions" / "actions"
REQUEST = "/api/platform/namespaces/request"
WORKFLOWS = "/api/v1/workflows"
PLATFORM = {"Authorization": f"Bearer {PLATFORM_TOKEN}"}
SECRET = "a-secret-of-at-least-32-characters"
ADMIN = ["platform:admin"]
ASKED = {
    "namespaceName": "argo-test-1732250000000",
    "team": "platform",
    "environment": "development",
    "resourceTier": "small",
    "networkPolicy": "team-shared",
    "features": ["istio-injection", "monitoring-enhanced"],
    "description": "Testing Argo Workflows integration",
}


def person(name: str, **claims: Any) -> dict[str, str]:
    """The header of somebody who was signed in by the platform."""
    now = int(time.time())
    plain = {"sub": name, "iss": "platform-api", "aud": "platform-users", "groups": []}
    token = jwt.encode({**plain, "iat": now, "exp": now + 60, **claims}, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A bridge with the actions as shipped, and an Argo that never answers."""
    async with bridge_for(settings_for(actions=ACTIONS)) as opened:
        yield opened


async def requested(rig: Rig, **changed: Any) -> str:
    """The id of a new request."""
    answer = await rig.http.post(REQUEST, json={**ASKED, **changed})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["requestId"])


async def standing(rig: Rig, request_id: str) -> dict[str, Any]:
    """A request as its status address shows it."""
    answer = await rig.http.get(f"{REQUEST}/{request_id}/status")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_namespace_is_requested_and_followed(rig: Rig):
    """The client learns the ids of its request and of its workflow, and where to ask on."""
    answer = await rig.http.post(REQUEST, json=ASKED)
    given = answer.json()
    here = given["requestId"]
    shown = await rig.http.get(answer.headers["location"])
    run = (await rig.http.get(given["links"]["run"])).json()
    assert answer.status_code == 201
    assert {r.headers["cache-control"] for r in (answer, shown)} == {"no-store"}
    assert given == {
        "requestId": here,
        "workflowId": f"namespace-create-{here}",
        "status": "pending",
        "progress": None,
        "error": None,
        "outputs": {},
        "requestedBy": "service:tester",
        "createdAt": given["createdAt"],
        "updatedAt": given["updatedAt"],
        "finishedAt": None,
        "links": {
            "status": f"{REQUEST}/{here}/status",
            "run": f"/v1/runs/{here}",
            "events": f"/v1/runs/{here}/events",
            "workflow": f"https://argo.example/workflows/argo-workflows/namespace-create-{here}",
        },
    }
    assert answer.headers["location"] == given["links"]["status"]
    assert {name for name, value in given.items() if shown.json()[name] != value} <= {"updatedAt"}
    assert (run["action"], run["input"]) == ("namespace:create", ASKED)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (RunStatus.RUNNING, "running"),
        (RunStatus.WAITING, "waiting"),
        (RunStatus.REGISTERING, "running"),
    ],
)
async def test_an_open_request_says_how_it_stands(rig: Rig, status: RunStatus, word: str):
    """A client sees whether Argo works or a person is waited for, and how far it is."""
    request_id = await requested(rig)
    await rig.bridge.journal.write(request_id, changes=RunChanges(status=status, progress="3/12"))
    shown = await standing(rig, request_id)
    assert (shown["status"], shown["progress"], shown["error"]) == (word, "3/12", None)
    assert shown["finishedAt"] is None


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST])
async def test_a_request_that_ended_badly_says_why(rig: Rig, status: RunStatus):
    """However it went wrong, the client gets one word to branch on and one sentence to show."""
    request_id = await requested(rig)
    error = RunError("workflow_failed", "validate failed: the namespace exists")
    await rig.bridge.journal.end(await rig.store.run(request_id), status=status, error=error)
    shown = await standing(rig, request_id)
    assert (shown["status"], shown["error"]) == ("failed", error.message)
    assert shown["finishedAt"] is not None


async def test_a_completed_request_tells_what_there_is_now(rig: Rig):
    """The client learns the name of its namespace and of its catalog entity."""
    request_id = await requested(rig)
    outputs = {"namespace": ASKED["namespaceName"]}
    changes = RunChanges(status=RunStatus.REGISTERING, outputs=outputs)
    await rig.bridge.journal.write(request_id, changes=changes)
    await rig.end(request_id, status=RunStatus.SUCCEEDED)
    shown = await standing(rig, request_id)
    assert (shown["status"], shown["error"]) == ("completed", None)
    assert shown["outputs"] == outputs


async def test_a_request_sent_again_under_its_key_is_the_same(rig: Rig):
    """A client that lost the answer asks again, and gets its namespace once."""
    keyed = {"Idempotency-Key": "form-17"}
    first = await rig.http.post(REQUEST, json=ASKED, headers=keyed)
    again = await rig.http.post(REQUEST, json=ASKED, headers=keyed)
    other = await rig.http.post(REQUEST, json={**ASKED, "team": "team-b"}, headers=keyed)
    listed = (await rig.http.get(WORKFLOWS)).json()["workflows"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["requestId"] == first.json()["requestId"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(listed) == 1


async def test_one_namespace_is_made_by_one_request_at_a_time(rig: Rig):
    """A second request for the same name is told which one is in the way."""
    request_id = await requested(rig)
    refused = await rig.http.post(REQUEST, json=ASKED)
    assert (refused.status_code, refused.json()["code"]) == (409, "lock_held")
    assert refused.json()["run"] == request_id


async def test_every_wrong_field_of_a_request_is_named(rig: Rig):
    """A request is checked like the form: all mistakes at once, nobody named by the body."""
    wrong = {"namespaceName": "kube-x", "features": ["{{workflow.name}}"], "environment": "test"}
    named = {**ASKED, "requestedBy": "user:default/admin"}
    hostile = await rig.http.post(REQUEST, json={**ASKED, **wrong})
    refused = await rig.http.post(REQUEST, json={**named, "environment": "test"})
    listed = (await rig.http.get(WORKFLOWS)).json()
    assert [e["pointer"] for e in hostile.json()["errors"]] == ["/features/0"]
    assert {e["pointer"] for e in refused.json()["errors"]} == {"/environment", "/requestedBy"}
    for answer in (hostile, refused):
        assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")
        assert answer.headers["content-type"] == "application/problem+json"
    assert listed == {"workflows": [], "next": None}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"null"])
async def test_a_request_that_is_no_object_is_refused(rig: Rig, body: bytes):
    """A client that sends something else is told so."""
    answer = await rig.http.post(REQUEST, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_the_action_behind_a_request_is_a_setting():
    """A platform team puts its own action behind the same address."""
    async with bridge_for(settings_for(platform_action="thing:make")) as rig:
        made = (await rig.http.post(REQUEST, json={"name": "one"})).json()
    async with bridge_for(settings_for(platform_action="thing:mke")) as rig:
        refused = await rig.http.post(REQUEST, json={"name": "one"})
    assert made["workflowId"] == f"thing-make-{made['requestId']}"
    assert (refused.status_code, refused.json()["code"]) == (404, "action_unknown")


async def test_an_unknown_request_is_said_to_be_unknown(rig: Rig):
    """A wrong id gets a sentence."""
    answer = await rig.http.get(f"{REQUEST}/none/status")
    assert (answer.status_code, answer.json()["code"]) == (404, "run_unknown")


async def test_a_draining_bridge_takes_no_request(rig: Rig):
    """During a rollout a request is told to come again; earlier ones can still be asked for."""
    request_id = await requested(rig)
    rig.bridge.drain()
    refused = await rig.http.post(REQUEST, json=ASKED)
    shown = await standing(rig, request_id)
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert shown["requestId"] == request_id


async def test_the_token_of_workflows_asks_for_nothing(rig: Rig):
    """What leaks from a workflow's pod cannot make namespaces, nor read what others asked for."""
    request_id = await requested(rig)
    answers = [
        await rig.http.post(REQUEST, json={**ASKED, "namespaceName": "other"}, headers=PLATFORM),
        await rig.http.get(f"{REQUEST}/{request_id}/status", headers=PLATFORM),
        await rig.http.get(WORKFLOWS, headers=PLATFORM),
    ]
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(403, "forbidden")}


async def test_workflows_are_listed_newest_first_page_by_page(rig: Rig):
    """A dashboard shows what Argo is doing for whom, a page at a time."""
    made = [await requested(rig, namespaceName=f"team-a-{n}") for n in range(3)]
    await rig.bridge.journal.write(
        made[2], changes=RunChanges(status=RunStatus.RUNNING, phase="Running", progress="1/9")
    )
    first = (await rig.http.get(WORKFLOWS, params={"limit": 2})).json()
    query = {"limit": 2, "cursor": first["next"]}
    second = (await rig.http.get(WORKFLOWS, params=query)).json()
    listed = first["workflows"] + second["workflows"]
    assert [item["requestId"] for item in listed] == sorted(made, reverse=True)
    assert (len(first["workflows"]), second["next"]) == (2, None)
    name = f"namespace-create-{made[2]}"
    assert listed[0] == {
        "name": name,
        "namespace": "argo-workflows",
        "phase": "Running",
        "status": "running",
        "action": "namespace:create",
        "requestId": made[2],
        "requestedBy": "service:tester",
        "progress": "1/9",
        "error": None,
        "createdAt": listed[0]["createdAt"],
        "finishedAt": None,
        "url": f"https://argo.example/workflows/argo-workflows/{name}",
    }


async def test_workflows_of_one_action_are_found(rig: Rig):
    """A list can be narrowed to one action; a wrong filter says so."""
    request_id = await requested(rig)
    found = (await rig.http.get(WORKFLOWS, params={"action": "namespace:create"})).json()
    none = (await rig.http.get(WORKFLOWS, params={"action": "thing:make"})).json()
    wrong = await rig.http.get(WORKFLOWS, params={"limit": "0"})
    assert [item["requestId"] for item in found["workflows"]] == [request_id]
    assert none["workflows"] == []
    assert (wrong.status_code, wrong.json()["code"]) == (400, "request_invalid")


async def test_a_workflow_may_report_with_curl(rig: Rig):
    """The shortest report, sent as curl sends it, is taken and listed."""
    answer = await rig.http.post(
        "/api/v1/namespaces",
        content=b'{"name":"team-frontend-dev","status":"active"}',
        headers={**PLATFORM, "Content-Type": "application/x-www-form-urlencoded"},
    )
    listed = (await rig.http.get("/api/v1/namespaces", headers=PLATFORM)).json()["namespaces"]
    assert answer.status_code == 200
    assert [(item["name"], item["status"]) for item in listed] == [("team-frontend-dev", "active")]


async def test_only_a_workflow_reports_a_namespace(rig: Rig):
    """Nobody can make the platform believe in a namespace that no workflow made."""
    body = {"name": "team-a-dev", "status": "active"}
    refused = await rig.http.post("/api/v1/namespaces", json=body)
    listed = (await rig.http.get("/api/v1/namespaces")).json()
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "PLATFORM_API_TOKEN" in refused.json()["detail"]
    assert listed == {"namespaces": []}


async def test_a_request_is_shown_to_whom_it_concerns():
    """Who asked sees it; strangers, and admins of another tenant, are told that there is none."""
    async with bridge_for(settings_for(actions=ACTIONS, platform_secret=SECRET)) as rig:
        asked = await rig.http.post(REQUEST, json=ASKED, headers=person("ann", roles=ADMIN))
        here = asked.headers["location"]
        strangers = [person("bob"), person("ann", roles=ADMIN, tenant="acme")]
        hidden = [await rig.http.get(here, headers=who) for who in strangers]
        lists = [(await rig.http.get(WORKFLOWS, headers=who)).json() for who in strangers]
        shown = await rig.http.get(here, headers=person("ann"))
        listed = (await rig.http.get(WORKFLOWS, headers=person("ann"))).json()["workflows"]
    assert (asked.status_code, asked.json()["requestedBy"]) == (201, "user:default/ann")
    assert {(a.status_code, a.json()["code"]) for a in hidden} == {(404, "run_unknown")}
    assert lists == [{"workflows": [], "next": None}] * 2
    assert shown.status_code == 200
    assert [item["requestId"] for item in listed] == [asked.json()["requestId"]]


async def test_the_action_says_who_may_request(tmp_path: Path):
    """The Platform API is no way around an action's access rules."""
    (tmp_path / "thing").mkdir()
    plain = (THINGS / "thing-make" / "action.yaml").read_text()
    guarded = f"{plain}  access: {{groups: [group:default/team-a]}}\n"
    (tmp_path / "thing" / "action.yaml").write_text(guarded)
    changed = {"actions": tmp_path, "platform_action": "thing:make", "platform_secret": SECRET}
    async with bridge_for(settings_for(**changed)) as rig:
        answers = [
            await rig.http.post(REQUEST, json={"name": "one"}, headers=person("ann", groups=groups))
            for groups in (["Team-A"], ["Team-B"])
        ]
    assert [answer.status_code for answer in answers] == [201, 403]
    assert answers[1].json()["code"] == "forbidden"
    assert "group:default/team-a" in answers[1].json()["detail"]


async def test_namespaces_of_another_tenant_are_not_listed():
    """What is reported for one tenant is not shown to another."""
    body = {"name": "team-a-dev", "status": "active"}
    async with bridge_for(settings_for(platform_secret=SECRET)) as rig:
        await rig.http.post("/api/v1/namespaces", json=body, headers=PLATFORM)
        ours, theirs = [
            (await rig.http.get("/api/v1/namespaces", headers=person("bob", tenant=tenant))).json()
            for tenant in ("default", "acme")
        ]
    assert [item["name"] for item in ours["namespaces"]] == ["team-a-dev"]
    assert theirs == {"namespaces": []}


async def test_answers_of_the_platform_api_fit_their_schemas(rig: Rig):
    """A client that was generated from the document can read what it gets."""
    found = document(server="/")

    def check(schema: str, value: Any) -> None:
        reference = {"$ref": f"#/components/schemas/{schema}", "components": found["components"]}
        jsonschema_rs.Draft202012Validator(reference).validate(value)

    check("NamespaceRequest", ASKED)
    check("NamespaceRequestView", (await rig.http.post(REQUEST, json=ASKED)).json())
    check("WorkflowPage", (await rig.http.get(WORKFLOWS)).json())
    fields = found["components"]["schemas"]["NamespaceRequest"]["properties"]
    assert set(fields) == set(ASKED)
