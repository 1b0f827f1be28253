"""Who is asking: from an Authorization header to a verified caller.

Knows the tokens of docs/reference/http-api.md and how Backstage signs its own (research/
backstage, section 6.1). Must not know what the caller may do, nor where keys are fetched from.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.domain.errors import BridgeError, Forbidden, Unauthenticated
from bridge.ports import KeySource
from bridge.web.answers import problem

DEMO_USER = "user:default/guest"
PLATFORM_CALLER = "platform-api"
PLATFORM_ROUTES = frozenset({"/api/v1/namespaces"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/openapi.json"})
OPEN_PREFIX = "/catalog/"

_ALGORITHMS = ["ES256"]
_PLUGIN_TYPE = "vnd.backstage.plugin"
_USER_TYPE = "vnd.backstage.limited-user"
_USER_KEYS = "/api/auth/.well-known/jwks.json"
_PLUGIN_ID = re.compile(r"[a-z0-9_-]+", re.IGNORECASE)
_LEEWAY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token was verified.

    ``subject`` is the service that speaks, ``user`` the person it speaks for, as an entity ref.
    """

    subject: str
    user: str | None = None

    @property
    def name(self) -> str:
        """For people: who did it."""
        return self.user or self.subject


class Authenticator:
    """Turns a bearer token into a caller, by whatever verifiers are configured."""

    def __init__(
        self,
        *,
        demo: bool,
        service_tokens: Mapping[str, str],
        platform_token: str | None,
        keys: KeySource | None,
        plugin_id: str,
        trusted_plugins: tuple[str, ...],
    ) -> None:
        self._demo = demo
        self._service_tokens = {name: _digest(token) for name, token in service_tokens.items()}
        self._platform_token = _digest(platform_token) if platform_token else None
        self._keys = keys
        self._plugin_id = plugin_id
        self._trusted_plugins = frozenset(trusted_plugins)

    async def identify(self, authorization: str | None, *, path: str) -> Caller:
        """The caller behind an Authorization header.

        Raises:
            Unauthenticated: No token, or none that any verifier accepts.
            Forbidden: The platform token outside its one route.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            if self._demo and authorization is None and path not in PLATFORM_ROUTES:
                return Caller("demo", DEMO_USER)
            raise Unauthenticated("Send an Authorization header with a bearer token.")
        return await self._verified(token.strip(), path)

    async def _verified(self, token: str, path: str) -> Caller:
        digest = _digest(token)
        if self._platform_token is not None and hmac.compare_digest(digest, self._platform_token):
            if path not in PLATFORM_ROUTES:
                raise Forbidden("The Platform API token is for /api/v1/namespaces only.")
            return Caller(PLATFORM_CALLER)
        for name, expected in self._service_tokens.items():
            if hmac.compare_digest(digest, expected):
                return Caller(f"service:{name}")
        if self._keys is not None:
            return await self._plugin(token, self._keys)
        if self._demo:
            return Caller("demo", DEMO_USER)
        raise Unauthenticated("The token is not one that this bridge knows.")

    async def _plugin(self, token: str, keys: KeySource) -> Caller:
        header, unverified = _peek(token)
        plugin = str(unverified.get("sub", ""))
        # The subject becomes part of an address, so it is checked before anything is fetched.
        if plugin not in self._trusted_plugins or _PLUGIN_ID.fullmatch(plugin) is None:
            raise Unauthenticated(f"Tokens of the plugin {plugin[:40]!r} are not accepted.")
        path = f"/api/{plugin}/.backstage/auth/v1/jwks.json"
        claims = await _checked(
            token, header, keys, path=path, token_type=_PLUGIN_TYPE, audience=self._plugin_id
        )
        user = await self._user(claims.get("obo"), keys)
        return Caller(f"plugin:{plugin}", user)

    async def _user(self, obo: Any, keys: KeySource) -> str | None:
        """The person whom the plugin acts for; verified apart, with keys of its own."""
        if obo is None:
            return None
        header, _ = _peek(str(obo))
        claims = await _checked(
            str(obo), header, keys, path=_USER_KEYS, token_type=_USER_TYPE, audience=None
        )
        return str(claims["sub"])


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _peek(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        decoded = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise Unauthenticated("The token is not one that this bridge knows.") from error
    return decoded["header"], decoded["payload"]


async def _checked(
    token: str,
    header: Mapping[str, Any],
    keys: KeySource,
    *,
    path: str,
    token_type: str,
    audience: str | None,
) -> Mapping[str, Any]:
    if header.get("typ") != token_type or header.get("alg") not in _ALGORITHMS:
        raise Unauthenticated("The token is not of the type that Backstage signs for plugins.")
    jwk = await keys.key(path, kid=str(header.get("kid", "")))
    if jwk is None:
        raise Unauthenticated("The token's key is not known to Backstage.")
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            jwt.PyJWK(dict(jwk), algorithm="ES256"),
            algorithms=_ALGORITHMS,
            audience=audience,
            leeway=_LEEWAY_SECONDS,
            options={
                "require": ["iat", "exp", "sub", *(["aud"] if audience else [])],
                "verify_aud": audience is not None,
            },
        )
    except jwt.PyJWTError as error:  # of the key too: a set may hold keys of other kinds
        raise Unauthenticated(f"The token is not valid: {error}") from error
    return claims


class RequireCaller:
    """Middleware: every route needs a caller unless it is listed as open."""

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the caller into ``scope["state"]``."""
        if scope["type"] == "http" and not is_open(scope["path"]):
            headers = dict(scope["headers"])
            authorization = headers.get(b"authorization")
            text = authorization.decode("latin-1") if authorization is not None else None
            try:
                caller = await self._authenticator.identify(text, path=scope["path"])
            except BridgeError as error:
                # Starlette's exception handlers stand inside of middlewares: answer here.
                await problem(error, instance=scope["path"])(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether a path needs no token."""
    return path in OPEN_ROUTES or path.startswith(OPEN_PREFIX)
