"""Tokens of a platform API: HS256 with a shared secret.

Knows their claims: sub, groups, roles and tenant beside the registered ones. Must not know where
the secrets come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.domain.callers import DEFAULT_TENANT, Caller, is_tenant
from bridge.domain.errors import Unauthenticated
from bridge.web.verifiers.claims import groups_named, person, texts
from bridge.web.verifiers.signed import Unverified, checked

_ALGORITHMS = ("HS256",)

Secrets = Callable[[], Sequence[bytes]]
"""The secrets that count now; several while one is being replaced by another."""


class PlatformTokens:
    """Verifies tokens whose issuer is the platform API."""

    def __init__(self, secrets: Secrets, *, issuer: str, audience: str) -> None:
        self._secrets = secrets
        self._issuer = issuer
        self._audience = audience

    def takes(self, token: Unverified) -> bool:
        """See TokenVerifier."""
        return token.claims.get("iss") == self._issuer

    async def verify(self, token: Unverified) -> Caller:
        """See TokenVerifier."""
        claims = checked(
            token,
            self._secrets(),
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
        )
        tenant, name = claims.get("tenant", DEFAULT_TENANT), str(claims["sub"])
        if not isinstance(tenant, str) or not is_tenant(tenant):
            raise Unauthenticated("The token's tenant must be 1 to 63 of a-z, 0-9, '-', '_', '.'.")
        return person(
            f"platform:{tenant}",
            sub=name,
            name=name,
            tenant=tenant,
            roles=texts(claims, "roles") or (),
            groups=groups_named(texts(claims, "groups")),
        )
