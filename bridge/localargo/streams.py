"""Streams as the gRPC gateway of Argo Server sends them.

Knows the two framings, keep-alives and errors inside a stream. The status line and headers are
sent together with the first bytes, not before (argo-recordings/watch-accept). Knows nothing of
what is streamed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from bridge.localargo.connections import close_connection, gone
from bridge.localargo.encoding import encode
from bridge.localargo.errors import ArgoError
from bridge.localargo.masks import FieldMask

EVENT_STREAM = "text/event-stream"
_KEEPALIVE = b":\n"

Headers = list[tuple[bytes, bytes]]
Chunks = AsyncGenerator[list[bytes], None]


class InterruptedStreamError(Exception):
    """The stream goes no further and has no end; `cut`: its connection is closed as well."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__("cut" if cut else "silent")
        self.cut = cut


class StreamResponse:
    """An ASGI response made of JSON frames.

    Server-sent events only if `Accept` is exactly `text/event-stream`: `data: {…} ` with a blank
    and three newlines, and `:` lines while nothing happens. Else one JSON object per line, and no
    keep-alives.
    """

    def __init__(
        self,
        request: Request,
        frames: Callable[[], Chunks],
        *,
        mask: FieldMask,
        headers: Callable[[], Headers],
        keepalive_seconds: float,
    ) -> None:
        self._frames = frames
        self._mask = mask
        self._headers = headers
        self._events = request.headers.get("accept") == EVENT_STREAM
        self._keepalive = keepalive_seconds if self._events else None
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end or the client goes."""
        sending = asyncio.ensure_future(self._send_all(scope, send))
        leaving = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, scope: Scope, send: Send) -> None:
        frames = self._frames()
        try:
            await self._copy(frames, send)
        except InterruptedStreamError as interruption:
            if interruption.cut:
                close_connection(scope)
            await asyncio.Event().wait()  # `__call__` ends it when the client has gone
        except ArgoError as error:
            await self._begin(send, error.status)
            body = encode(self._mask.frame(error.frame()))
            if self._events:
                body = b"data: " + body + b" \n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await self._begin(send, HTTPStatus.OK)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _copy(self, frames: Chunks, send: Send) -> None:
        pending: asyncio.Task[list[bytes]] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(frames, []))
                await asyncio.wait((pending,), timeout=self._keepalive)
                if not pending.done():
                    await self._send(send, _KEEPALIVE)
                    continue
                batch, pending = pending.result(), None
                if not batch:
                    return
                await self._send(send, b"".join(self._framed(body) for body in batch))
        finally:
            if pending is not None:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pending
            await frames.aclose()

    def _framed(self, body: bytes) -> bytes:
        return b"data: " + body + b" \n\n\n" if self._events else body + b"\n"

    async def _send(self, send: Send, body: bytes) -> None:
        await self._begin(send, HTTPStatus.OK)
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _begin(self, send: Send, status: HTTPStatus) -> None:
        if self._started:
            return
        self._started = True
        headers = self._headers()
        kind = EVENT_STREAM if self._events else "application/json"
        headers.append((b"content-type", kind.encode()))
        if self._events:
            headers.append((b"x-content-type-options", b"nosniff"))
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
