"""Who is asking: from what a request brings as proof to a verified caller.

Knows which proof goes to which verifier, and which routes need none. Must not know what the
caller may do, nor how any kind of token is verified (``verifiers``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.domain.callers import PLATFORM_ADMIN, Caller, with_admins
from bridge.domain.errors import BridgeError, Forbidden, Unauthenticated
from bridge.web.answers import problem
from bridge.web.verifiers.signed import TokenVerifier, read
from bridge.web.verifiers.statics import Holders, holder_of

DEMO_CALLER = Caller("demo", "user:default/guest", roles=frozenset({PLATFORM_ADMIN}))
PLATFORM_CALLER = "platform-api"
PLATFORM_ROUTES = frozenset({"/api/v1/namespaces"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/openapi.json"})
OPEN_PREFIX = "/catalog/"


@dataclass(frozen=True, slots=True)
class Verifiers:
    """What counts as proof; whatever is left out does not."""

    services: Holders = tuple
    """Of tokens that services hold."""
    callback: Holders = tuple
    """Of the token that workflows hold."""
    signed: Sequence[TokenVerifier] = ()
    guest: bool = False
    """Whether who brings no token is the demo's guest."""
    strangers: bool = False
    """Whether who brings a token that nobody verifies is that guest too."""


class Authenticator:
    """Turns a bearer token into a caller, by whatever verifiers are configured."""

    def __init__(self, verifiers: Verifiers, *, admins: frozenset[str] = frozenset()) -> None:
        """Args: *admins* are subjects, and entity refs in lower case."""
        self._verifiers = verifiers
        self._admins = admins

    async def identify(self, authorization: str | None, *, path: str) -> Caller:
        """The caller behind an Authorization header.

        Raises:
            Unauthenticated: No token, or none that any verifier accepts.
            Forbidden: The callback's token outside its one route.
            IssuerUnavailable: The keys of the token's issuer cannot be read now.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            if self._verifiers.guest and authorization is None and path not in PLATFORM_ROUTES:
                return DEMO_CALLER
            raise Unauthenticated("Send an Authorization header with a bearer token.")
        return with_admins(await self._verified(token.strip(), path), self._admins)

    async def _verified(self, token: str, path: str) -> Caller:
        if holder_of(token, self._verifiers.callback) is not None:
            if path not in PLATFORM_ROUTES:
                raise Forbidden("The Platform API token is for /api/v1/namespaces only.")
            return Caller(PLATFORM_CALLER)
        name = holder_of(token, self._verifiers.services)
        if name is not None:
            return Caller(f"service:{name}")
        return await self._signed(token)

    async def _signed(self, token: str) -> Caller:
        unverified = read(token)
        for verifier in self._verifiers.signed:
            if unverified is not None and verifier.takes(unverified):
                return await verifier.verify(unverified)
        if self._verifiers.strangers:
            return DEMO_CALLER
        raise Unauthenticated("The token is not one that this bridge knows.")


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
