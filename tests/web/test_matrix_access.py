"""Every route, every kind of caller who is let in: what each is answered."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.routing import Route

from bridge.domain.runs import RunStatus
from tests.web.identities import PLATFORM_SECRET, platform
from tests.web.making import PLATFORM_TOKEN, SERVICE_TOKEN, Rig, bridge_for, settings_for

OWNED = Path(__file__).parent / "owned"
TEAM = "group:default/team-a"
_names = itertools.count()


def person(name: str, *groups: str, **claims: Any) -> str:
    """A platform token."""
    return platform().token(sub=name, groups=[*groups], **claims)


def callers() -> dict[str, str]:
    """Somebody of each kind, by what they are to the run that the tests ask for."""
    return {
        "requester": person("ann", "team-a"),
        "member": person("max", "team-a"),
        "approver": person("bob", "platform-admins"),
        "admin": person("root", roles=["platform:admin"]),
        "area admin": person("tom", roles=["team:admin"]),
        "stranger": person("eve", "team-b", roles=["thing:admin"]),
        "other tenant": person(
            "ann", "team-a", "platform-admins", tenant="other", roles=["platform:admin"]
        ),
        "service": SERVICE_TOKEN,
        "callback": PLATFORM_TOKEN,
    }


OPEN = (200,) * 9
ANYBODY = (200, 200, 200, 200, 200, 200, 200, 200, 403)
SEE = (200, 200, 200, 200, 200, 404, 404, 404, 403)
ASK = (202, 202, 403, 202, 202, 403, 202, 202, 403)
CONTROL = (202, 202, 403, 202, 202, 404, 404, 404, 403)
END = (202, 403, 403, 202, 202, 404, 404, 404, 403)
DECIDE = (403, 403, 202, 403, 403, 404, 404, 404, 403)

EXPECTED: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/v1/actions"): ANYBODY,
    ("GET", "/v1/actions/{action_id}"): ANYBODY,
    ("POST", "/v1/runs"): ASK,
    ("GET", "/v1/runs"): ANYBODY,
    ("GET", "/v1/runs/{run_id}"): SEE,
    ("GET", "/v1/runs/{run_id}/events"): SEE,
    ("POST", "/v1/runs/{run_id}/cancel"): CONTROL,
    ("POST", "/v1/runs/{run_id}/terminate"): END,
    ("POST", "/v1/runs/{run_id}/approve"): DECIDE,
    ("POST", "/v1/runs/{run_id}/reject"): DECIDE,
    ("POST", "/v1/runs/{run_id}/retry"): CONTROL,
    ("GET", "/v1/runs/{run_id}/readers/{reader:path}"): SEE,
    ("PUT", "/v1/runs/{run_id}/readers/{reader:path}"): SEE,
    ("GET", "/v1/audit"): (403, 403, 403, 200, 403, 403, 200, 403, 403),
    ("POST", "/api/platform/namespaces/request"): tuple(
        201 if status == 202 else status for status in ASK
    ),
    ("GET", "/api/platform/namespaces/request/{request_id}/status"): SEE,
    ("GET", "/api/v1/workflows"): ANYBODY,
    ("POST", "/api/v1/namespaces"): (403, 403, 403, 403, 403, 403, 403, 403, 200),
    ("GET", "/api/v1/namespaces"): (200,) * 9,
    ("GET", "/catalog/all.yaml"): OPEN,
    ("GET", "/catalog/{kind}/{file}"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/openapi.json"): OPEN,
}
"""By route, in the order of the callers above. HEAD is answered as GET is."""

COLUMNS = tuple(callers())
AT_ONCE = 3
"""Routes that one bridge is asked: it begins only so many runs while its Argo says nothing."""
LISTS = {"/v1/runs": "runs", "/api/v1/workflows": "workflows"}


def bodies() -> dict[tuple[str, str], Any]:
    """What is sent where a body has to say something; names are new each time."""
    asked = {"name": f"thing-{next(_names)}", "team": TEAM}
    return {
        ("POST", "/v1/runs"): {"action": "team:thing", "input": asked},
        ("PUT", "/v1/runs/{run_id}/readers/{reader:path}"): {"seq": 0},
        ("POST", "/api/platform/namespaces/request"): asked,
        ("POST", "/api/v1/namespaces"): {"name": "a", "status": "active"},
    }


async def a_run(rig: Rig, path: str) -> str:
    """A run that ann asked for: waiting, or failed where it is to be tried again."""
    rig.http.headers["Authorization"] = f"Bearer {callers()['requester']}"
    asked = bodies()["POST", "/v1/runs"]
    if path.endswith("/retry"):
        run_id = await rig.accepted(**asked)
        await rig.end(run_id, status=RunStatus.FAILED)
        return run_id
    return (await rig.waiting(**asked)).id


async def answer(rig: Rig, caller: str, method: str, path: str) -> int:
    """What *caller* is answered there; by HEAD it has to be the same as by GET."""
    run_id = await a_run(rig, path) if "{r" in path else ""
    filled = path.replace("{reader:path}", "reader").replace("{kind}/{file}", "resource/local.yaml")
    filled = filled.format(run_id=run_id, request_id=run_id, action_id="team:thing")
    headers = {"Authorization": f"Bearer {callers()[caller]}"}
    body = bodies().get((method, path), {})
    answered = await rig.http.request(method, filled, json=body, headers=headers)
    if method == "GET":
        assert (await rig.http.head(filled, headers=headers)).status_code == answered.status_code
    return answered.status_code


def settings() -> Any:
    """Settings under which platform tokens count, and one action that teams own."""
    return settings_for(
        actions=OWNED, platform_secret=SecretStr(PLATFORM_SECRET), platform_action="team:thing"
    )


async def test_every_route_says_what_it_answers_to_whom():
    """A route that somebody adds tomorrow has to be thought about for every kind of caller."""
    async with bridge_for(settings()) as rig:
        routes = {
            (method, route.path)
            for route in rig.app.routes
            if isinstance(route, Route)
            for method in route.methods or ()
        }
    assert routes - {route for route in routes if route[0] == "HEAD"} == set(EXPECTED)
    assert {path for method, path in routes if method == "HEAD"} <= {path for _, path in EXPECTED}
    assert {len(row) for row in EXPECTED.values()} == {len(COLUMNS)}


@pytest.mark.parametrize("caller", COLUMNS)
async def test_every_route_answers_each_caller_as_the_policy_says(caller: str):
    """Whoever is let in may do what they are there for, and nothing else, in their tenant only."""
    expected = {route: row[COLUMNS.index(caller)] for route, row in EXPECTED.items()}
    found, routes = {}, list(EXPECTED)
    while routes:
        async with bridge_for(settings()) as rig:
            for route in routes[:AT_ONCE]:
                found[route] = await answer(rig, caller, *route)
        del routes[:AT_ONCE]
    assert found == expected


@pytest.mark.parametrize("caller", COLUMNS[:-1])
async def test_a_list_has_what_its_reader_may_see(caller: str):
    """Nobody finds in a list what they could not open."""
    sees = EXPECTED["GET", "/v1/runs/{run_id}"][COLUMNS.index(caller)] == 200
    async with bridge_for(settings()) as rig:
        run_id = await a_run(rig, "")
        headers = {"Authorization": f"Bearer {callers()[caller]}"}
        for path, name in LISTS.items():
            shown = (await rig.http.get(path, headers=headers)).json()[name]
            ids = [one.get("id", one.get("requestId")) for one in shown]
            assert ids == ([run_id] if sees else []), path


async def test_another_tenants_admin_reads_nothing_of_this_one_in_the_audit_trail():
    """The trail of one tenant is not the other's."""
    async with bridge_for(settings()) as rig:
        await a_run(rig, "")
        seen = {}
        for caller in ("admin", "other tenant"):
            headers = {"Authorization": f"Bearer {callers()[caller]}"}
            seen[caller] = (await rig.http.get("/v1/audit", headers=headers)).json()["records"]
    assert [record["action"] for record in seen["admin"]] == ["run.accept"]
    assert seen["other tenant"] == []
