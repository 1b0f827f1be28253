"""Tokens of any issuer that publishes its keys (OpenID Connect), Entra ID among them.

Knows which claims mean what, by the issuer's description. Must not know where keys are fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.domain.issuers import OidcIssuer
from bridge.ports import KeySource
from bridge.web.verifiers.claims import groups_named, person, texts
from bridge.web.verifiers.signed import Unverified, checked, expect_header, public_key


class OidcTokens:
    """Verifies the tokens of one issuer."""

    def __init__(self, issuer: OidcIssuer, keys: KeySource) -> None:
        self._issuer = issuer
        self._keys = keys

    def takes(self, token: Unverified) -> bool:
        """See TokenVerifier."""
        return token.claims.get("iss") == self._issuer.issuer

    async def verify(self, token: Unverified) -> Caller:
        """See TokenVerifier."""
        issuer = self._issuer
        expect_header(token, algorithms=issuer.algorithms)
        jwk = await self._keys.key(issuer.issuer, kid=token.kid)
        if jwk is None:
            raise Unauthenticated("The token's key is not known to its issuer.")
        claims = checked(
            token,
            [public_key(jwk, algorithm=str(token.header["alg"]))],
            algorithms=issuer.algorithms,
            audience=issuer.audience,
            issuer=issuer.issuer,
        )
        if issuer.tid is not None and claims.get("tid") != issuer.tid:
            raise Unauthenticated("The token is of another directory (tid).")
        return person(
            f"oidc:{issuer.name}",
            sub=str(claims["sub"]),
            name=self._user(claims),
            tenant=issuer.tenant,
            roles=texts(claims, issuer.roles_claim) or (),
            groups=self._groups(claims),
        )

    def _user(self, claims: Mapping[str, Any]) -> str:
        claim, suffix = self._issuer.user_claim, self._issuer.user_suffix
        value = claims.get(claim)
        if not isinstance(value, str) or not value.endswith(suffix):
            ending = f" that ends with {suffix}" if suffix else ""
            raise Unauthenticated(f"The token has no user's name{ending} in its claim {claim}.")
        return value.removesuffix(suffix)

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        claim = self._issuer.groups_claim
        if not claim:
            return None
        left_out = claims.get("_claim_names")
        if isinstance(left_out, dict) and claim in left_out:
            # Entra ID leaves the groups of people away who are in more than 200.
            raise Unauthenticated(
                "The token leaves its groups out, because they are too many: let the issuer send "
                "only groups assigned to the application, or use app roles."
            )
        names = texts(claims, claim)
        known = self._issuer.group_names
        return groups_named(names and tuple(known.get(name, name) for name in names))
