"""Requests that a machine signs: Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.adapters.system import SystemClock
from bridge.domain.credentials import webhook_keys
from bridge.web.auth import Authenticator, RequireCaller, Verifiers
from bridge.web.verifiers.webhooks import Webhooks

SECRET, OLD = b"s" * 32, b"o" * 24
LIMIT = 1_000
BODY = json.dumps({"action": "thing:make"}).encode()
PATH = "/v1/runs"


def signature(secret: bytes, *, key: str, at: int, body: bytes) -> str:
    """As the specification makes it."""
    content = f"{key}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def signed(
    body: bytes = BODY, *, secret: bytes = SECRET, key: str = "msg_1", late: int = 0
) -> dict[str, str]:
    """The headers of a request that was signed *late* seconds ago."""
    at = int(SystemClock().now().timestamp()) - late
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secret, key=key, at=at, body=body),
    }


async def _echo(request: Request) -> Response:
    caller = request.state.caller
    key = request.headers.get("idempotency-key")
    text = (await request.body()).decode()
    return JSONResponse({"caller": caller.subject, "key": key, "body": text})


def door(*, secrets: str | None = None) -> httpx.AsyncClient:
    """A client of an application that says who asked, and what."""
    text = secrets or ",".join(
        f"ci=whsec_{base64.b64encode(secret).decode()}" for secret in (OLD, SECRET)
    )
    known = webhook_keys(text, of="BRIDGE_WEBHOOK_SECRETS", strict=True)
    verifiers = Verifiers(webhooks=Webhooks(lambda: known, SystemClock()))
    routes = [Route(path, _echo, methods=["GET", "POST"]) for path in (PATH, f"{PATH}/x/cancel")]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(RequireCaller, authenticator=Authenticator(verifiers), max_body=LIMIT)
        ],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://bridge")


async def test_a_signed_request_is_its_senders_and_arrives_unchanged():
    """A machine needs no token: its signature says who it is, and its id keeps it from repeats."""
    odd = b'{"action":"thing:make" ,\n "input":{"name":"\xc3\xbc"}}'
    async with door() as http:
        answer = await http.post(PATH, content=odd, headers=signed(odd))
    assert answer.json() == {"caller": "webhook:ci", "key": "msg_1", "body": odd.decode()}


async def test_a_body_in_pieces_is_verified_whole():
    """However the network cuts it, a body is the body that was signed."""

    async def pieces() -> Any:
        for at in range(0, len(BODY), 7):
            yield BODY[at : at + 7]

    async with door() as http:
        answer = await http.post(PATH, content=pieces(), headers=signed())
    assert answer.json()["body"] == BODY.decode()


async def test_both_secrets_count_while_one_replaces_the_other():
    """A sender may sign with the old secret, the new one, or both."""
    at = signed()["webhook-timestamp"]
    both = " ".join(
        signature(secret, key="msg_1", at=int(at), body=BODY) for secret in (b"x" * 32, OLD)
    )
    async with door() as http:
        for headers in (
            signed(secret=OLD),
            signed(),
            {**signed(), "webhook-timestamp": at, "webhook-signature": f"v1a,AAAA {both}"},
        ):
            assert (await http.post(PATH, content=BODY, headers=headers)).status_code == 200


def wrong() -> dict[str, dict[str, str]]:
    """What is wrong with a request, and its headers as they would be sent now."""
    return {
        "another secret": signed(secret=b"x" * 32),
        "another body": signed(b"{}"),
        "too old": signed(late=400),
        "from the future": signed(late=-400),
        "another id": {**signed(), "webhook-id": "msg_2"},
        "another time": {**signed(late=10), "webhook-timestamp": signed()["webhook-timestamp"]},
        "no id": {k: v for k, v in signed().items() if k != "webhook-id"},
        "no time": {k: v for k, v in signed().items() if k != "webhook-timestamp"},
        "a time in words": {**signed(), "webhook-timestamp": "now"},
        "a time without end": {**signed(), "webhook-timestamp": "9" * 400},
        "an id without end": signed(key="x" * 300),
        "an odd id": signed(key="a b"),
        "no signature": {**signed(), "webhook-signature": ""},
        "an empty one": {**signed(), "webhook-signature": "v1,"},
        "not base64": {**signed(), "webhook-signature": "v1,!!!!"},
        "cut": {**signed(), "webhook-signature": signed()["webhook-signature"][:-5]},
        "another version": {
            **signed(),
            "webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,"),
        },
        "after many others": {
            **signed(),
            "webhook-signature": "v1,AAAA " * 20 + signed()["webhook-signature"],
        },
    }


@pytest.mark.parametrize("what", wrong())
async def test_a_request_that_is_not_signed_right_is_refused(what: str):
    """Nobody speaks for a machine whose secret they do not know, nor repeats it a day later."""
    async with door() as http:
        answer = await http.post(PATH, content=BODY, headers=wrong()[what])
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_no_part_of_what_is_signed_can_be_moved_into_another():
    """The dots between id, time and body are not in them, so each signature is of one message."""
    at = int(SystemClock().now().timestamp())
    mac = signature(SECRET, key="a", at=at, body=f"{at}.{{}}".encode())
    moved = {"webhook-id": f"a.{at}", "webhook-timestamp": str(at), "webhook-signature": mac}
    async with door() as http:
        answer = await http.post(PATH, content=b"{}", headers=moved)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/runs/x/cancel"), ("GET", PATH), ("POST", "/v1/audit")]
)
async def test_a_webhook_begins_runs_and_does_nothing_else(method: str, path: str):
    """The address is not signed, so a message for one must not do anything at another."""
    async with door() as http:
        answer = await http.request(method, path, content=BODY, headers=signed())
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_the_signed_id_is_the_only_key_against_repeats():
    """Whoever records a message cannot make it count twice by putting another key on it."""
    async with door() as http:
        other = {**signed(), "Idempotency-Key": "another"}
        refused = await http.post(PATH, content=BODY, headers=other)
        same = {**signed(), "Idempotency-Key": "msg_1"}
        taken = await http.post(PATH, content=BODY, headers=same)
    assert (refused.status_code, refused.json()["code"]) == (400, "request_invalid")
    assert taken.json()["key"] == "msg_1"


async def test_a_body_beyond_the_limit_is_not_held():
    """Nobody fills the memory by claiming to sign."""
    body = b"x" * (LIMIT + 1)
    async with door() as http:
        answer = await http.post(PATH, content=body, headers=signed(body))
        fits = await http.post(PATH, content=body[1:], headers=signed(body[1:]))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert fits.status_code == 200


async def test_a_token_goes_before_a_signature():
    """A request with a token is its holder's; a signature beside it changes nothing."""
    async with door() as http:
        headers = {**signed(), "Authorization": "Bearer x"}
        answer = await http.post(PATH, content=BODY, headers=headers)
    assert answer.status_code == 401
    assert "token" in answer.json()["detail"]
