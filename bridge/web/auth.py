"""Who is asking: from what a request brings as proof to a verified caller.

Knows which proof goes to which verifier, and which routes need none. Must not know what the
caller may do, nor how any kind of token is verified (``verifiers``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.domain.callers import CALLBACK, PLATFORM_ADMIN, Caller, Source, with_admins
from bridge.domain.errors import (
    BodyTooLarge,
    BridgeError,
    Forbidden,
    RequestInvalid,
    Unauthenticated,
)
from bridge.web.answers import problem
from bridge.web.verifiers import webhooks
from bridge.web.verifiers.signed import TokenVerifier, read
from bridge.web.verifiers.statics import Holders, holder_of
from bridge.web.verifiers.webhooks import Webhooks

DEMO_CALLER = Caller("demo", "user:default/guest", roles=frozenset({PLATFORM_ADMIN}))
PLATFORM_ROUTES = frozenset({"/api/v1/namespaces"})
WEBHOOK_ROUTES = frozenset({"/v1/runs", "/api/platform/namespaces/request"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
OPEN_PREFIX = "/catalog/"


@dataclass(frozen=True, slots=True)
class Verifiers:
    """What counts as proof; whatever is left out does not."""

    services: Holders = tuple
    """Of tokens that services hold."""
    callback: Holders = tuple
    """Of the token that workflows hold."""
    signed: Sequence[TokenVerifier] = ()
    webhooks: Webhooks | None = None
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

    def is_signed(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request is to be verified by a signature of its body."""
        verifier = self._verifiers.webhooks
        return verifier is not None and verifier.takes(headers)

    def identify_sender(
        self, headers: Mapping[bytes, bytes], body: bytes, *, method: str, path: str
    ) -> Caller:
        """The caller behind a signed body.

        Raises:
            Unauthenticated: It is not signed as it must be.
            Forbidden: It is for an address that no webhook may ask: the address is not signed.
        """
        verifier = self._verifiers.webhooks
        if verifier is None:
            raise Unauthenticated("Signed webhooks are not accepted.")
        caller = verifier.verify(headers, body)
        if method != "POST" or path not in WEBHOOK_ROUTES:
            listed = " and ".join(sorted(WEBHOOK_ROUTES))
            raise Forbidden(f"Signed webhooks are for POST {listed} only.")
        return with_admins(caller, self._admins)

    async def _verified(self, token: str, path: str) -> Caller:
        if holder_of(token, self._verifiers.callback) is not None:
            if path not in PLATFORM_ROUTES:
                raise Forbidden("The Platform API token is for /api/v1/namespaces only.")
            return Caller(CALLBACK)
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

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, max_body: int) -> None:
        """Args: *max_body* is how many bytes of a signed body are held to verify it."""
        self._app = app
        self._authenticator = authenticator
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the caller into ``scope["state"]``."""
        if scope["type"] == "http" and not is_open(scope["path"]):
            try:
                receive = await self._admit(scope, receive)
            except BridgeError as error:
                # Starlette's exception handlers stand inside of middlewares: answer here.
                await problem(error, scope=scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Find the caller; gives what the application is to receive."""
        headers = dict(scope["headers"])
        if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
            raise Unauthenticated("Send one Authorization header, not several.")
        if self._authenticator.is_signed(headers):
            body = await _body(receive, limit=self._max_body)
            caller = self._authenticator.identify_sender(
                headers, body, method=scope["method"], path=scope["path"]
            )
            _take_key(scope, headers)
            receive = _again(body, receive)
        else:
            sent = headers.get(b"authorization")
            text = sent.decode("latin-1") if sent is not None else None
            caller = await self._authenticator.identify(text, path=scope["path"])
        state = scope.setdefault("state", {})
        state["caller"] = replace(caller, source=state.get("source", Source()))
        return receive


async def _body(receive: Receive, *, limit: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestInvalid("The body did not arrive in full.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise BodyTooLarge(f"The body exceeds {limit} bytes.")
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """What was received, for the application, and after it whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def first_that() -> Message:
        return messages.pop() if messages else await receive()

    return first_that


def _take_key(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Let the signed id be the Idempotency-Key; another one could be put on by anybody.

    Raises:
        RequestInvalid: There is another one.
    """
    key = headers.get(b"idempotency-key")
    if key is None:
        scope["headers"] = [*scope["headers"], (b"idempotency-key", headers[webhooks.ID])]
    elif key != headers[webhooks.ID]:
        raise RequestInvalid("A webhook's Idempotency-Key is its webhook-id: leave the header out.")


def is_open(path: str) -> bool:
    """Whether a path needs no token."""
    return path in OPEN_ROUTES or path.startswith(OPEN_PREFIX)
