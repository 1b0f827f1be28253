"""Every route, every kind of caller: what each is answered."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from starlette.routing import Route

from bridge.web.auth import is_open
from tests.web.identities import (
    PLATFORM_SECRET,
    WEBHOOK_SECRETS,
    Issuers,
    Kind,
    issuers,
    platform,
    webhook,
)
from tests.web.making import SERVICE_TOKEN, Rig, bridge_for, settings_for

Wrapped = Callable[[Issuers, str], str]
"""How a proof is sent: most by themselves, an ``obo`` claim inside of a plugin token."""

KINDS: dict[str, tuple[Callable[[Issuers], Kind], Wrapped]] = {
    "plugin": (lambda found: found.plugin, lambda _, token: token),
    "obo": (lambda found: found.obo, lambda found, token: found.plugin.token(obo=token)),
    "backstage user": (lambda found: found.user, lambda _, token: token),
    "oidc": (lambda found: found.oidc, lambda _, token: token),
    "platform": (lambda _: platform(), lambda _, token: token),
}
PLACES = {
    "{reader:path}": "reader",
    "{kind}/{file}": "resource/local.yaml",
}


def every_route(rig: Rig) -> list[tuple[str, str]]:
    """Method and path, as the table of routes writes them; HEAD goes with GET."""
    return [
        (method, route.path)
        for route in rig.app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
    ]


def address(path: str, run_id: str = "x") -> str:
    """*path* with something in its places."""
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return path.format(run_id=run_id, request_id=run_id, action_id="thing:make")


@asynccontextmanager
async def matrix() -> AsyncIterator[tuple[Rig, Issuers]]:
    """A bridge that has every verifier, and the issuers that it trusts."""
    async with issuers() as found:
        settings = settings_for(
            backstage_url=found.url,
            oidc_issuers=found.description,
            platform_secret=SecretStr(PLATFORM_SECRET),
            webhook_secrets=SecretStr(WEBHOOK_SECRETS),
        )
        async with bridge_for(settings) as rig:
            del rig.http.headers["Authorization"]
            yield rig, found


async def answers(rig: Rig, headers: Callable[[], dict[str, str]]) -> dict[tuple[str, str], int]:
    """What every route answers; the headers are made anew for each."""
    return {
        (method, path): (
            await rig.http.request(method, address(path), json={}, headers=headers())
        ).status_code
        for method, path in every_route(rig)
    }


def closed(found: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """What is not open to everybody."""
    return {route: status for route, status in found.items() if not is_open(address(route[1]))}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer e30.e30.",
        "Bearer a.b.c",
        f"Bearer {SERVICE_TOKEN}x",
        f"Bearer {PLATFORM_SECRET}",
        "Basic dXNlcjpwYXNz",
    ],
)
async def test_without_proof_every_route_that_is_not_open_is_closed(header: str | None):
    """A stranger learns nothing, not even which addresses there are."""
    async with matrix() as (rig, _):
        found = await answers(rig, lambda: {} if header is None else {"Authorization": header})
    assert set(closed(found).values()) == {401}
    assert {status for route, status in found.items() if route not in closed(found)} == {200}


@pytest.mark.parametrize("name", KINDS)
async def test_a_token_that_is_wrong_in_one_way_opens_no_route(name: str):
    """Expired, for somebody else, unsigned, confused: whatever the forgery, all stays closed."""
    async with matrix() as (rig, found):
        kind, wrapped = KINDS[name]
        for way, forge in kind(found).forgeries().items():

            def headers(forge: Callable[[], str] = forge) -> dict[str, str]:
                return {"Authorization": f"Bearer {wrapped(found, forge())}"}

            refused = set(closed(await answers(rig, headers)).values())
            # Of a key that cannot be looked up again so soon, neither yes nor no is said.
            assert refused <= ({401, 503} if way == "unknown kid" else {401}), way


@pytest.mark.parametrize("name", KINDS)
async def test_a_token_that_is_right_opens_the_catalogue(name: str):
    """What the forgeries were made from is let in, so that each was refused for its one fault."""
    async with matrix() as (rig, found):
        kind, wrapped = KINDS[name]
        headers = {"Authorization": f"Bearer {wrapped(found, kind(found).token())}"}
        assert (await rig.http.get("/v1/actions", headers=headers)).status_code == 200


WEBHOOKS = {
    "too old": lambda: webhook(b"{}", at=time.time() - 360),
    "of the future": lambda: webhook(b"{}", at=time.time() + 360),
    "of another body": lambda: webhook(b'{"action": "thing:make"}'),
    "by another secret": lambda: webhook(b"{}", secret=b"another-secret-of-the-same-length"),
    "with another id": lambda: webhook(b"{}", id="msg_other"),
    "with another time": lambda: webhook(b"{}", timestamp=str(int(time.time()) + 1)),
    "of another version": lambda: webhook(b"{}", signature="v1a,AAAA"),
    "without signature": lambda: webhook(b"{}", signature=""),
}


@pytest.mark.parametrize("way", WEBHOOKS)
async def test_a_webhook_that_is_not_signed_as_it_must_be_opens_no_route(way: str):
    """Old, altered or signed by somebody else: a webhook is refused before it is read."""
    async with matrix() as (rig, _):
        found = await answers(rig, WEBHOOKS[way])
    assert set(closed(found).values()) == {401}


async def test_a_webhook_opens_only_the_routes_that_start_work():
    """The address is not signed, so that a stolen webhook must fit nowhere else."""
    async with matrix() as (rig, _):
        found = closed(await answers(rig, lambda: webhook(b"{}")))
    let_in = {route for route, status in found.items() if status != 403}
    assert let_in == {("POST", "/v1/runs"), ("POST", "/api/platform/namespaces/request")}
    assert not {401, 500} & {found[route] for route in let_in}


async def test_a_flood_of_unknown_keys_is_not_passed_on():
    """Whoever sends thousands of made-up key ids cannot make the bridge flood Backstage."""
    async with matrix() as (rig, found):
        begun = time.monotonic()
        for _ in range(200):
            token = found.user.forgeries()["unknown kid"]()
            headers = {"Authorization": f"Bearer {token}"}
            answer = await rig.http.get("/v1/actions", headers=headers)
            assert answer.status_code in {401, 503}
            assert answer.status_code == 401 or int(answer.headers["retry-after"]) >= 1
        assert len(found.fetched) <= 1 + (time.monotonic() - begun) / 5
