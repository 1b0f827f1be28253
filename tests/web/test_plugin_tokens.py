"""Tokens of Backstage plugins, and of the people whom they act for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.web.auth import Authenticator, Verifiers
from bridge.web.verifiers.backstage import BackstageTokens
from tests.web.tokens import (
    PLUGIN_KEYS,
    PLUGIN_TYPE,
    USER_KEYS,
    USER_TYPE,
    Backstage,
    Signer,
    altered,
    signed_with_public_key,
    unsigned,
)

Forgery = Callable[[Backstage], str]


def authenticator(backstage: Backstage, **changed: Any) -> Authenticator:
    """An authenticator that trusts the scaffolder of *backstage*."""
    plain: dict[str, Any] = {
        "plugin_id": "argo-bridge",
        "trusted_plugins": ("scaffolder",),
        "user_issuer": None,
    }
    return Authenticator(Verifiers(signed=[BackstageTokens(backstage, **{**plain, **changed})]))


async def identify(backstage: Backstage, token: str, **changed: Any) -> Caller:
    """Who a bearer token is for."""
    verifier = authenticator(backstage, **changed)
    return await verifier.identify(f"Bearer {token}", path="/v1/runs")


async def test_a_plugin_speaks_for_the_person_in_its_token():
    """A run is the run of whoever pressed Create in Backstage."""
    backstage = Backstage()
    token = backstage.plugin_token(obo=backstage.user_token())
    caller = await identify(backstage, token)
    assert caller == Caller("plugin:scaffolder", "user:default/ann")
    assert caller.name == "user:default/ann"
    assert backstage.asked == [(PLUGIN_KEYS, "plugin-key"), (USER_KEYS, "user-key")]


async def test_a_plugin_may_speak_for_itself():
    """A scheduled task without a person is let in, and named as what it is."""
    backstage = Backstage()
    caller = await identify(backstage, backstage.plugin_token())
    assert caller == Caller("plugin:scaffolder", None)
    assert caller.name == "plugin:scaffolder"


async def test_the_scheme_may_be_written_in_any_case():
    """Clients that write ``bearer`` are right too."""
    backstage = Backstage()
    verifier = authenticator(backstage)
    caller = await verifier.identify(f"bearer  {backstage.plugin_token()} ", path="/v1/runs")
    assert caller.subject == "plugin:scaffolder"


async def test_a_little_clock_skew_is_forgiven():
    """Two machines whose clocks differ by seconds still understand each other."""
    backstage = Backstage()
    now = int(time.time())
    assert await identify(backstage, backstage.plugin_token(exp=now - 3))
    assert await identify(backstage, backstage.plugin_token(iat=now + 3))


def wrong_curve(backstage: Backstage) -> str:
    """A token under a published key that is of no kind we accept."""
    other = Signer("p384", ec.generate_private_key(ec.SECP384R1()))
    backstage.extra[PLUGIN_KEYS] = [other.jwk]
    token = backstage.plugin_token()
    return backstage.plugin.sign(
        jwt.decode(token, options={"verify_signature": False}), typ=PLUGIN_TYPE, kid="p384"
    )


def rsa_key(backstage: Backstage) -> str:
    """A token under a published RSA key that claims to be for ES256."""
    private = rsa.generate_private_key(65_537, 2_048)
    jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    backstage.extra[PLUGIN_KEYS] = [{**jwk, "kid": "rsa", "alg": "ES256"}]
    claims = jwt.decode(backstage.plugin_token(), options={"verify_signature": False})
    return backstage.plugin.sign(claims, typ=PLUGIN_TYPE, kid="rsa")


def now() -> int:
    """Read when a token is made: a long run of tests must not outlive it."""
    return int(time.time())


FORGERIES: dict[str, Forgery] = {
    "not a token": lambda _: "abc",
    "two dots": lambda _: "..",
    "expired": lambda b: b.plugin_token(exp=now() - 60),
    "without exp": lambda b: b.plugin_token(exp=None),
    "without iat": lambda b: b.plugin_token(iat=None),
    "without aud": lambda b: b.plugin_token(aud=None),
    "without sub": lambda b: b.plugin_token(sub=None),
    "from the future": lambda b: b.plugin_token(iat=now() + 600),
    "for another plugin": lambda b: b.plugin_token(aud="catalog"),
    "typ of a user token": lambda b: b.plugin_token(typ="vnd.backstage.user"),
    "plain JWT": lambda b: b.plugin_token(typ="JWT"),
    "alg none": lambda b: unsigned(b.plugin_token()),
    "no signature": lambda b: unsigned(b.plugin_token(), alg="ES256"),
    "HS256 with the public key": lambda b: signed_with_public_key(
        b.plugin,
        {"sub": "scaffolder", "aud": "argo-bridge", "iat": now(), "exp": now() + 600},
        typ=PLUGIN_TYPE,
    ),
    "unknown kid": lambda _: Signer("other").sign(
        {"sub": "scaffolder", "aud": "argo-bridge", "iat": now(), "exp": now() + 600},
        typ=PLUGIN_TYPE,
    ),
    "known kid, other key": lambda _: Signer("plugin-key").sign(
        {"sub": "scaffolder", "aud": "argo-bridge", "iat": now(), "exp": now() + 600},
        typ=PLUGIN_TYPE,
    ),
    "another plugin": lambda b: b.plugin_token(sub="techdocs"),
    "a path as a plugin": lambda b: b.plugin_token(sub="../auth"),
    "altered": lambda b: altered(b.plugin_token(), obo="user:default/admin"),
    "wrong curve": wrong_curve,
    "RSA key": rsa_key,
    "obo is no token": lambda b: b.plugin_token(obo="user:default/admin"),
    "obo is an object": lambda b: b.plugin_token(obo={"sub": "user:default/admin"}),
    "obo is empty": lambda b: b.plugin_token(obo=""),
    "obo expired": lambda b: b.plugin_token(obo=b.user_token(exp=now() - 60)),
    "obo without exp": lambda b: b.plugin_token(obo=b.user_token(exp=None)),
    "obo without sub": lambda b: b.plugin_token(obo=b.user_token(sub=None)),
    "obo is a full user token": lambda b: b.plugin_token(
        obo=b.user_token(typ="vnd.backstage.user")
    ),
    "obo is a plugin token": lambda b: b.plugin_token(obo=b.plugin_token()),
    "obo altered": lambda b: b.plugin_token(obo=altered(b.user_token(), sub="user:default/admin")),
    "obo unsigned": lambda b: b.plugin_token(obo=unsigned(b.user_token())),
    "obo signed by the plugin": lambda b: b.plugin_token(
        obo=b.plugin.sign(
            {"sub": "user:default/admin", "iat": now(), "exp": now() + 600}, typ=USER_TYPE
        )
    ),
    "a user token alone": lambda b: b.user_token(),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_token_that_is_not_right_in_every_part_is_refused(forgery: Forgery):
    """Nobody gets in with a token that was made, changed or kept by anybody but Backstage."""
    backstage = Backstage()
    with pytest.raises(Unauthenticated):
        await identify(backstage, forgery(backstage))


@pytest.mark.parametrize("sub", ["techdocs", "../auth", "scaffolder/../auth", "", "SCAFFOLDER"])
async def test_an_untrusted_subject_causes_no_request(sub: str):
    """A forged token cannot make the bridge fetch addresses of the forger's choice."""
    backstage = Backstage()
    with pytest.raises(Unauthenticated):
        await identify(backstage, backstage.plugin_token(sub=sub))
    assert backstage.asked == []


async def test_a_plugin_that_is_trusted_but_no_plugin_name_causes_no_request():
    """A mistake in the settings does not become an address."""
    backstage = Backstage()
    token = backstage.plugin_token(sub="../auth")
    with pytest.raises(Unauthenticated):
        await identify(backstage, token, trusted_plugins=("../auth",))
    assert backstage.asked == []


async def test_the_type_is_checked_before_any_key_is_fetched():
    """A flood of other tokens costs nobody a request."""
    backstage = Backstage()
    for token in (backstage.plugin_token(typ="JWT"), unsigned(backstage.plugin_token())):
        with pytest.raises(Unauthenticated):
            await identify(backstage, token)
    assert backstage.asked == []
