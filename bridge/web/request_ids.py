"""An id for every request, so that an answer, the log and the audit trail can be joined.

Knows where a request comes from. Must not know what it asks for.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.domain.callers import Source
from bridge.ports import Chance

_HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


class RequestIds:
    """Middleware: takes the client's ``X-Request-Id`` if it is a plain one, or makes one."""

    def __init__(self, app: ASGIApp, *, chance: Chance) -> None:
        self._app = app
        self._chance = chance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put a Source into ``scope["state"]``, and the id into the log and the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given if _ID.fullmatch(given) else self._chance.request_id().encode()
        name = request_id.decode()
        client = scope.get("client")
        source = Source(address=client[0] if client else None, request=name)
        scope.setdefault("state", {})["source"] = source

        # No coroutine of its own: this is called for every event of every stream.
        def named(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id)]
            return send(message)

        bound = structlog.contextvars.bind_contextvars(request=name)
        try:
            await self._app(scope, receive, named)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
