"""The admin routes of faults: `/faults`, `/faults/now`, `/faults/record`.

Knows HTTP only. They do not hang when `stream_limit` is reached, and no fault applies to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.localargo.answers import body_of
from bridge.localargo.encoding import encode
from bridge.localargo.errors import ArgoError, invalid
from bridge.localargo.faults import Faults


def fault_routes(faults: Faults, check_token: Callable[[Request], None]) -> list[Route]:
    """The routes; `check_token` raises ArgoError for a caller that may not."""

    async def show(_request: Request) -> Mapping[str, Any]:
        return faults.state()

    async def put(request: Request) -> Mapping[str, Any]:
        try:
            faults.put(await body_of(request))
        except ValueError as error:
            raise invalid(str(error)) from error
        return faults.state()

    async def now(request: Request) -> Mapping[str, Any]:
        try:
            return {"applied": faults.now(await body_of(request))}
        except ValueError as error:
            raise invalid(str(error)) from error

    async def record(_request: Request) -> Mapping[str, Any]:
        return {"calls": [asdict(call) for call in faults.record.calls()]}

    def route(method: str, path: str, call: Callable[[Request], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                check_token(request)
                return _json(await call(request), 200)
            except ArgoError as error:
                return _json(error.body(), int(error.status))

        return Route(path, endpoint, methods=[method])

    return [
        route("GET", "/faults", show),
        route("PUT", "/faults", put),
        route("POST", "/faults/now", now),
        route("GET", "/faults/record", record),
    ]


def _json(body: Mapping[str, Any], status: int) -> Response:
    return Response(encode(body), status, media_type="application/json")
