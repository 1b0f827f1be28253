"""Where the bridge sends to: the places of its settings, and nowhere else."""

from __future__ import annotations

import asyncio
import gzip
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.adapters.http import NOT_SENT, ElsewhereRefused, HttpError, Lane, client
from bridge.domain.errors import EngineUnavailable
from tests.adapters.argo import engine_for
from tests.adapters.replay import Reply, json_reply, replay

OK = json_reply({})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int):
    """A peer cannot send the bridge, and its token, to another place."""
    async with replay([OK]) as elsewhere:
        moved = Reply(status, {"Location": f"{elsewhere.url}/secret"})
        async with replay([moved]) as peer, client(peer.url, timeout=5, connections=1) as http:
            answer = await http.get("/", headers={"Authorization": "Bearer token"})
    assert (answer.status_code, len(peer.received)) == (status, 1)
    assert elsewhere.received == []


async def test_an_argo_that_redirects_is_no_argo():
    """A redirect in the place of an answer is an error that can be tried again, nothing more."""
    async with replay([OK]) as elsewhere:
        moved = Reply(307, {"Location": f"{elsewhere.url}/api/v1/workflows/argo-workflows"})
        async with engine_for([moved]) as rig:
            with pytest.raises(EngineUnavailable):
                await rig.engine.create({"metadata": {"name": "wf"}, "spec": {}})
    assert elsewhere.received == []


async def test_nothing_is_sent_to_a_place_that_is_not_configured():
    """An address from a document, another name or port of the same machine: nothing is sent."""
    async with (
        replay([OK]) as peer,
        replay([OK]) as other,
        client(peer.url, timeout=5, connections=1) as http,
    ):
        port = peer.url.rpartition(":")[2]
        for address in (
            f"{other.url}/",
            f"http://localhost:{port}/",
            f"https://127.0.0.1:{port}/",
            f"http://127.0.0.1:{port}@evil.example/",
            "http://169.254.169.254/latest/meta-data",
        ):
            with pytest.raises(ElsewhereRefused, match="is not a configured place"):
                await http.get(address)
        assert (await http.get(f"{peer.url}/x")).status_code == 200
    assert (len(peer.received), other.received) == (1, [])
    assert issubclass(ElsewhereRefused, HttpError)
    assert issubclass(ElsewhereRefused, NOT_SENT)


async def test_a_lane_leads_to_its_peer_only():
    """What is called through a lane is a path of the peer, never an address of its own."""
    async with replay([OK]) as peer, Lane(f"{peer.url}/argo/", timeout=5) as lane:
        for address in (f"{peer.url}/x", "@evil.example/", ".evil.example/", ""):
            with pytest.raises(ElsewhereRefused, match="is no path"):
                await lane.request("GET", address)
        assert (await lane.request("GET", "//evil.example/x")).status_code == 200
    (request,) = peer.received
    assert (request.target, request.headers["host"]) == ("/argo//evil.example/x", peer.url[7:])


async def test_a_lane_connects_again_when_its_connection_was_closed():
    """A peer that closes idle connections costs no request."""
    closing = Reply(200, {"Connection": "close"}, b"{}")
    async with replay([closing, OK]) as peer, Lane(peer.url, timeout=5) as lane:
        answers = [await lane.request("GET", "/") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_packed_answer_is_unpacked():
    """Long lists come packed, and are read as what they are."""
    packed = Reply(200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}'))
    async with replay([packed]) as peer, Lane(peer.url, timeout=5) as lane:
        assert (await lane.request("GET", "/")).json() == {"a": 1}


async def test_an_answer_that_nobody_waits_for_any_more_is_not_the_next_ones():
    """A call that was given up takes its connection with it, late answer and all."""
    late = Reply(200, {}, b'"late"', end="silence")
    async with replay([late, json_reply("next")]) as peer, Lane(peer.url, timeout=5) as lane:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await lane.request("GET", "/first")
        assert (await lane.request("GET", "/next")).json() == "next"
    assert [request.target for request in peer.received] == ["/first", "/next"]


async def test_what_is_asked_arrives_as_it_is():
    """Text that has a meaning in addresses or JSON is data at the other side."""
    text = "a&b=c d%41+\u00e9\u2028"
    async with replay([OK]) as peer, Lane(peer.url, timeout=5) as lane:
        await lane.request("PUT", "/x", params={"q": text}, json={"t": text})
        await lane.request("DELETE", "/y")
    put, deleted = peer.received
    assert parse_qs(urlsplit(put.target).query) == {"q": [text]}
    assert (put.json(), put.headers["content-type"]) == ({"t": text}, "application/json")
    assert not {"content-length", "transfer-encoding", "content-type"} & deleted.headers.keys()


async def test_more_places_can_be_configured():
    """An issuer may publish its keys on a host of their own, if the settings name it."""
    async with replay([OK]) as peer, replay([OK]) as keys:
        host = keys.url.removeprefix("http://")
        async with client(peer.url, timeout=5, connections=2, hosts=[host]) as http:
            answers = [await http.get("/"), await http.get(f"{keys.url}/keys")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(keys.received) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    """What some environment variable says cannot lead the bridge's tokens through a stranger."""
    async with replay([OK]) as peer, replay([OK]) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with client(peer.url, timeout=5, connections=1) as http:
            await http.get("/")
    assert (len(peer.received), proxy.received) == (1, [])
