"""Who may ask what: every route, every kind of caller."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from starlette.routing import Route

from bridge.adapters.system import SystemClock
from bridge.domain.errors import IssuerUnavailable, SettingsInvalid, Unauthenticated
from bridge.identity import authenticator_of
from bridge.ports import KeySource
from bridge.settings import Settings
from bridge.web.auth import (
    OPEN_PREFIX,
    OPEN_ROUTES,
    PLATFORM_ROUTES,
    RequireCaller,
    is_open,
)
from tests.adapters.replay import Reply, json_reply, replay
from tests.web.identities import KeyPair, Kind, platform
from tests.web.making import (
    PLATFORM_TOKEN,
    SERVICE_TOKEN,
    THING,
    Rig,
    bridge_for,
    settings_for,
)
from tests.web.test_webhooks import signed
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
        "/metrics",
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
    (guard,) = (layer for layer in rig.app.user_middleware if layer.cls is RequireCaller)
    guard.kwargs["authenticator"] = verifier
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


STRONG = "k7Jq2vX9mB4nR8sT1wZ5cF3gH6dL0pYa"
ISSUER = {"name": "idp", "issuer": "https://idp.example", "audience": "bridge"}


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
        ({"platform_secret": "change-me-in-production"}, "one that everybody knows"),
        ({"platform_secret": STRONG[:-1]}, "too short: it takes 32"),
        ({"platform_secret": f"{STRONG} short"}, "Secret 2 of BRIDGE_PLATFORM_SECRET is too short"),
        ({"webhook_secrets": "git=hello"}, "does not start with whsec_"),
        ({"tokens": f"ci={STRONG}", "platform_api_token": "p"}, "PLATFORM_API_TOKEN is too short"),
        ({"oidc_issuers": "{}"}, "BRIDGE_OIDC_ISSUERS"),
        ({"oidc_issuers": '[{"name": "idp"}]'}, "BRIDGE_OIDC_ISSUERS"),
        ({"tokens": f"ci={STRONG}", "admins": "backstage"}, "'backstage' is no subject of one"),
    ],
)
def test_a_bridge_that_would_let_anybody_in_does_not_start(changed: dict[str, Any], sentence: str):
    """A mistake in the settings is a sentence at the start, not an open door."""
    with pytest.raises(SettingsInvalid, match=sentence):
        Settings(**changed)


@pytest.mark.parametrize(
    "one",
    [
        {"tokens": f"ci={STRONG}"},
        {"tokens": f"ci=sha256:{'0' * 64}"},
        {"tokens_file": "tokens"},
        {"platform_secret": STRONG},
        {"platform_secret_file": "secret"},
        {"webhook_secrets": "git=whsec_azdKcTJ2WDltQjRuUjhzVDF3WjVjRjNnSDZkTDBwWWE="},
        {"webhook_secrets_file": "hooks"},
        {"oidc_issuers": json.dumps([ISSUER])},
        {"oidc_file": "issuers.json"},
        {"backstage_url": "http://backstage:7007"},
    ],
)
def test_one_way_to_prove_oneself_is_enough(one: dict[str, Any]):
    """Any verifier alone makes a bridge that can start."""
    assert not Settings(**one).demo


FILES = [
    ("tokens_file", "ci=short", "too short"),
    ("platform_secret_file", "change-me-in-production", "everybody knows"),
    ("platform_secret_file", "", "empty"),
    ("platform_api_token_file", "p", "too short"),
    ("webhook_secrets_file", "git=hello", "whsec_"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), FILES)
def test_what_a_file_says_is_held_to_the_same(tmp_path: Path, name: str, text: str, sentence: str):
    """A weak secret is none, wherever it lies; outside a demo the bridge does not start with it."""
    file = tmp_path / "secret"
    file.write_text(text)
    settings = Settings(tokens=f"ci={STRONG}", **{name: file})
    with pytest.raises(SettingsInvalid, match=sentence):
        authenticator_of(settings, None, clock=SystemClock())


@pytest.mark.parametrize("text", [None, "{}", "[1]"])
def test_issuers_in_a_file_are_read_at_the_start(tmp_path: Path, text: str | None):
    """A file of issuers that cannot be used ends the start."""
    file = tmp_path / "issuers.json"
    settings = Settings(oidc_file=file, oidc_issuers=json.dumps([ISSUER]))
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsInvalid, match="BRIDGE_OIDC_FILE"):
        settings.issuers()
    file.write_text(json.dumps([{**ISSUER, "name": "other"}]))
    with pytest.raises(SettingsInvalid, match="same name or address"):
        settings.issuers()
    file.write_text(json.dumps([{**ISSUER, "name": "other", "issuer": "https://other.example"}]))
    assert [one.name for one in settings.issuers()] == ["idp", "other"]


def test_admins_are_written_as_people_write_them():
    """Short references and capitals mean what they mean elsewhere."""
    text = "user:Ann, group:default/Platform, service:CI,,group:ops"
    assert Settings(demo=True, admins=text).admins == (
        "user:default/ann",
        "group:default/platform",
        "service:CI",
        "group:default/ops",
    )


# --- the whole bridge ----------------------------------------------------------------------------


async def asked_by(rig: Rig, token: str) -> tuple[int, str]:
    """The status of asking for a run with a token, and who asked."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = await rig.http.post("/v1/runs", json=THING, headers=headers)
    return answer.status_code, answer.json().get("requestedBy", "")


async def test_tokens_in_a_file_rotate_without_a_restart(tmp_path: Path):
    """A token counts from when it is written to the file, until it is taken out."""
    file = tmp_path / "tokens"
    file.write_text(f"ops={'o' * 24}")
    async with bridge_for(settings_for(tokens_file=file)) as rig:
        assert await asked_by(rig, "o" * 24) == (202, "service:ops")
        digest = sha256(b"n" * 24).hexdigest()
        file.write_text(f"# both for a while\nops={'o' * 24}\nops=sha256:{digest}\n")
        assert await asked_by(rig, "n" * 24) == (202, "service:ops")
        assert await asked_by(rig, "o" * 24) == (202, "service:ops")
        file.write_text(f"ops=sha256:{digest}")
        assert await asked_by(rig, "n" * 24) == (202, "service:ops")
        assert (await asked_by(rig, "o" * 24))[0] == 401
        assert (await asked_by(rig, digest))[0] == 401
        assert (await asked_by(rig, f"sha256:{digest}"))[0] == 401
        assert await asked_by(rig, SERVICE_TOKEN) == (202, "service:tester")


async def test_the_secret_of_platform_tokens_rotates_without_a_restart(tmp_path: Path):
    """Both secrets count as long as both are in the file."""
    file = tmp_path / "secret"
    file.write_text(STRONG)
    new = Kind("platform", platform().claims, "JWT", STRONG[::-1].encode())
    old = Kind("platform", platform().claims, "JWT", STRONG.encode())
    async with bridge_for(settings_for(platform_secret_file=file)) as rig:
        assert await asked_by(rig, old.token()) == (202, "user:default/ann")
        assert (await asked_by(rig, new.token()))[0] == 401
        file.write_text(f"{STRONG}\n{STRONG[::-1]}\n")
        assert await asked_by(rig, new.token()) == (202, "user:default/ann")
        file.write_text(STRONG[::-1])
        assert (await asked_by(rig, old.token()))[0] == 401


async def test_the_callbacks_token_rotates_without_a_restart(tmp_path: Path):
    """The token that lies in the cluster can be replaced while workflows run."""
    file = tmp_path / "token"
    file.write_text("c" * 24)
    settings = settings_for(platform_api_token=None, platform_api_token_file=file)
    assert settings.platform_callback
    async with bridge_for(settings) as rig:
        for token in ("c" * 24, "d" * 24):
            file.write_text(token)
            rig.http.headers["Authorization"] = f"Bearer {token}"
            answer = await rig.http.post("/api/v1/namespaces", json=RECORD)
            assert answer.status_code == 200


async def test_the_demo_takes_the_published_secret_and_nothing_else():
    """The platform API's own examples work against a demo, with the roles that they claim."""
    published = Kind("platform", platform().claims, "JWT", b"change-me-in-production")
    other = Kind("platform", platform().claims, "JWT", STRONG.encode())
    async with bridge_for(settings_for(demo=True, tokens=None)) as rig:
        assert await asked_by(rig, published.token()) == (202, "user:default/ann")
        assert (await asked_by(rig, other.token()))[0] == 401
        assert (await asked_by(rig, published.token(exp=1_000)))[0] == 401
    async with bridge_for(settings_for(demo=True, tokens=None, platform_secret=STRONG)) as rig:
        assert (await asked_by(rig, published.token()))[0] == 401
        assert await asked_by(rig, other.token()) == (202, "user:default/ann")
    async with bridge_for(settings_for()) as rig:
        assert (await asked_by(rig, published.token()))[0] == 401


async def test_a_webhook_that_is_sent_again_is_one_run():
    """Senders repeat what was not answered; the run is made once all the same."""
    secret = "whsec_" + base64.b64encode(b"s" * 32).decode()
    async with bridge_for(settings_for(webhook_secrets=f"git={secret}")) as rig:
        del rig.http.headers["Authorization"]
        body = json.dumps(THING).encode()
        headers = {"Content-Type": "application/json"}
        answers = [
            await rig.http.post(
                "/v1/runs", content=body, headers={**headers, **signed(body, key=key)}
            )
            for key in ("msg_1", "msg_1", "msg_2")
        ]
    assert [answer.status_code for answer in answers] == [202, 200, 202]
    ids = [answer.json()["id"] for answer in answers]
    assert ids[0] == ids[1] != ids[2]
    assert answers[0].json()["requestedBy"] == "webhook:git"


async def test_two_authorization_headers_are_refused():
    """A proxy and the bridge cannot each believe another one."""
    async with bridge_for() as rig:
        del rig.http.headers["Authorization"]
        headers = [("Authorization", "Bearer x"), ("Authorization", f"Bearer {SERVICE_TOKEN}")]
        answer = await rig.http.get("/v1/actions", headers=headers)
    assert answer.status_code == 401


async def test_a_bridge_asks_an_issuer_of_the_settings_for_its_keys():
    """An issuer in the settings is all that it takes: addresses and keys are found."""
    key = KeyPair("ES256", "k1", ec.generate_private_key(ec.SECP256R1()))
    script: list[Reply] = []
    async with replay(script) as idp, replay([json_reply({"keys": [key.jwk]})]) as keys:
        script.append(json_reply({"issuer": idp.url, "jwks_uri": f"{keys.url}/keys"}))
        hosts = [keys.url.removeprefix("http://")]
        described = {**ISSUER, "issuer": idp.url, "algorithms": ["ES256"], "hosts": hosts}
        claims = {"iss": idp.url, "aud": "bridge", "sub": "ann"}
        tokens = Kind("oidc", claims, "JWT", key)
        async with bridge_for(settings_for(oidc_issuers=json.dumps([described]))) as rig:
            assert await asked_by(rig, tokens.token()) == (202, "user:default/ann")
            for name, forge in tokens.forgeries().items():
                expected = 503 if name == "unknown kid" else 401
                assert (await asked_by(rig, forge()))[0] == expected, name
    assert (len(idp.received), len(keys.received)) == (1, 1)


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
