"""Which failures prove that Argo did nothing, and how long the bridge waits after each.

Whoever creates a workflow looks for the last try's result first, unless nothing can have come of
it; so "unreached" must never be said of a request that may have arrived.
"""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.argo_answers import Failure, WatchRotated, error_of, read_failure
from bridge.adapters.argo_responses import unreachable
from bridge.adapters.http import HttpError, Lanes
from bridge.domain.errors import EngineError, EngineUnavailable, EngineUnreached
from tests.adapters.argo import engine_for
from tests.adapters.replay import Reply

DIALING = (
    'connection error: desc = "transport: Error while dialing: '
    'dial tcp 127.0.0.1:2746: connect: connection refused"'
)


def answer(status: int, body: bytes, **headers: str) -> EngineError:
    """What an answer to a creation means; underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of("create", read_failure(status, headers=named, body=body))


# --- whether it may have been done --------------------------------------------------------------

UNDONE = {
    "rate limit": Failure(429, "'Too Many Requests'", is_json=False),
    "rate limit of Kubernetes": Failure(429, "the server has received too many requests"),
    "rate limit of a proxy": Failure(429, "a web page", is_json=False),
    "starting": Failure(503, DIALING),
}
PERHAPS = {
    "answer too large": Failure(429, "grpc: received message larger than max (9 vs. 4)"),
    "cut inside": Failure(503, 'connection error: desc = "error reading from server: EOF"'),
    "closing": Failure(503, "the connection is draining"),
    "internal": Failure(500, "etcdserver: request timed out"),
    "deadline": Failure(504, "context deadline exceeded"),
    "gateway": Failure(502, "a web page", is_json=False),
    "proxy": Failure(503, "a web page", is_json=False),
    "page": Failure(200, "a web page", is_json=False),
}


@pytest.mark.parametrize("failure", UNDONE.values(), ids=UNDONE.keys())
def test_a_refusal_before_anything_was_done_is_unreached(failure: Failure):
    """A run that Argo had no time for is simply asked for again."""
    assert type(error_of("create", failure)) is EngineUnreached


@pytest.mark.parametrize("failure", PERHAPS.values(), ids=PERHAPS.keys())
def test_a_failure_after_the_request_arrived_leaves_it_open(failure: Failure):
    """Nothing is created twice because an answer was lost."""
    assert type(error_of("create", failure)) is EngineUnavailable


NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
PERHAPS_SENT = (
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)


@pytest.mark.parametrize("kind", [*NEVER_SENT, *PERHAPS_SENT])
def test_only_a_connection_that_was_never_made_leaves_no_doubt(kind: type[HttpError]):
    """Refused, no such host, no certificate, no free connection: all else may have arrived."""
    expected = EngineUnreached if kind in NEVER_SENT else EngineUnavailable
    assert type(unreachable(kind("why"))) is expected


@pytest.mark.parametrize("reply", [Reply(end="silence"), Reply(end="cut")], ids=["silent", "cut"])
async def test_a_lost_answer_leaves_it_open(reply: Reply):
    """A workflow whose creation was answered by silence is looked for before a second try."""
    async with engine_for([reply], patience=0.2) as rig:
        with pytest.raises(EngineUnavailable, match="not reachable") as caught:
            await rig.engine.create({})
    assert type(caught.value) is EngineUnavailable
    assert len(rig.received) == 1


async def test_a_connection_that_does_not_come_free_is_unreached():
    """Behind a slow Argo a call is given up unsent, and the connection serves the next one."""
    asked = asyncio.Event()

    async def hang_on_get(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            asked.set()
            await asyncio.Event().wait()
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(hang_on_get)
    async with httpx.AsyncClient(base_url="http://argo.example", transport=transport) as http:
        lanes = Lanes([http], wait=0.01)
        target = ArgoTarget("argo-workflows", "bridge/instance=default")
        engine = ArgoEngine(target, control=lanes, streams=lambda: http, token=lambda: None)
        slow = asyncio.create_task(engine.ping())
        await asked.wait()
        with pytest.raises(EngineUnreached, match=r"no connection came free in 0\.01 s"):
            await engine.create({})
        slow.cancel()
        await asyncio.wait([slow])
        await engine.create({})


# --- how long to wait ----------------------------------------------------------------------------

WAITS = {
    "seconds": ("7", 7),
    "none": ("0", 1),
    "an hour": ("3600", 60),
    "endless": ("9" * 5_000, 60),
    "a date that is none": ("Sat, 21 Nov 2026 22:44:04 UTC", 1),
    "a date": ("Sat, 21 Nov 2026 22:44:04 GMT", 1),
    "digits of another script": ("\u0667", 1),
    "negative": ("-5", 1),
    "nothing": ("", 1),
}


@pytest.mark.parametrize(("text", "seconds"), WAITS.values(), ids=WAITS.keys())
def test_a_limit_is_waited_for(text: str, seconds: int):
    """Being asked to slow down is obeyed, and never for longer than a minute."""
    plain = answer(429, b"Too Many Requests\n", retry_after=text)
    assert (type(plain), plain.retry_after) == (EngineUnreached, seconds)
    in_json = answer(429, b'{"code":8,"message":"slow down"}', retry_after=text)
    assert (type(in_json), in_json.retry_after) == (EngineUnreached, seconds)


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>", b'{"code":14,"message":"draining"}'])
def test_a_proxy_says_how_long_argo_is_away(status: int, body: bytes):
    """A proxy before a restarting Argo is asked again when it said so, not before."""
    error = answer(status, body, retry_after="20")
    assert (type(error), error.retry_after) == (EngineUnavailable, 20)
    assert answer(status, body).retry_after is None


def test_the_end_of_a_watch_is_no_limit():
    """Following goes on at once when the server rotates its watch."""
    with pytest.raises(WatchRotated):
        error_of("watch", Failure(429, "EOF"))
