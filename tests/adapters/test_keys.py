"""The public keys of issuers: fetched when needed, not at anybody's command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.adapters.http import client
from bridge.adapters.keys import (
    KEPT_SECONDS,
    MOST_SECONDS_OLD,
    KeySets,
    keys_of_backstage,
    keys_of_issuer,
)
from bridge.domain.errors import IssuerUnavailable
from bridge.domain.issuers import OidcIssuer
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


async def test_a_set_without_end_is_held_in_part():
    """A set of keys cannot fill the memory."""
    async with keys_for([key_set(*(f"k{n}" for n in range(200)))]) as rig:
        assert [await rig.kid("k99"), await rig.kid("k100")] == ["k99", "later"]


async def test_an_unreachable_backstage_gives_no_key():
    """Without keys nothing is said of a token, and the caller is asked to come again."""
    async with client("http://127.0.0.1:9", timeout=5.0, connections=1, verify=False) as http:
        keys = keys_of_backstage(http, clock=HandClock())
        with pytest.raises(IssuerUnavailable) as raised:
            await keys.key(PATH, kid="a")
    assert raised.value.retry_after == 1


# --- time --------------------------------------------------------------------------------------


async def test_a_withdrawn_key_ends_within_an_hour():
    """A stolen key that its issuer takes away does not open the bridge for good."""
    async with keys_for([key_set("stolen", "b"), key_set("b")]) as rig:
        assert await rig.kid("stolen") == "stolen"
        rig.clock.seconds += MOST_SECONDS_OLD - 1
        assert await rig.kid("stolen") == "stolen"
        rig.clock.seconds += 1
        assert await rig.kid("stolen") is None
        assert await rig.kid("b") == "b"
    assert len(rig.received) == 2


async def test_known_keys_count_for_a_day_without_their_issuer():
    """An issuer's outage locks nobody out at once, and is not answered with a flood."""
    async with keys_for([key_set("a"), Reply(503)]) as rig:
        assert await rig.kid("a") == "a"
        rig.clock.seconds += MOST_SECONDS_OLD
        assert [await rig.kid("a") for _ in range(50)] == ["a"] * 50
        assert len(rig.received) == 2
        rig.clock.seconds += KEPT_SECONDS - MOST_SECONDS_OLD - 1
        assert await rig.kid("a") == "a"
        rig.clock.seconds += 1
        assert await rig.kid("a") == "later"


async def test_one_request_refreshes_and_the_others_go_on():
    """A slow issuer delays one request in an hour, not all of them."""
    asked, answer = asyncio.Event(), asyncio.Event()
    fetched: list[str] = []

    async def fetch(name: str) -> dict[str, dict[str, str]]:
        fetched.append(name)
        if len(fetched) > 1:
            asked.set()
            await answer.wait()
        return {"a": {"kid": "a"}}

    clock = HandClock()
    keys = KeySets(fetch, clock=clock)
    await keys.key("set", kid="a")
    clock.seconds += MOST_SECONDS_OLD
    first = asyncio.ensure_future(keys.key("set", kid="a"))
    await asked.wait()
    async with asyncio.timeout(5):
        assert await keys.key("set", kid="a") == {"kid": "a"}
    answer.set()
    assert await first == {"kid": "a"}
    assert len(fetched) == 2


async def test_a_slow_issuer_holds_up_nobody_elses_tokens():
    """While one issuer does not answer, the keys of another one are fetched and found."""
    stuck = asyncio.Event()

    async def fetch(name: str) -> dict[str, dict[str, str]]:
        if name == "slow":
            stuck.set()
            await asyncio.Event().wait()
        return {"a": {"kid": "a"}}

    keys = KeySets(fetch, clock=HandClock())
    waiting = asyncio.ensure_future(keys.key("slow", kid="a"))
    await stuck.wait()
    async with asyncio.timeout(5):
        assert await keys.key("quick", kid="a") == {"kid": "a"}
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        assert await keys.key("quick", kid="a") == {"kid": "a"}


async def test_everybody_who_waits_for_the_first_keys_gets_them():
    """A busy morning after a start is one request to the issuer."""
    async with keys_for([key_set("a")]) as rig:
        found = await asyncio.gather(*(rig.kid("a") for _ in range(100)))
    assert found == ["a"] * 100
    assert len(rig.received) == 1


async def test_an_issuer_that_never_answers_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch):
    """Nobody waits for keys longer than some seconds."""
    monkeypatch.setattr("bridge.adapters.keys._FETCH_SECONDS", 0.01)
    async with keys_for([Reply(end="silence")]) as rig:
        assert await rig.kid("a") == "later"


# --- discovery ---------------------------------------------------------------------------------


def issuer_at(url: str, **changed: Any) -> OidcIssuer:
    """An issuer as an operator describes it."""
    return OidcIssuer(name="idp", issuer=url, audience=("bridge",), **changed)


@asynccontextmanager
async def discovered(
    document: Callable[[str], Any], *replies: Reply, **described: Any
) -> AsyncIterator[tuple[KeySets, str, list[Received]]]:
    """The keys of an issuer that publishes *document* of its own address, and then *replies*."""
    script: list[Reply] = []
    async with replay(script) as server:
        url = f"{server.url}/realm"
        script += [json_reply(document(url)), *replies]
        issuer = issuer_at(url, **described)
        async with client(server.url, timeout=5, connections=1, hosts=issuer.hosts) as http:
            yield keys_of_issuer(http, issuer, clock=HandClock()), url, server.received


async def test_keys_are_where_the_issuer_says():
    """An operator names an issuer; where its keys are is its own business."""

    def document(url: str) -> Any:
        return {"issuer": url, "jwks_uri": f"{url}/keys"}

    async with discovered(document, key_set("a")) as (keys, url, received):
        assert (await keys.key(url, kid="a") or {})["kid"] == "a"
    assert [one.target for one in received] == [
        "/realm/.well-known/openid-configuration",
        "/realm/keys",
    ]


ELSEWHERE = {
    "another host": lambda url: {"issuer": url, "jwks_uri": "http://127.0.0.2:1/keys"},
    "another port": lambda url: {"issuer": url, "jwks_uri": "http://127.0.0.1:1/keys"},
    "metadata of a cloud": lambda url: {"issuer": url, "jwks_uri": "http://169.254.169.254/keys"},
    "a file": lambda url: {"issuer": url, "jwks_uri": "file:///etc/passwd"},
    "a user": lambda url: {"issuer": url, "jwks_uri": url.replace("//", "//idp@")},
    "another issuer": lambda url: {"issuer": f"{url}/", "jwks_uri": f"{url}/keys"},
    "no issuer": lambda url: {"jwks_uri": f"{url}/keys"},
    "no address": lambda url: {"issuer": url},
    "a list": lambda url: [url],
    "an odd address": lambda url: {"issuer": url, "jwks_uri": "http://[::1/keys"},
}


@pytest.mark.parametrize("document", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_a_discovery_document_leads_nowhere_else(
    document: Callable[[str], Any], caplog: pytest.LogCaptureFixture
):
    """Whoever controls the document cannot make the bridge ask addresses inside the network."""
    async with discovered(document, key_set("a")) as (keys, url, received):
        with pytest.raises(IssuerUnavailable):
            await keys.key(url, kid="a")
    assert len(received) == 1
    assert f"the keys of {url} cannot be read: " in caplog.text


async def test_keys_may_be_on_a_host_that_the_operator_lists():
    """Issuers that keep their keys elsewhere work once somebody allows the host."""
    async with replay([key_set("a")]) as other:

        def document(url: str) -> Any:
            return {"issuer": url, "jwks_uri": f"{other.url}/keys"}

        host = other.url.removeprefix("http://")
        async with discovered(document, hosts=(host,)) as (keys, url, _):
            assert (await keys.key(url, kid="a") or {})["kid"] == "a"


async def test_a_redirect_is_not_followed():
    """An open redirect at the issuer does not lead the bridge anywhere."""
    away = Reply(302, {"Location": "http://127.0.0.1:1/keys"})
    async with keys_for([away]) as rig:
        assert await rig.kid("a") == "later"
    assert len(rig.received) == 1


async def test_a_flood_of_forged_tokens_asks_the_issuer_once():
    """Tokens with made-up key ids cost the issuer two requests, however many they are."""

    def document(url: str) -> Any:
        return {"issuer": url, "jwks_uri": f"{url}/keys"}

    async with discovered(document, key_set("a")) as (keys, url, received):
        told = await asyncio.gather(
            *(keys.key(url, kid=f"forged-{n}") for n in range(200)), return_exceptions=True
        )
        assert (await keys.key(url, kid="a") or {})["kid"] == "a"
    assert sum(isinstance(one, IssuerUnavailable) for one in told) == 199
    assert len(received) == 2
