"""Tokens of a platform API: signed with a secret that both sides know."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.web.auth import Authenticator, Verifiers
from bridge.web.verifiers.platform import PlatformTokens
from tests.web.identities import PLATFORM_SECRET, Kind, platform
from tests.web.tokens import signed_text

OLD_SECRET = b"the-secret-before-this-one-that-still-counts"


def authenticator(*secrets: bytes) -> Authenticator:
    """A door for platform tokens only."""
    known = secrets or (PLATFORM_SECRET.encode(),)
    tokens = PlatformTokens(lambda: known, issuer="platform-api", audience="platform-users")
    return Authenticator(Verifiers(signed=[tokens]))


async def identify(token: str, *secrets: bytes) -> Caller:
    """Who a bearer token is for."""
    return await authenticator(*secrets).identify(f"Bearer {token}", path="/v1/runs")


async def test_a_platform_token_says_who_and_what_somebody_is():
    """Users of the platform API are in the bridge who they are there, with their roles."""
    roles = ["platform:admin", "namespace:admin", "user:authenticated"]
    token = platform().token(sub="ann", groups=["Platform-Admins"], roles=roles, tenant="acme")
    assert await identify(token) == Caller(
        "platform:acme/ann",
        "user:default/ann",
        "acme",
        frozenset(roles),
        frozenset({"group:default/platform-admins"}),
    )


@pytest.mark.parametrize(
    ("claims", "tenant", "groups"),
    [
        ({"tenant": None}, "default", frozenset({"group:default/team-a"})),
        ({"groups": None}, "default", None),
        ({"groups": []}, "default", frozenset()),
        ({"groups": None, "tenant": "acme"}, "acme", frozenset()),
        ({"groups": "team-b"}, "default", frozenset({"group:default/team-b"})),
        ({"groups": ["a b", "../x", "ok"]}, "default", frozenset({"group:default/ok"})),
    ],
)
async def test_what_a_token_leaves_out_is_not_made_up(
    claims: dict[str, Any], tenant: str, groups: frozenset[str] | None
):
    """Without groups the catalog is asked, but never for somebody of another tenant."""
    caller = await identify(platform().token(**claims))
    assert (caller.tenant, caller.groups) == (tenant, groups)


@pytest.mark.parametrize("forgery", platform().forgeries())
async def test_a_forged_platform_token_is_refused(forgery: str):
    """Who does not know the secret, or changes anything, is not let in."""
    with pytest.raises(Unauthenticated):
        await identify(platform().forgeries()[forgery]())


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "Ann"},
        {"sub": "ann@example.com"},
        {"sub": ""},
        {"sub": "a/../b"},
        {"sub": "ann\nadmin"},
        {"sub": "a" * 64},
        {"sub": 7},
        {"tenant": "Acme"},
        {"tenant": "a/b"},
        {"tenant": ""},
        {"tenant": ["default"]},
        {"roles": {"platform:admin": True}},
        {"roles": [1]},
        {"groups": [None]},
        {"groups": ["x"] * 1_001},
    ],
)
async def test_a_token_that_could_be_mistaken_for_another_is_refused(claims: dict[str, Any]):
    """Nobody becomes somebody else because a name was bent into shape."""
    with pytest.raises(Unauthenticated):
        await identify(platform().token(**claims))


async def test_both_secrets_count_while_one_replaces_the_other():
    """Rotating the secret logs nobody out."""
    old = Kind("platform", platform().claims, "JWT", OLD_SECRET)
    both = (PLATFORM_SECRET.encode(), OLD_SECRET)
    for token in (old.token(), platform().token()):
        assert (await identify(token, *both)).user == "user:default/ann"
    with pytest.raises(Unauthenticated):
        await identify(old.token())


async def test_a_refusal_repeats_nothing_of_an_unproven_token():
    """Whoever sends forgeries learns nothing from the answers."""
    token = Kind("platform", platform().claims, "JWT", OLD_SECRET).token(sub="root-of-all")
    with pytest.raises(Unauthenticated) as refused:
        await identify(token)
    assert "root" not in refused.value.detail
    with pytest.raises(Unauthenticated, match="has expired"):
        await identify(platform().token(exp=1_000))


NESTED = "[" * 5_000 + "]" * 5_000
MONSTERS = {
    "deep claims": lambda: signed_text(
        '{"alg":"HS256"}', '{"iss":"platform-api","a":' + NESTED + "}"
    ),
    "deep header": lambda: signed_text('{"alg":' + NESTED + "}", '{"iss":"platform-api"}'),
    "no object": lambda: signed_text("[]", "[]"),
    "no text": lambda: signed_text(b"\xff\xfe", b"\xff"),
    "odd numbers": lambda: signed_text(
        '{"alg":"HS256"}',
        '{"iss":"platform-api","aud":"platform-users","sub":"ann","iat":1,"exp":1e999}',
        secret=PLATFORM_SECRET.encode(),
    ),
    "a list of algorithms": lambda: signed_text('{"alg":["HS256"]}', '{"iss":"platform-api"}'),
    "a list of issuers": lambda: signed_text('{"alg":"HS256"}', '{"iss":["platform-api"]}'),
    "too long": lambda: platform().token(padding="x" * 20_000),
    "four parts": lambda: platform().token() + ".x",
}


@pytest.mark.parametrize("monster", MONSTERS)
async def test_a_monstrous_token_is_only_refused(monster: str):
    """No token ends the server or keeps it busy."""
    with pytest.raises(Unauthenticated):
        await identify(MONSTERS[monster]())


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://keys.example/set"},
        {"x5u": "https://keys.example/cert"},
        {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
    ],
)
async def test_a_token_that_describes_its_own_key_is_refused_although_it_is_signed_right(
    header: dict[str, Any],
):
    """Where a key is read from is never for the sender to say."""
    claims = jwt.decode(platform().token(), options={"verify_signature": False})
    texts = [json.dumps(part) for part in ({"alg": "HS256", **header}, claims)]
    with pytest.raises(Unauthenticated, match="how to verify it"):
        await identify(signed_text(*texts, secret=PLATFORM_SECRET.encode()))
