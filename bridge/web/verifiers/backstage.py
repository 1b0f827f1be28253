"""Tokens that a Backstage backend signs: of its plugins, and of the people who use it.

Knows how Backstage signs (research: the claims were measured on a real one): ES256, the kind in
``typ``, a key set for each plugin and one for all people. Must not know where keys are fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.domain.callers import Caller, is_user_ref
from bridge.domain.errors import Unauthenticated
from bridge.ports import KeySource
from bridge.web.verifiers.signed import Unverified, checked, expect_header, public_key, read

USER_AUDIENCE = "backstage"
"""What every user token of every Backstage carries as its audience."""
_ALGORITHMS = ("ES256",)
_PLUGIN_TYPE = "vnd.backstage.plugin"
_ON_BEHALF_TYPE = "vnd.backstage.limited-user"
_USER_TYPE = "vnd.backstage.user"
_TYPES = (_PLUGIN_TYPE, _ON_BEHALF_TYPE, _USER_TYPE)
USER_KEYS = "/api/auth/.well-known/jwks.json"
_PLUGIN_ID = re.compile(r"[a-z0-9_-]+", re.IGNORECASE)


class BackstageTokens:
    """Verifies plugin tokens, with the person whom they act for, and user tokens."""

    def __init__(
        self,
        keys: KeySource,
        *,
        plugin_id: str,
        trusted_plugins: tuple[str, ...],
        user_issuer: str | None,
    ) -> None:
        """Args: *user_issuer* is what user tokens must be from; None: none are accepted."""
        self._keys = keys
        self._plugin_id = plugin_id
        self._trusted_plugins = frozenset(trusted_plugins)
        self._user_issuer = user_issuer

    def takes(self, token: Unverified) -> bool:
        """See TokenVerifier."""
        return token.header.get("typ") in _TYPES

    async def verify(self, token: Unverified) -> Caller:
        """See TokenVerifier."""
        match token.header.get("typ"):
            case "vnd.backstage.plugin":
                return await self._plugin(token)
            case "vnd.backstage.user" if self._user_issuer is not None:
                return await self._user(token, self._user_issuer)
            case _:
                raise Unauthenticated("Tokens of this kind are not accepted by themselves.")

    async def _plugin(self, token: Unverified) -> Caller:
        plugin = token.claims.get("sub")
        # The subject becomes part of an address, so it is checked before anything is fetched.
        trusted = isinstance(plugin, str) and plugin in self._trusted_plugins
        if not trusted or _PLUGIN_ID.fullmatch(str(plugin)) is None:
            raise Unauthenticated("Tokens of this plugin of Backstage are not accepted.")
        claims = await self._checked(
            token,
            key_set=plugin_keys(str(plugin)),
            audience=self._plugin_id,
            issuer=None,
        )
        return Caller(f"plugin:{plugin}", await self._on_behalf(claims.get("obo")))

    async def _on_behalf(self, obo: Any) -> str | None:
        """The person whom the plugin acts for; verified apart, with keys of its own."""
        if obo is None:
            return None
        token = read(obo) if isinstance(obo, str) else None
        if token is None or token.header.get("typ") != _ON_BEHALF_TYPE:
            raise Unauthenticated("The token does not prove whom the plugin acts for (obo).")
        return _user_of(await self._checked(token, key_set=USER_KEYS, audience=None, issuer=None))

    async def _user(self, token: Unverified, issuer: str) -> Caller:
        claims = await self._checked(
            token, key_set=USER_KEYS, audience=USER_AUDIENCE, issuer=issuer
        )
        return Caller("backstage", _user_of(claims))

    async def _checked(
        self, token: Unverified, *, key_set: str, audience: str | None, issuer: str | None
    ) -> Mapping[str, Any]:
        expect_header(token, algorithms=_ALGORITHMS)
        jwk = await self._keys.key(key_set, kid=token.kid)
        if jwk is None:
            raise Unauthenticated("The token's key is not known to Backstage.")
        key = public_key(jwk, algorithm=_ALGORITHMS[0])
        return checked(token, [key], algorithms=_ALGORITHMS, audience=audience, issuer=issuer)


def plugin_keys(plugin: str) -> str:
    """Where in Backstage the keys of a plugin's tokens are."""
    return f"/api/{plugin}/.backstage/auth/v1/jwks.json"


def _user_of(claims: Mapping[str, Any]) -> str:
    user = str(claims["sub"])
    if not is_user_ref(user):
        raise Unauthenticated("The token is not of a user (sub).")
    return user
