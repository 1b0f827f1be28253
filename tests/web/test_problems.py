"""Every way in which the HTTP face itself says no, in one shape."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.adapters.memory import MemoryStore
from bridge.domain.errors import BridgeError, StoreUnavailable
from tests.web.making import AUTHORIZED, PLATFORM_TOKEN, THING, bridge_for

KEYS = {"type", "title", "status", "code", "detail", "instance", "errors", "suggestions"}


class BrokenStore(MemoryStore):
    """A store that cannot be read."""

    async def run(self, run_id: str):
        """Refuse."""
        raise StoreUnavailable(f"disk full while reading {run_id}")

    async def ping(self) -> None:
        """Refuse."""
        raise StoreUnavailable("disk full")


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v1", "/v1/runs/", "//v1/runs", "/v1/runs/a/b", "/V1/runs", "/catalog"]
)
async def test_an_unknown_address_is_a_problem(path: str):
    """A wrong address gets a sentence in the shape of every other error, never a redirect."""
    async with bridge_for() as rig:
        answer = await rig.http.get(f"http://bridge{path}", follow_redirects=False)
    body = answer.json()
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(body) == KEYS
    assert body["code"] == "route_unknown"
    assert body["status"] == 404
    assert body["type"].endswith("/errors/route_unknown")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/runs", "GET, HEAD, POST"),
        ("DELETE", "/v1/runs/x", "GET, HEAD"),
        ("POST", "/v1/runs/x/events", "GET, HEAD"),
        ("GET", "/v1/runs/x/cancel", "POST"),
        ("DELETE", "/v1/runs/x/readers/a/b", "GET, HEAD, PUT"),
        ("POST", "/catalog/all.yaml", "GET, HEAD"),
        ("OPTIONS", "/v1/actions", "GET, HEAD"),
        ("PATCH", "/api/v1/namespaces", "GET, HEAD, POST"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(method: str, path: str, allowed: str):
    """A client that uses the wrong method reads which one it should use."""
    async with bridge_for() as rig:
        answer = await rig.http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed
    assert answer.json()["instance"] == path


async def test_a_store_that_is_away_is_said_to_be_away():
    """A full disk is a 503 that can be tried again, and readiness says so."""
    async with bridge_for(store=BrokenStore()) as rig:
        answer = await rig.http.get("/v1/runs/x")
        ready = await rig.http.get("/readyz")
        alive = await rig.http.get("/healthz")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert ready.status_code == 503
    assert ready.json()["status"] == "unavailable"
    assert ready.json()["checks"]["store"] == "not available"
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})


async def test_a_fault_of_ours_tells_nothing_of_the_inside(caplog: pytest.LogCaptureFixture):
    """The caller of a broken bridge gets a problem; the reason stays in the log."""

    async def crash(request: Request) -> Response:
        raise ZeroDivisionError("secret inside")

    async with bridge_for() as rig:
        rig.app.router.routes.append(Route("/crash", crash))
        answer = await rig.http.get("/crash")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret inside" not in answer.text
    assert "secret inside" in caplog.text


async def test_a_hint_to_wait_is_a_header():
    """A client library that honours Retry-After waits as long as it should."""

    async def busy(request: Request) -> Response:
        raise BridgeError(retry_after=7)

    async with bridge_for() as rig:
        rig.app.router.routes.append(Route("/busy", busy))
        answer = await rig.http.get("/busy")
    assert answer.headers["retry-after"] == "7"


async def test_head_answers_like_get_without_a_body():
    """Monitors that only ask for headers get the right ones."""
    async with bridge_for() as rig:
        run = await rig.http.post("/v1/runs", json=THING)
        for path in (
            "/v1/actions",
            f"/v1/runs/{run.json()['id']}",
            "/catalog/all.yaml",
            "/healthz",
        ):
            shown, head = await rig.http.get(path), await rig.http.head(path)
            assert (head.status_code, head.headers["content-length"]) == (
                shown.status_code,
                shown.headers["content-length"],
            )
            assert head.headers.get("etag") == shown.headers.get("etag")


async def test_a_body_that_breaks_off_is_no_request():
    """A caller that vanishes in the middle of a request starts nothing."""
    sent: list[MutableMapping[str, Any]] = []
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"action": "thing:make"', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with bridge_for() as rig:
        authorization = AUTHORIZED["Authorization"].encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/runs",
            "query_string": b"",
            "headers": [(b"authorization", authorization)],
        }
        await rig.app(scope, receive, send)
        listed = (await rig.http.get("/v1/runs")).json()["runs"]
    assert sent[0]["status"] == 400
    assert listed == []


async def test_what_the_framework_refuses_has_the_same_shape():
    """An error that is none of ours still arrives as a problem."""

    async def refuse(request: Request) -> Response:
        raise HTTPException(status_code=400, detail="inside")

    async with bridge_for() as rig:
        rig.app.router.routes.append(Route("/refuse", refuse))
        answer = await rig.http.get("/refuse")
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


@pytest.mark.parametrize(
    "address",
    [
        "/v1/actions/a%00b",
        "/v1/runs/a%00b",
        "/v1/runs/a%1Bb",
        "/v1/runs/a%00b/events",
        "/v1/runs?action=%00",
        "/v1/runs?cursor=%00",
        "/v1/runs?status=%00",
        "/catalog/resource/a%00.yaml",
        "/catalog/a%00/b.yaml",
    ],
)
async def test_an_address_that_no_store_could_keep_is_refused(address: str):
    """An odd address is the caller's mistake, whatever the store is."""
    async with bridge_for(store=BrokenStore()) as rig:
        answer = await rig.http.get(address)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_a_problem_shows_no_secret():
    """What broke may quote an address with a password, or one of the bridge's own tokens."""

    class Telling(MemoryStore):
        async def runs(self, chosen):
            raise StoreUnavailable(f"postgresql://a:hunter2@db {PLATFORM_TOKEN} {chosen.limit}")

    async with bridge_for(store=Telling()) as rig:
        answer = await rig.http.get("/v1/runs")
    assert answer.json()["detail"] == "postgresql://a:***@db *** 51"


async def test_a_refused_field_shows_no_secret():
    """A token that was pasted into the wrong field is not repeated."""
    body = {**THING, "input": {"name": "password=hunter2hunter2"}}
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/name"
    assert "hunter2" not in answer.text
