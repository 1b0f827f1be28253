"""Connections that stay within bounds: their number, the head of a request, and time.

Knows uvicorn's protocol class and how HTTP goes over a connection. Must not know requests.

uvicorn's own class reads headers of any size for any time: a connection that sends nothing, or a
header without end, stays open, and so does one whose reader takes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.domain.errors import (
    AddressTooLong,
    BridgeError,
    HeadersTooLarge,
    Overloaded,
    RequestInvalid,
    RequestSlow,
)
from bridge.web.answers import problem
from bridge.web.headers import secured

MAX_ADDRESS = 8 * 1024
"""Bytes of an address, the query included."""

MAX_WAITING = 16
"""Requests that a client may send ahead on one connection."""

_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may cost.

    Args:
        connections: How many may be open.
        head: Bytes of a request that are not its body.
        seconds: In how long a request must arrive, from the end of the one before.
        stall: Seconds for which a client may leave an answer untaken.
        headers: What the connection's own answers say besides the security headers.
    """

    connections: int = 15_000
    head: int = 32 * 1024
    seconds: float = 20.0
    stall: float = 60.0
    headers: tuple[tuple[bytes, bytes], ...] = ()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within the limits of its class."""

    limits = ConnectionLimits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Begin to wait for a request, or send the client away."""
        self._deadline = _Alarm(self.limits.seconds, self._late)
        self._untaken = _Alarm(self.limits.stall, transport.abort)
        self._head = 0
        self._arriving = True
        self._refusal: BridgeError | None = None
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(Overloaded(retry_after=_RETRY_SECONDS))
        else:
            self._deadline.set(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._deadline.clear()
        self._untaken.clear()
        super().connection_lost(exc)

    # --- what arrives --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, if the request is still within its bounds."""
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head > self.limits.head:
            self._refuse(self._too_large())
        elif not self._arriving and not self.cycle.response_complete:
            self._deadline.clear()
        else:
            self._deadline.set(self.loop)

    def on_message_begin(self) -> None:
        """Count anew."""
        self._arriving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse a head that came in one piece and is too large."""
        head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head > self.limits.head or len(self.url) > MAX_ADDRESS:
            self._refusal = self._too_large()
        elif len(self.pipeline) >= MAX_WAITING:
            self._refusal = Overloaded(retry_after=_RETRY_SECONDS)
        if self._refusal is not None:
            raise self._refusal  # the parser stops, and send_400_response is called
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count everything but the body: sizes of chunks and trailers are as endless as headers."""
        self._head -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._arriving = False
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say why it cannot be read."""
        self._refuse(self._refusal or RequestInvalid(msg))

    def _too_large(self) -> BridgeError:
        if len(self.url) > MAX_ADDRESS:
            return AddressTooLong(f"An address may have {MAX_ADDRESS} bytes.")
        return HeadersTooLarge(f"Address and headers may have {self.limits.head} bytes.")

    def _late(self) -> None:
        self._refuse(RequestSlow(f"A request must arrive within {self.limits.seconds:g} s."))

    # --- what is sent --------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client does not read as fast as it is told: give it some time."""
        super().pause_writing()
        self._untaken.set(self.loop)

    def resume_writing(self) -> None:
        """It reads."""
        self._untaken.clear()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client does not take the rest of an answer."""
        super().timeout_keep_alive_handler()
        self._untaken.set(self.loop)

    def _refuse(self, error: BridgeError) -> None:
        """Close, with an answer if none has begun; the application hears of a disconnect."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_raw(error, self.limits.headers))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


class _Alarm:
    """A timer that is set at most once at a time."""

    __slots__ = ("_act", "_handle", "_seconds")

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._seconds = seconds
        self._act = act
        self._handle: asyncio.TimerHandle | None = None

    def set(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._handle is None:
            self._handle = loop.call_later(self._seconds, self._act)

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _raw(error: BridgeError, more: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The answer to what is not yet a request."""
    answer = problem(error, scope={"path": ""})
    head = secured([*answer.raw_headers, (b"connection", b"close")], more=more)
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in head)
    return status + lines + b"\r\n" + bytes(answer.body)


def bounded(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol class for *limits*."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
