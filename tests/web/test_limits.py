"""How much is taken on from one caller, from nobody known, and in all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from bridge.web.auth import Authenticator
from tests.web.making import (
    ADMIN,
    APPROVER,
    AUTHORIZED,
    STRANGER,
    THING,
    bridge_for,
    served,
    settings_for,
    until,
)


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and code; who is told to wait is told for how long."""
    if answer.status_code in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status_code, answer.json().get("code", "")


async def test_a_caller_that_asks_too_often_is_told_to_wait():
    """A loop gone wild costs its owner some time and nobody else anything."""
    async with bridge_for(settings_for(requests_per_second=0.02)) as rig:
        answers = [await rig.http.get("/v1/actions") for _ in range(3)]
        other = await rig.http.get("/v1/actions", headers=APPROVER)
        health = await rig.http.get("/healthz")
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert told(answers[-1]) == (429, "rate_limited")
    assert (other.status_code, health.status_code) == (200, 200)


async def test_posts_have_a_rate_of_their_own():
    """Starting runs is bounded more tightly than looking at them."""
    async with bridge_for(settings_for(posts_per_second=0.02)) as rig:
        answers = [await rig.http.post("/v1/runs", json=THING) for _ in range(2)]
        listed = await rig.http.get("/v1/runs")
        other = await rig.http.post("/v1/runs", json=THING, headers=STRANGER)
    assert answers[0].status_code == 202
    assert told(answers[1]) == (429, "rate_limited")
    assert len(listed.json()["runs"]) == 1
    assert other.status_code == 202


async def test_what_is_refused_for_its_token_does_not_count_for_anybody():
    """Nobody can use up another caller's rate without its token."""
    async with bridge_for(settings_for(requests_per_second=0.02)) as rig:
        wrong = {"Authorization": "Bearer wrong", "X-Forwarded-For": "10.0.0.1"}
        refused = [await rig.http.get("/v1/actions", headers=wrong) for _ in range(5)]
        right = await rig.http.get("/v1/actions")
    assert {answer.status_code for answer in refused} == {401}
    assert right.status_code == 200


class Gate:
    """Keys that are far away: callers are verified once it opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self.open = asyncio.Event()
        real = Authenticator.identify

        async def identify(*args: Any, **kwargs: Any) -> Any:
            self.waiting += 1
            await self.open.wait()
            return await real(*args, **kwargs)

        monkeypatch.setattr(Authenticator, "identify", identify)


async def test_few_requests_at_a_time_wait_for_their_callers_to_be_known(
    monkeypatch: pytest.MonkeyPatch,
):
    """A flood of tokens that take long to check is answered at once, and health always."""
    async with bridge_for(settings_for(max_unverified=3)) as rig:
        gate = Gate(monkeypatch)
        waiting = [asyncio.ensure_future(rig.http.get("/v1/actions")) for _ in range(3)]
        await until(lambda: _true(gate.waiting == 3))
        refused = await rig.http.get("/v1/actions")
        catalog = await rig.http.get("/catalog/all.yaml")
        health = [await rig.http.get(path) for path in ("/healthz", "/readyz")]
        gate.open.set()
        answers = await asyncio.gather(*waiting)
        again = await rig.http.get("/v1/actions")
    assert told(refused) == told(catalog) == (503, "overloaded")
    assert [answer.status_code for answer in (*health, *answers, again)] == [200] * 6


async def test_known_callers_leave_room_for_the_next():
    """Who is known does not count any more: open streams and slow requests hold nobody up."""
    sse = {"Accept": "text/event-stream"}
    async with served(settings_for(max_unverified=1)) as rig:
        path = f"/v1/runs/{await rig.accepted()}/events"
        async with rig.http.stream("GET", path, headers=sse) as stream:
            for headers, status in (({}, 200), ({"Authorization": "no"}, 401), ({}, 200)):
                answer = await rig.http.get("/v1/actions", headers=headers)
                assert answer.status_code == status
                assert (await rig.http.get("/catalog/all.yaml")).status_code == 200
    assert stream.status_code == 200


async def _true(answer: bool) -> bool:
    return answer


async def test_streams_are_counted_for_each_caller_and_in_all():
    """A client that opens streams without end is told so, with the time to come again."""
    sse = {"Accept": "text/event-stream"}
    async with served(settings_for(streams_per_caller=2, max_streams=3)) as rig:
        path = f"/v1/runs/{await rig.accepted()}/events"
        async with AsyncExitStack() as opened:
            for caller in (AUTHORIZED, AUTHORIZED, ADMIN):
                stream = rig.http.stream("GET", path, headers={**sse, **caller})
                assert (await opened.enter_async_context(stream)).status_code == 200
            again = await rig.http.get(path, headers=sse)
            full = await rig.http.get(path, headers={**sse, **ADMIN})
            page = await rig.http.get(path)
        await until(lambda: _true(not len(rig.bridge.streams)))
        async with rig.http.stream("GET", path, headers=sse) as later:
            assert later.status_code == 200
    assert told(again) == (429, "too_many_streams")
    assert told(full) == (503, "overloaded")
    assert page.status_code == 200
