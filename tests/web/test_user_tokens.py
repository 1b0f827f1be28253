"""Tokens of the people who use Backstage."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.web.auth import Authenticator, Verifiers
from bridge.web.verifiers.backstage import BackstageTokens
from tests.web.tokens import USER_KEYS, Backstage, Signer, altered, unsigned

ISSUER = "https://backstage.example/api/auth"
TYPE = "vnd.backstage.user"


def now() -> int:
    """Read when a token is made: a long run of tests must not outlive it."""
    return int(time.time())


async def identify(backstage: Backstage, token: str, *, issuer: str | None = ISSUER) -> Caller:
    """Who a bearer token is for."""
    tokens = BackstageTokens(
        backstage, plugin_id="argo-bridge", trusted_plugins=("scaffolder",), user_issuer=issuer
    )
    door = Authenticator(Verifiers(signed=[tokens]))
    return await door.identify(f"Bearer {token}", path="/v1/runs")


def user_token(backstage: Backstage, **changed: Any) -> str:
    """What a browser that is signed in holds."""
    claims = {"iss": ISSUER, "aud": "backstage", "uip": "x", "ent": ["group:default/team-a"]}
    return backstage.user_token(typ=TYPE, **{**claims, **changed})


async def test_a_person_who_is_signed_in_may_ask_directly():
    """A page or a command line needs no plugin between it and the bridge."""
    backstage = Backstage()
    caller = await identify(backstage, user_token(backstage))
    assert caller == Caller("backstage", "user:default/ann")
    assert backstage.asked == [(USER_KEYS, "user-key")]


async def test_user_tokens_can_be_left_out():
    """An operator may accept plugins only; then a user token is not even looked up."""
    backstage = Backstage()
    with pytest.raises(Unauthenticated):
        await identify(backstage, user_token(backstage), issuer=None)
    assert backstage.asked == []


FORGERIES = {
    "expired": lambda b: user_token(b, exp=now() - 60),
    "without exp": lambda b: user_token(b, exp=None),
    "of the future": lambda b: user_token(b, iat=now() + 600),
    "another Backstage": lambda b: user_token(b, iss="https://other.example/api/auth"),
    "without iss": lambda b: user_token(b, iss=None),
    "another audience": lambda b: user_token(b, aud="argo-bridge"),
    "without aud": lambda b: user_token(b, aud=None),
    "a plugin": lambda b: user_token(b, sub="plugin:scaffolder"),
    "a group": lambda b: user_token(b, sub="group:default/platform-admins"),
    "no reference": lambda b: user_token(b, sub="ann"),
    "a line more": lambda b: user_token(b, sub="user:default/ann\nuser:default/root"),
    "altered": lambda b: altered(user_token(b), sub="user:default/root"),
    "unsigned": lambda b: unsigned(user_token(b)),
    "signed by a plugin": lambda b: b.plugin.sign(
        {
            "sub": "user:default/ann",
            "iss": ISSUER,
            "aud": "backstage",
            "iat": now(),
            "exp": now() + 60,
        },
        typ=TYPE,
    ),
    "another key of that id": lambda _: Signer("user-key").sign(
        {
            "sub": "user:default/ann",
            "iss": ISSUER,
            "aud": "backstage",
            "iat": now(),
            "exp": now() + 60,
        },
        typ=TYPE,
    ),
    "a limited token": lambda b: b.user_token(iss=ISSUER, aud="backstage"),
    "a plugin's type": lambda b: b.user_token(
        typ="vnd.backstage.plugin", iss=ISSUER, aud="backstage"
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_user_token_that_is_not_right_in_every_part_is_refused(forgery: str):
    """Nobody becomes a user of Backstage without its backend."""
    backstage = Backstage()
    with pytest.raises(Unauthenticated):
        await identify(backstage, FORGERIES[forgery](backstage))
