"""Who may ask what: every route, every kind of caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.routing import Route

from bridge.adapters.memory import SystemClock
from bridge.domain.errors import IssuerUnavailable, SettingsInvalid, Unauthenticated
from bridge.identity import authenticator_of
from bridge.ports import KeySource
from bridge.settings import Settings
from bridge.web.auth import OPEN_PREFIX, OPEN_ROUTES, PLATFORM_ROUTES, is_open
from tests.web.making import (
    PLATFORM_TOKEN,
    SERVICE_TOKEN,
    THING,
    Rig,
    bridge_for,
    settings_for,
)
from tests.web.tokens import Backstage

RECORD = {"name": "a", "status": "active"}


def every_request(rig: Rig) -> list[tuple[str, str]]:
    """Each method of each route of the application, with values for its parameters."""
    return [
        (
            method,
            route.path_format.replace("{kind}/{file}", "resource/local.yaml").format_map(Values()),
        )
        for route in rig.app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
    ]


class Values(dict[str, str]):
    """Any path parameter is ``x``."""

    def __missing__(self, key: str) -> str:
        return "x"


async def test_every_route_is_open_on_purpose_or_needs_a_token():
    """A route that somebody adds tomorrow is closed unless it is listed as open."""
    async with bridge_for() as rig:
        del rig.http.headers["Authorization"]
        requests = every_request(rig)
        for method, path in requests:
            answer = await rig.http.request(method, path, json={})
            if path in OPEN_ROUTES or path.startswith(OPEN_PREFIX):
                assert answer.status_code == 200, path
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                if method != "HEAD":
                    assert answer.json()["code"] == "unauthenticated"
    assert len(requests) > 15
    assert {path for _, path in requests if is_open(path)} == {
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/catalog/all.yaml",
        "/catalog/resource/local.yaml",
    }


async def test_an_unknown_address_is_not_told_to_strangers():
    """Without a token nobody can find out which addresses exist."""
    async with bridge_for() as rig:
        del rig.http.headers["Authorization"]
        for path in ("/nope", "/v1/runs/x", "/catalogue", "/healthz/", "/catalog"):
            assert (await rig.http.get(path)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        SERVICE_TOKEN,
        f"Token {SERVICE_TOKEN}",
        f"Bearer {SERVICE_TOKEN}x",
        f"Bearer {SERVICE_TOKEN[:-1]}",
        "Bearer ünïcode",
        "Bearer " + "x" * 10_000,
    ],
)
async def test_a_wrong_token_is_refused(header: str | None):
    """Only who knows a token gets in, and the refusal does not repeat what was sent."""
    async with bridge_for() as rig:
        del rig.http.headers["Authorization"]
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        answer = await rig.http.post("/v1/runs", json=THING, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "xxxx" not in answer.text


async def test_a_service_token_names_its_holder():
    """A script with a token of its own is told apart from Backstage."""
    tokens = f"ci={'c' * 24}, ops = {'o' * 24}"
    async with bridge_for(settings_for(tokens=tokens)) as rig:
        for name, token in (("ci", "c" * 24), ("ops", "o" * 24)):
            rig.http.headers["Authorization"] = f"Bearer {token}"
            run = (await rig.http.post("/v1/runs", json=THING)).json()
            assert run["requestedBy"] == f"service:{name}"


async def test_each_service_has_idempotency_keys_of_its_own():
    """Two services that happen to use the same key do not get each other's runs."""
    tokens = f"ci={'c' * 24},ops={'o' * 24}"
    async with bridge_for(settings_for(tokens=tokens)) as rig:
        ids = set()
        for token in ("c" * 24, "o" * 24):
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "same"}
            answer = await rig.http.post("/v1/runs", json=THING, headers=headers)
            assert answer.status_code == 202
            ids.add(answer.json()["id"])
    assert len(ids) == 2


async def test_the_platform_token_opens_its_one_address_only():
    """A token that lies in a cluster's secret cannot start or read runs."""
    async with bridge_for() as rig:
        rig.http.headers["Authorization"] = f"Bearer {PLATFORM_TOKEN}"
        for method, path in every_request(rig):
            answer = await rig.http.request(method, path, json=RECORD)
            if path in PLATFORM_ROUTES or is_open(path):
                assert answer.status_code == 200, (method, path)
            else:
                assert answer.status_code == 403, (method, path)
        assert answer.headers["content-type"]


async def test_without_a_platform_token_nobody_is_let_in_by_an_empty_one():
    """A bridge without the setting has no door there at all."""
    async with bridge_for(settings_for(platform_api_token=None)) as rig:
        del rig.http.headers["Authorization"]
        for header in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            answer = await rig.http.post("/api/v1/namespaces", json=RECORD, headers=header)
            assert answer.status_code == 401


async def test_demo_mode_needs_no_token_and_has_one_guest():
    """Trying the product out takes no configuration."""
    async with bridge_for(settings_for(demo=True, tokens=None)) as rig:
        del rig.http.headers["Authorization"]
        run = (await rig.http.post("/v1/runs", json=THING)).json()
        reported = await rig.http.post("/api/v1/namespaces", json=RECORD)
        any_token = await rig.http.get("/v1/runs", headers={"Authorization": "Bearer whatever"})
    assert run["requestedBy"] == "user:default/guest"
    assert reported.status_code == 401
    assert any_token.status_code == 200


def verify_with(rig: Rig, keys: KeySource) -> None:
    """Let the bridge verify the tokens of a Backstage with these keys, and none besides."""
    verifier = authenticator_of(
        Settings(backstage_url="http://127.0.0.1:7007"), keys, clock=SystemClock()
    )
    rig.app.user_middleware[0].kwargs["authenticator"] = verifier
    rig.app.middleware_stack = rig.app.build_middleware_stack()


class AbsentKeys:
    """The keys of a Backstage that is just starting."""

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """Refuse."""
        raise IssuerUnavailable(f"{path} has no {kid} yet", retry_after=1)


async def test_a_starting_backstage_is_asked_to_come_again():
    """A token that cannot be checked right now is not called wrong."""
    async with bridge_for() as rig:
        verify_with(rig, AbsentKeys())
        rig.http.headers["Authorization"] = f"Bearer {Backstage().plugin_token()}"
        answer = await rig.http.get("/v1/actions")
    assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_bridge_of_a_backstage_takes_its_plugin_tokens():
    """Backstage's own token is enough: no secret has to be shared."""
    backstage = Backstage()
    token = backstage.plugin_token(obo=backstage.user_token())
    async with bridge_for() as rig:
        verify_with(rig, backstage)
        rig.http.headers["Authorization"] = f"Bearer {token}"
        run = (await rig.http.post("/v1/runs", json=THING)).json()
        other = await rig.http.get("/v1/runs", headers={"Authorization": f"Bearer {SERVICE_TOKEN}"})
    assert run["requestedBy"] == "user:default/ann"
    assert other.status_code == 401


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"demo": True, "host": "0.0.0.0"}, "needs a loopback BRIDGE_HOST, not 0.0.0.0"),
        ({"demo": True, "host": "bridge.example"}, "loopback"),
        ({"demo": True, "host": "10.0.0.1"}, "loopback"),
        ({"demo": True, "host": "::"}, "loopback"),
        ({}, "Nobody could be let in"),
        ({"tokens": "ci=short"}, "The token of 'ci' in BRIDGE_TOKENS is too short: it takes 24"),
        ({"tokens": "ci"}, "Entry 1 of BRIDGE_TOKENS is not NAME=SECRET"),
        ({"tokens": ""}, "Nobody could be let in"),
        ({"tokens": " , "}, "Nobody could be let in"),
        ({"backstage_url": ""}, "Nobody could be let in"),
    ],
)
def test_a_bridge_that_would_let_anybody_in_does_not_start(changed: dict[str, Any], sentence: str):
    """A mistake in the settings is a sentence at the start, not an open door."""
    with pytest.raises(SettingsInvalid, match=sentence):
        Settings(**changed)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_demo_mode_starts_on_loopback(host: str):
    """On one's own machine the demo simply starts."""
    assert Settings(demo=True, host=host).demo


async def test_demo_mode_still_checks_what_backstage_signs():
    """With a Backstage configured a forged token is refused in demo mode too."""
    backstage = Backstage()
    settings = Settings(demo=True, backstage_url="http://127.0.0.1:7007")
    verifier = authenticator_of(settings, backstage, clock=SystemClock())
    with pytest.raises(Unauthenticated):
        await verifier.identify("Bearer forged", path="/v1/runs")


def test_secrets_are_not_shown():
    """Printing the settings shows no token."""
    shown = repr(settings_for(argo_token=SecretStr("argo-secret")))
    assert SERVICE_TOKEN not in shown
    assert PLATFORM_TOKEN not in shown
    assert "argo-secret" not in shown
