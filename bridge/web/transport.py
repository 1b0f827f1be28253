"""What browsers may do with the bridge.

Knows headers of requests and answers. Must not know routes or callers.

There are no cookies, so no page can use somebody's session; a page of another site could only
drive a demo bridge, which asks for no token.
"""

from __future__ import annotations

from collections.abc import Awaitable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.domain.errors import BridgeError, CrossSite, HostUnknown
from bridge.domain.hosts import is_loopback
from bridge.web.answers import problem
from bridge.web.headers import HSTS, secured

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
_PREFLIGHT_SECONDS = 600
_ASKED = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"]
_SHOWN = ["ETag", "Idempotent-Replayed", "Link", "Location", "Retry-After"]


class SecureAnswers:
    """Middleware: the security headers on every answer; streams pass unbuffered."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._more = (HSTS,) if https else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers."""

        # No coroutine of its own: this is called for every event of every stream.
        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": secured(message["headers"], more=self._more)}
            return send(message)

        await self._app(scope, receive, sending)


class OwnMachineOnly:
    """Middleware of the demo mode: neither pages of other sites nor names that lead here by DNS."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], origins: frozenset[str]) -> None:
        """Args: *hosts* are names besides those of loopback, *origins* pages that may ask."""
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what a browser was led to do."""
        error = self._refusal(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await problem(error, scope=scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> BridgeError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return HostUnknown(
                "In demo mode the bridge answers to localhost and BRIDGE_PUBLIC_URL only."
            )
        if scope["method"] in _SAFE or self._may(headers, host):
            return None
        return CrossSite("In demo mode pages of other sites may only read.")

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        return name is not None and (name in self._hosts or is_loopback(name))

    def _may(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin in self._origins:
            return True
        if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
            return False
        return origin is None or origin.partition("://")[2] == host


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def cross_origin(origins: tuple[str, ...]) -> Middleware:
    """The middleware that lets pages of *origins* call the API with a token."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT"],
        allow_headers=_ASKED,
        expose_headers=_SHOWN,
        max_age=_PREFLIGHT_SECONDS,
    )
