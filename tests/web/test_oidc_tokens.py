"""Tokens of issuers that publish their keys, Entra ID among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.domain.issuers import OidcIssuer
from bridge.web.auth import Authenticator, Verifiers
from bridge.web.verifiers.oidc import OidcTokens
from bridge.web.verifiers.platform import PlatformTokens
from tests.web.identities import PLATFORM_SECRET, KeyPair, Kind, platform
from tests.web.tokens import signed_text

ISSUER = "https://login.example/11111111-2222/v2.0"
PERSON = "0b1c2d3e-aaaa-bbbb-cccc-0123456789ab"
RSA = KeyPair("RS256", "rsa-1", rsa.generate_private_key(65_537, 2_048))
ELLIPTIC = KeyPair("ES256", "ec-1", ec.generate_private_key(ec.SECP256R1()))


def described(**changed: Any) -> OidcIssuer:
    """The issuer as an operator describes it."""
    return OidcIssuer(name="entra", issuer=ISSUER, audience="api://bridge", **changed)


def tokens(**changed: Any) -> Kind:
    """What the issuer signs."""
    claims = {"iss": ISSUER, "aud": "api://bridge", "sub": PERSON, "groups": ["Team-A"]}
    return Kind("oidc", {**claims, **changed}, "JWT", RSA)


@dataclass(frozen=True, slots=True)
class Published:
    """A KeySource of given keys that notes what it was asked."""

    keys: tuple[Mapping[str, Any], ...] = (RSA.jwk,)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """See KeySource."""
        self.asked.append((path, kid))
        return next((key for key in self.keys if key["kid"] == kid), None)


async def identify(
    token: str, issuer: OidcIssuer | None = None, keys: Published | None = None
) -> Caller:
    """Who a bearer token is for."""
    verifier = OidcTokens(issuer or described(), keys or Published())
    door = Authenticator(Verifiers(signed=[verifier]))
    return await door.identify(f"Bearer {token}", path="/v1/runs")


async def test_a_person_of_the_issuer_is_let_in_with_groups_and_roles():
    """People sign in where their company does, and are who they are there."""
    keys = Published()
    caller = await identify(tokens(roles=["namespace:admin"]).token(), keys=keys)
    assert caller == Caller(
        f"oidc:entra/{PERSON}",
        f"user:default/{PERSON}",
        "default",
        frozenset({"namespace:admin"}),
        frozenset({"group:default/team-a"}),
    )
    assert keys.asked == [(ISSUER, "rsa-1")]


async def test_claims_mean_what_the_operator_says():
    """Names, groups and tenants come out as the catalog knows them."""
    issuer = described(
        user_claim="preferred_username",
        user_suffix="@example.com",
        groups_claim="memberOf",
        group_names={"9f": "platform-admins"},
        roles_claim="app_roles",
        tenant="acme",
    )
    token = tokens(
        preferred_username="ann.lee@example.com", memberOf=["9f", "ops"], app_roles=["ns:admin"]
    ).token(groups=None)
    caller = await identify(token, issuer)
    assert caller.user == "user:default/ann.lee"
    assert caller.groups == {"group:default/platform-admins", "group:default/ops"}
    assert (caller.roles, caller.tenant) == ({"ns:admin"}, "acme")


@pytest.mark.parametrize("groups_claim", ["", "absent"])
async def test_the_catalog_is_asked_for_groups_that_no_claim_tells(groups_claim: str):
    """Where the issuer knows no groups, those of the catalog count."""
    assert (await identify(tokens().token(), described(groups_claim=groups_claim))).groups is None


OVERAGE = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "x"}}}


async def test_groups_left_out_for_their_number_are_named_as_the_reason():
    """Somebody in hundreds of groups is told what to change, not that a group is missing."""
    token = tokens(**OVERAGE).token(groups=None)
    with pytest.raises(Unauthenticated, match="app roles"):
        await identify(token)
    assert (await identify(token, described(groups_claim=""))).groups is None


@pytest.mark.parametrize("forgery", tokens().forgeries())
async def test_a_forged_token_is_refused(forgery: str):
    """Only what the issuer signed, for this bridge and for now, lets anybody in."""
    with pytest.raises(Unauthenticated):
        await identify(tokens().forgeries()[forgery]())


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "Ann"},
        {"sub": "auth0|123"},
        {"sub": "a b"},
        {"sub": "a\tb"},
        {"sub": "x" * 300},
        {"sub": "ünï"},
        {"tid": "another"},
        {"tid": None},
        {"groups": {"a": 1}},
    ],
)
async def test_a_right_token_of_the_wrong_person_is_refused(claims: dict[str, Any]):
    """A token of another directory, or of somebody who has no name here, lets nobody in."""
    token = tokens(tid="mine").token(**claims)
    with pytest.raises(Unauthenticated):
        await identify(token, described(tid="mine"))
    assert await identify(tokens(tid="mine").token(), described(tid="mine"))


@pytest.mark.parametrize("sub", ["a b", "a\tb", "a\nb", "x" * 300, "ünï", ""])
async def test_an_account_that_cannot_be_kept_as_it_is_is_refused(sub: str):
    """Keys, logs and audits hold accounts: none of them can be two lines, or another's."""
    with pytest.raises(Unauthenticated):
        await identify(tokens(upn="ann").token(sub=sub), described(user_claim="upn"))
    assert await identify(tokens(upn="ann").token(sub="auth0|7:/x"), described(user_claim="upn"))


@pytest.mark.parametrize("name", ["ann@evil.com", "@example.com", "example.com", "", 7, None])
async def test_a_name_with_another_ending_is_nobodys(name: Any):
    """Guests of another company do not become its namesakes."""
    issuer = described(user_claim="upn", user_suffix="@example.com")
    with pytest.raises(Unauthenticated):
        await identify(tokens(upn=name).token(), issuer)


@pytest.mark.parametrize(
    "key",
    [
        {"alg": "RS512"},
        {"use": "enc"},
        {"kty": "EC"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"n": "!"},
        {"n": ""},
    ],
)
async def test_a_published_key_for_something_else_signs_no_token(key: dict[str, Any]):
    """A key counts only for what its issuer publishes it for."""
    with pytest.raises(Unauthenticated):
        await identify(tokens().token(), keys=Published(({**RSA.jwk, **key},)))


@pytest.mark.filterwarnings("ignore:The RSA key:jwt.warnings.InsecureKeyLengthWarning")
async def test_a_key_that_can_be_broken_proves_nothing():
    """An issuer's short key, which somebody may have found out, lets nobody in."""
    weak = KeyPair("RS256", "weak", rsa.generate_private_key(65_537, 1_024))  # noqa: S505 - weak on purpose
    token = Kind("oidc", tokens().claims, "JWT", weak).token()
    with pytest.raises(Unauthenticated):
        await identify(token, keys=Published((weak.jwk,)))


async def test_each_algorithm_must_be_asked_for():
    """An issuer that signs otherwise is accepted once the operator says so."""
    token = Kind("oidc", tokens().claims, "JWT", ELLIPTIC).token()
    keys = Published((ELLIPTIC.jwk, RSA.jwk))
    with pytest.raises(Unauthenticated, match="alg"):
        await identify(token, keys=keys)
    assert keys.asked == []
    assert await identify(token, described(algorithms=("RS256", "ES256")), keys)


@pytest.mark.parametrize("kid", [None, "", 7, ["rsa-1"], "x" * 300])
async def test_a_token_without_a_key_id_causes_no_request(kid: Any):
    """A key is looked up by its id or not at all."""
    keys = Published()
    claims = jwt.decode(tokens().token(), options={"verify_signature": False})
    token = signed_text(json.dumps({"alg": "RS256", "kid": kid}), json.dumps(claims))
    with pytest.raises(Unauthenticated):
        await identify(token, keys=keys)
    assert keys.asked == []


async def test_no_verifier_looks_at_the_tokens_of_another():
    """What one issuer signs never counts as what another one would have signed."""
    keys = Published()
    door = Authenticator(
        Verifiers(
            signed=[
                OidcTokens(described(), keys),
                PlatformTokens(
                    lambda: [PLATFORM_SECRET.encode(), RSA.pem],
                    issuer="platform-api",
                    audience="platform-users",
                ),
            ]
        )
    )
    by_secret = Kind("x", {**platform().claims, "iss": ISSUER}, "JWT", PLATFORM_SECRET.encode())
    by_key = Kind("x", platform().claims, "JWT", RSA)
    for token in (by_secret.token(), by_key.token()):
        with pytest.raises(Unauthenticated):
            await door.identify(f"Bearer {token}", path="/v1/runs")
    assert keys.asked == []
