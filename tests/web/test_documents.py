"""Catalog documents, the Platform API's callback, health and the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
import yaml
from starlette.routing import Route

from bridge.domain.entities import entity_document
from bridge.web.auth import OPEN_PREFIX, OPEN_ROUTES
from bridge.web.openapi import OPERATIONS, document
from tests.web.making import ADMIN, GUARDED, PLATFORM_TOKEN, THING, bridge_for, settings_for

RECORD = {
    "name": "team-a-dev",
    "status": "active",
    "team": "team-a",
    "environment": "development",
    "workflow": "wf",
    "requestId": "01k",
}
PLATFORM = {"Authorization": f"Bearer {PLATFORM_TOKEN}"}


def namespace_document(name: str, *, owner: str = "group:default/a"):
    """An entity document as a run makes it."""
    return entity_document(
        {
            "apiVersion": "backstage.io/v1alpha1",
            "kind": "Resource",
            "metadata": {"name": name},
            "spec": {"type": "kubernetes-namespace", "owner": owner},
        },
        run_id="01k",
    )


async def test_documents_are_served_one_by_one_and_all_together():
    """The catalog reads a namespace by itself, or all of them through one location."""
    async with bridge_for() as rig:
        now = rig.bridge.streams._clock.now()
        for name in ("b", "a"):
            await rig.store.put_entity(namespace_document(name), now=now)
        every = await rig.http.get("/catalog/all.yaml")
        one = await rig.http.get("/catalog/Resource/a.yaml")
    found = [found["metadata"]["name"] for found in yaml.safe_load_all(every.text)]
    assert found == ["a", "b", "local"]
    assert yaml.safe_load(one.text) == namespace_document("a").document
    assert {r.headers["content-type"] for r in (every, one)} == {"application/yaml"}


async def test_a_document_that_did_not_change_is_not_sent_again():
    """The catalog's polling costs nothing until something changed."""
    async with bridge_for() as rig:
        now = rig.bridge.streams._clock.now()
        await rig.store.put_entity(namespace_document("a"), now=now)
        for path in ("/catalog/all.yaml", "/catalog/resource/a.yaml"):
            tag = (await rig.http.get(path)).headers["etag"]
            same = await rig.http.get(path, headers={"If-None-Match": tag})
            assert (same.status_code, same.content) == (304, b"")
        await rig.store.put_entity(namespace_document("a", owner="group:default/b"), now=now)
        new = await rig.http.get("/catalog/resource/a.yaml", headers={"If-None-Match": tag})
    assert (new.status_code, new.headers["etag"] == tag) == (200, False)
    assert not tag.startswith("W/")


@pytest.mark.parametrize("path", ["/catalog/resource/x.yaml", "/catalog/resource/local"])
async def test_an_unknown_document_is_a_problem(path: str):
    """A wrong location says that the bridge has no such entity."""
    async with bridge_for() as rig:
        answer = await rig.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "entity_unknown")


async def test_a_namespace_is_reported_and_listed():
    """A workflow's callback is kept; the same report again is harmless."""
    async with bridge_for() as rig:
        for status in ("active", "deleted"):
            body = {**RECORD, "status": status}
            answer = await rig.http.post("/api/v1/namespaces", json=body, headers=PLATFORM)
            assert (answer.status_code, answer.json()) == (200, body)
        least = {"name": "b", "status": "active"}
        await rig.http.post("/api/v1/namespaces", json=least, headers=PLATFORM)
        listed = (await rig.http.get("/api/v1/namespaces")).json()
    empty = {"team": "", "environment": "", "workflow": "", "requestId": ""}
    assert listed == {"namespaces": [{**least, **empty}, {**RECORD, "status": "deleted"}]}


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"name": "Bad_Name"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"status": "very active"}, "/status"),
        ({"team": "x" * 301}, "/team"),
        ({"owner": "me"}, "/owner"),
    ],
)
async def test_a_report_of_another_shape_is_refused(changed: dict[str, Any], pointer: str):
    """A broken workflow cannot write nonsense into the list of namespaces."""
    async with bridge_for() as rig:
        answer = await rig.http.post(
            "/api/v1/namespaces", json={**RECORD, **changed}, headers=PLATFORM
        )
        listed = (await rig.http.get("/api/v1/namespaces")).json()
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert listed == {"namespaces": []}


async def test_readiness_tells_what_is_away():
    """An operator sees at a glance that Argo is away, while requests are still taken."""
    async with bridge_for() as rig:
        answer = await rig.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "store": "ok",
            "definitions": "ok",
            "argo": "not reachable; runs are accepted and wait",
            "draining": "no",
        },
    }


# --- OpenAPI ------------------------------------------------------------------------------------


async def test_every_route_is_described_and_every_description_has_a_route():
    """What the document promises is what there is, method by method."""
    async with bridge_for() as rig:
        routes = {
            (route.path_format, method.lower())
            for route in rig.app.routes
            if isinstance(route, Route)
            for method in route.methods or ()
            if method != "HEAD"
        }
        served = (await rig.http.get("/openapi.json")).json()
    described = {(path, method) for path, item in served["paths"].items() for method in item}
    assert described == routes
    assert served["servers"] == [{"url": "http://127.0.0.1:8080"}]


def test_open_routes_are_described_as_open():
    """A reader of the document knows which addresses need a token."""
    for operation in OPERATIONS:
        is_open = operation.path in OPEN_ROUTES or operation.path.startswith(OPEN_PREFIX)
        assert operation.open is is_open, operation.path
        if not is_open:
            assert {401, 403, 503} <= set(operation.problems)


def test_the_document_has_the_shape_of_openapi():
    """Generators of clients can read the document: references resolve, schemas are schemas."""
    found = document(server="/")
    assert found["openapi"] == "3.1.0"
    assert set(found["info"]) >= {"title", "version"}
    schemas = found["components"]["schemas"]
    references = {part["$ref"] for part in every_object(found) if "$ref" in part}
    assert references
    assert {ref.rpartition("/")[2] for ref in references} <= set(schemas)
    assert all(ref.startswith("#/components/schemas/") for ref in references)
    for schema in schemas.values():
        jsonschema_rs.Draft202012Validator({**schema, "components": found["components"]})
    for path, item in found["paths"].items():
        wanted = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in item.values():
            assert operation["summary"]
            assert all(response["description"] for response in operation["responses"].values())
            given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert given == wanted
            assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")


def every_object(value: Any):
    """All JSON objects in a value, itself included."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from every_object(item)
    elif isinstance(value, list):
        for item in value:
            yield from every_object(item)


def test_a_preview_is_one_of_the_answers_to_a_run():
    """A generated client can read what a dry run answers."""
    answer = document(server="/")["paths"]["/v1/runs"]["post"]["responses"]["200"]
    names = [part["$ref"] for part in answer["content"]["application/json"]["schema"]["anyOf"]]
    assert [name.rpartition("/")[2] for name in names] == ["RunView", "PreviewView"]


async def test_answers_fit_their_schemas():
    """What the bridge sends is what its document says it sends."""
    found = document(server="/")

    def check(schema: str, value: Any) -> None:
        reference = {"$ref": f"#/components/schemas/{schema}", "components": found["components"]}
        jsonschema_rs.Draft202012Validator(reference).validate(value)

    async with bridge_for() as rig:
        run = (await rig.http.post("/v1/runs", json=THING)).json()
        check("RunView", run)
        preview = {**THING, "context": {"dryRun": True}}
        check("PreviewView", (await rig.http.post("/v1/runs", json=preview)).json())
        check("RunPage", (await rig.http.get("/v1/runs")).json())
        check("EventPage", (await rig.http.get(run["links"]["events"])).json())
        check("HealthView", (await rig.http.get("/readyz")).json())
        check("NamespacePage", (await rig.http.get("/api/v1/namespaces")).json())
        check("Problem", (await rig.http.get("/v1/runs/x")).json())
        check("RunDetails", (await rig.http.get(run["links"]["self"])).json())
        check("RunView", (await rig.http.post(run["links"]["cancel"])).json())
        details = (await rig.http.get(run["links"]["self"])).json()
        check("RunDetails", details)
        check("CommandView", details["commands"][0])
        reader = f"{run['links']['self']}/readers/r"
        check("ReaderView", (await rig.http.put(reader, json={"seq": 1})).json())
        check("AuditPage", (await rig.http.get("/v1/audit", headers=ADMIN)).json())
        check("RunRequest", json.loads(json.dumps(THING)))
        check("RetryBody", {"reason": "flaky", "mode": "workflow"})


async def test_a_problem_that_names_a_run_fits_its_schema():
    """A generated client finds the run that is in the way."""
    found = document(server="/")
    schema = {"$ref": "#/components/schemas/Problem", "components": found["components"]}
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        await rig.http.post("/v1/runs", json=THING)
        refused = (await rig.http.post("/v1/runs", json=THING)).json()
    assert refused["links"]
    jsonschema_rs.Draft202012Validator(schema).validate(refused)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/runs", 409),
        ("GET", "/v1/runs/{run_id}", 400),
        ("GET", "/v1/actions/{action_id}", 400),
        ("GET", "/catalog/{kind}/{file}", 400),
    ],
)
async def test_what_is_refused_is_described(method: str, path: str, status: int):
    """A generated client knows the refusals that its caller may meet."""
    address = re.sub(r"\{[a-z_]+\}", "a%00b", path)
    async with bridge_for(settings_for(actions=GUARDED)) as rig:
        await rig.http.post("/v1/runs", json=THING)
        refused = await rig.http.request(method, address, json=THING)
    assert refused.status_code == status
    assert str(status) in document(server="/")["paths"][path][method.lower()]["responses"]


def test_bodies_that_may_be_left_out_are_described_so():
    """A generated client can cancel without inventing a body."""
    paths = document(server="/")["paths"]
    bodies = {
        (path, method): operation["requestBody"]["required"]
        for path, item in paths.items()
        for method, operation in item.items()
        if "requestBody" in operation
    }
    optional = {path.rpartition("/")[2] for (path, _), required in bodies.items() if not required}
    assert optional == {"cancel", "terminate", "approve", "reject", "retry"}
    assert bodies["/v1/runs", "post"]
