"""An id for every request, so that an answer, the log and the audit trail can be joined.

Knows where a request comes from. Must not know what it asks for.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable
from hashlib import blake2b

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.domain.callers import Source

_HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


class RequestIds:
    """Middleware: takes the client's ``X-Request-Id`` if it is a plain one, or makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # The system is asked once: each time it would hand the interpreter to another thread.
        self._key, self._count = secrets.token_bytes(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put a Source into ``scope["state"]``, and the id into the log and the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given if _ID.fullmatch(given) else self._new()
        name = request_id.decode()
        client = scope.get("client")
        source = Source(address=client[0] if client else None, request=name)
        scope.setdefault("state", {})["source"] = source

        # No coroutine of its own: this is called for every event of every stream.
        def named(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id)]
            return send(message)

        with structlog.contextvars.bound_contextvars(request=name):
            await self._app(scope, receive, named)

    def _new(self) -> bytes:
        self._count += 1
        count = self._count.to_bytes(8, "big")
        return blake2b(count, key=self._key, digest_size=16).hexdigest().encode()
