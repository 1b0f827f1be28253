"""The public keys of Backstage plugins: fetched when needed, not at anybody's command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.adapters.http import client
from bridge.adapters.keys import KeySets, keys_of_backstage
from bridge.domain.errors import IssuerUnavailable
from tests.adapters.replay import Received, Reply, json_reply, replay

PATH = "/api/scaffolder/.backstage/auth/v1/jwks.json"
COOL_DOWN = 5.0


def key_set(*kids: str) -> Reply:
    """A key set as a plugin serves it."""
    return json_reply({"keys": [{"kid": kid, "kty": "EC", "alg": "ES256"} for kid in kids]})


@dataclass(slots=True)
class HandClock:
    """A clock that a test turns."""

    seconds: float = 1_000.0

    def now(self) -> datetime:
        """See Clock."""
        return datetime(2026, 11, 22, tzinfo=UTC)

    def monotonic(self) -> float:
        """See Clock."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Rig:
    """A key source, its clock and what its server received."""

    keys: KeySets
    received: list[Received]
    clock: HandClock = field(default_factory=HandClock)

    async def kid(self, kid: str, *, path: str = PATH) -> Any:
        """The id of the key found, None, or "later" when nothing can be said yet."""
        try:
            found = await self.keys.key(path, kid=kid)
        except IssuerUnavailable:
            return "later"
        return None if found is None else found["kid"]


@asynccontextmanager
async def keys_for(replies: Iterable[Reply]) -> AsyncIterator[Rig]:
    """A key source for a server that plays *replies*."""
    clock = HandClock()
    async with (
        replay(replies) as server,
        client(server.url, timeout=10.0, connections=2, verify=False) as http,
    ):
        keys = keys_of_backstage(http, clock=clock)
        yield Rig(keys, server.received, clock)


async def test_a_key_is_fetched_once_and_remembered():
    """Verifying a token costs Backstage one request, not one for each request."""
    async with keys_for([key_set("a")]) as rig:
        assert [await rig.kid("a") for _ in range(3)] == ["a", "a", "a"]
    assert [(r.method, r.target) for r in rig.received] == [("GET", PATH)]


async def test_a_flood_of_unknown_keys_is_one_request():
    """Forged tokens cannot turn the bridge against Backstage."""
    async with keys_for([key_set("a")]) as rig:
        found = await asyncio.gather(*(rig.kid(f"forged-{n}") for n in range(200)))
    assert sorted(found, key=str) == [None, *["later"] * 199]
    assert len(rig.received) == 1


async def test_a_new_key_is_found_after_the_cool_down():
    """A Backstage that restarted with new keys is understood again by itself."""
    async with keys_for([key_set("old"), key_set("new")]) as rig:
        assert await rig.kid("old") == "old"
        assert await rig.kid("new") == "later"
        rig.clock.seconds += COOL_DOWN
        assert await rig.kid("new") == "new"
        assert await rig.kid("old") == "later"
    assert len(rig.received) == 2


async def test_each_issuer_has_a_cool_down_of_its_own():
    """The key of a user token is fetched although a plugin's key was fetched just now."""
    async with keys_for([key_set("a"), key_set("b")]) as rig:
        assert await rig.kid("a") == "a"
        assert await rig.kid("b", path="/api/auth/.well-known/jwks.json") == "b"
        assert await rig.kid("b") == "later"


BROKEN = [
    Reply(500, {}, b"oops"),
    Reply(200, {"Content-Type": "text/html"}, b"<html>"),
    json_reply({"keys": "none"}),
    json_reply([]),
    Reply(200, chunks=(b"{",), end="cut"),
    Reply(200, {}, b'{"keys":[' + b" " * 300_000 + b"]}"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=["500", "html", "no-list", "list", "cut", "huge"])
async def test_good_keys_outlive_a_bad_answer(broken: Reply):
    """While Backstage restarts, tokens that were valid stay valid."""
    async with keys_for([key_set("a"), broken]) as rig:
        assert await rig.kid("a") == "a"
        rig.clock.seconds += COOL_DOWN
        assert await rig.kid("b") == "later"
        assert await rig.kid("a") == "a"
    assert len(rig.received) == 2


async def test_a_backstage_that_is_just_starting_is_asked_again_soon():
    """The first request of a starting Backstage comes before its keys can be read."""
    async with keys_for([Reply(503, {}, b""), key_set("a")]) as rig:
        assert await rig.kid("a") == "later"
        rig.clock.seconds += 1
        assert await rig.kid("a") == "a"


async def test_keys_without_an_id_are_left_out():
    """One odd key in the set does not lock everybody out."""
    mixed = json_reply({"keys": [None, "x", {"kty": "EC"}, {"kid": "a"}]})
    async with keys_for([mixed]) as rig:
        assert await rig.kid("a") == "a"


async def test_an_unreachable_backstage_gives_no_key():
    """Without keys nothing is said of a token, and the caller is asked to come again."""
    async with client("http://127.0.0.1:9", timeout=5.0, connections=1, verify=False) as http:
        keys = keys_of_backstage(http, clock=HandClock())
        with pytest.raises(IssuerUnavailable) as raised:
            await keys.key(PATH, kid="a")
    assert raised.value.retry_after == 1
