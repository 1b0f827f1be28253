"""Calls under faults: what is drawn for each, and what the client gets instead of the truth.

Knows requests and answers. Rules are in `fault_rules.py`, their counters in `faults.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.localargo.answers import (
    RateWindow,
    bad_gateway,
    body_of,
    rate_limited,
    refusal,
    reply,
    typed,
    unreachable,
)
from bridge.localargo.connections import NoAnswer, gone
from bridge.localargo.encoding import encode
from bridge.localargo.engine import Engine
from bridge.localargo.errors import ArgoError, already_exists, internal, modified
from bridge.localargo.fault_draws import Drawn
from bridge.localargo.fault_rules import WORKFLOW_SERVICE, StreamRule, UnaryRule
from bridge.localargo.fault_streams import OpenStream
from bridge.localargo.faults import Faults
from bridge.localargo.masks import FieldMask
from bridge.localargo.record import RECORDED

Call = Callable[[Request], Awaitable[Mapping[str, Any]]]
_CarryOut = Callable[[Request], Awaitable[Response]]


class FaultyCalls:
    """Stands between the routes and what they do."""

    def __init__(self, engine: Engine, faults: Faults, window: RateWindow) -> None:
        self._engine = engine
        self._faults = faults
        self._window = window

    def recorded(self, route: str, call: Call) -> Call:
        """The same call, noted in the record when it was carried out.

        The request has its body already (`answer`): the call waits for nothing, so that no other
        one comes between the look at what was there and the look at what became of it.
        """
        if route not in RECORDED:
            return call

        async def noted(request: Request) -> Mapping[str, Any]:
            name = request.path_params.get("name", "")
            event = self._engine.log.get(request.path_params["namespace"], name)
            answer = await call(request)
            self._note(route, event.snapshot if event else {}, answer)
            return answer

        return noted

    def _note(self, route: str, old: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        shown = answer or old  # a delete answers {}
        version = shown["metadata"].get("resourceVersion")
        if version is None:
            return  # a dry run
        changed = route == "delete" or not old or old["metadata"]["resourceVersion"] != version
        self._faults.record.note(route, shown, at=self._engine.now(), changed=changed)

    async def answer(self, route: str, request: Request, carry_out: _CarryOut) -> ASGIApp:
        """Answer a unary call, truthfully or not."""
        await request.body()
        if route not in WORKFLOW_SERVICE:
            return await self._answer(route, request, carry_out)
        if not await self._slot(request):
            return NoAnswer()
        try:
            return await self._answer(route, request, carry_out)
        finally:
            self._faults.slots.free()

    async def _answer(self, route: str, request: Request, carry_out: _CarryOut) -> ASGIApp:
        drawn = self._faults.unary(route)
        if drawn is None:
            return await carry_out(request)
        fault = drawn.rule.fault
        request.state.behind = drawn.rule.behind if fault == "stale" else 0
        is_done = drawn.rule.applied or fault == "cut-after"
        truth = await carry_out(request) if is_done else None
        await asyncio.sleep(drawn.seconds())
        if fault in {"delay", "stale"}:
            return truth or await carry_out(request)
        try:
            return await self._untruth(drawn, request)
        except ArgoError as error:
            return refusal(self._window, error)

    async def _untruth(self, drawn: Drawn[UnaryRule], request: Request) -> ASGIApp:
        rule = drawn.rule
        name = request.path_params.get("name", "")
        match rule.fault:
            case "cut-before" | "cut-after":
                return NoAnswer()
            case "exists":
                document = (await body_of(request)).get("workflow") or {}
                metadata = document.get("metadata") or {}
                prefix = metadata.get("generateName", "")
                raise already_exists(metadata.get("name", prefix), generated=bool(prefix))
            case "modified":
                raise modified(name)
            case "internal":
                raise internal(rule.message)
            case "ignore":
                snapshot = self._engine.latest(name).snapshot
                return reply(self._window, encode(typed(snapshot, FieldMask())))
        return self._before_argo(rule)

    def _before_argo(self, rule: UnaryRule | StreamRule) -> Response:
        """An answer that never reached the workflow service."""
        if rule.fault == "rate-limit":
            return rate_limited(self._window, rule.retry_after)
        response = unreachable(self._window) if rule.fault == "unavailable" else bad_gateway()
        if rule.retry_after is not None:
            response.headers["Retry-After"] = str(rule.retry_after)
        return response

    async def stream(
        self, route: str, request: Request, respond: Callable[[OpenStream], ASGIApp]
    ) -> ASGIApp:
        """Answer a call with a stream, or with something else."""
        since = request.query_params.get("listOptions.resourceVersion", "")
        drawn = self._faults.draw_stream(route, resumes=since not in {"", "0"})
        if drawn is not None and drawn.rule.fault in {"rate-limit", "unavailable", "html"}:
            return self._before_argo(drawn.rule)
        if not await self._slot(request):
            return NoAnswer()
        opened = self._faults.open(route, since=since, ending=drawn)
        return _Held(respond(opened), lambda: self._faults.close(opened))

    async def _slot(self, request: Request) -> bool:
        """Wait for a slot of the workflow service; False if the client goes before."""
        taking = asyncio.ensure_future(self._faults.slots.take())
        leaving = asyncio.ensure_future(gone(request.receive))
        try:
            await asyncio.wait((taking, leaving), return_when=asyncio.FIRST_COMPLETED)
            return taking.done()
        finally:
            taking.cancel()
            leaving.cancel()
            await asyncio.gather(taking, leaving, return_exceptions=True)


class _Held:
    """An ASGI response that tells when it is over."""

    def __init__(self, response: ASGIApp, over: Callable[[], None]) -> None:
        self._response = response
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            self._over()
