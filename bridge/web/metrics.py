"""``GET /metrics``, and the middleware that counts requests.

Knows requests, their routes and who may read. Must not know what is measured, nor how it is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.domain.errors import Unauthenticated
from bridge.ports import Clock
from bridge.web.verifiers.statics import Holders, holder_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
_CRASHED = 500
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


@dataclass(frozen=True, slots=True)
class Measuring:
    """What the routes need of the metrics.

    ``on_answer`` is told of each answer: the template of its route, method, status and the
    seconds until it began. Without ``readers`` the text is for everybody.
    """

    text: Callable[[], Awaitable[bytes]]
    on_answer: Callable[[str, str, int, float], object]
    readers: Holders | None = None


class MetricsApi:
    """``/metrics``."""

    def __init__(self, measuring: Measuring) -> None:
        self._text = measuring.text
        self._readers = measuring.readers

    async def show(self, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        if self._readers is not None:
            _expect(self._readers, request.headers.getlist("authorization"))
        return Response(await self._text(), headers={"Content-Type": CONTENT_TYPE})


def _expect(readers: Holders, sent: list[str]) -> None:
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or holder_of(token.strip(), readers) is None:
        raise Unauthenticated("Send the bearer token of BRIDGE_METRICS_TOKEN.")


class MeasureRequests:
    """Middleware: tells of each answer, under names of which a client can make up none."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Iterable[Route],
        clock: Clock,
        on_answer: Callable[[str, str, int, float], object],
    ) -> None:
        self._app = app
        self._clock = clock
        known = tuple(routes)
        self._templates = {route.path: route.path_regex for route in known}
        self._of_endpoints: dict[object, str] = {route.endpoint: route.path for route in known}
        self._on_answer = on_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and tell once the answer begins: a stream may last for hours."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, begun = self._clock.monotonic(), False

        def tell(status: int) -> None:
            nonlocal begun
            begun = True
            method = scope["method"] if scope["method"] in _METHODS else OTHER
            took = self._clock.monotonic() - began
            self._on_answer(self._template(scope), method, status, took)

        # No coroutine of its own: this is called for every event of every stream.
        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                tell(message["status"])
            return send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            if not begun:  # Starlette answers outside of all middleware
                tell(_CRASHED)
            raise

    def _template(self, scope: Scope) -> str:
        found = self._of_endpoints.get(scope.get("endpoint"))  # the router has looked already
        if found is not None:
            return found
        path = scope["path"]
        return next((name for name, regex in self._templates.items() if regex.match(path)), OTHER)
