"""The routes by which people act on a run: cancel, terminate, approve, reject, retry.

Knows requests, and which answer says "under way" and which "done". Must not know who may ask, nor
how it is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from bridge.domain.callers import Caller
from bridge.domain.commands import Verb
from bridge.domain.json_text import BodyLimits
from bridge.domain.runs import Run
from bridge.services.control import Control, Wish
from bridge.web.addresses import run_address
from bridge.web.answers import read_body, shown
from bridge.web.api import CommandsOf, UrlOf
from bridge.web.bodies import ApprovalBody, ReasonBody, RetryBody
from bridge.web.queries import path_text
from bridge.web.views import run_view

B = TypeVar("B", bound=ReasonBody)


class CommandsApi:
    """``POST /v1/runs/{id}/…``; every body may be left out, and asking twice is asking once."""

    def __init__(
        self,
        *,
        control: Control,
        commands_of: CommandsOf,
        url_of: UrlOf,
        max_body: BodyLimits,
    ) -> None:
        self._control = control
        self._commands_of = commands_of
        self._url_of = url_of
        self._max_body = max_body

    async def cancel(self, request: Request) -> Response:
        """End a run; its workflow rolls back."""
        body = await self._body(request, ReasonBody)
        run = await self._control.cancel(_wish(request, body))
        return self._answer(run, under_way=not run.finished)

    async def terminate(self, request: Request) -> Response:
        """End a run at once; nothing is rolled back."""
        body = await self._body(request, ReasonBody)
        run = await self._control.terminate(_wish(request, body))
        return self._answer(run, under_way=not run.finished)

    async def approve(self, request: Request) -> Response:
        """Let a waiting run go on."""
        body = await self._body(request, ApprovalBody)
        return await self._decide(_wish(request, body), Verb.APPROVE, body.inputs)

    async def reject(self, request: Request) -> Response:
        """Let a waiting run fail."""
        body = await self._body(request, ReasonBody)
        return await self._decide(_wish(request, body), Verb.REJECT, {})

    async def retry(self, request: Request) -> Response:
        """Try a run again that ended badly."""
        body = await self._body(request, RetryBody)
        next_one = await self._control.retry(_wish(request, body), body.mode)
        return self._answer(
            next_one.run, under_way=not next_one.replayed, location=run_address(next_one.run.id)
        )

    async def _decide(
        self, wish: Wish, verb: Literal[Verb.APPROVE, Verb.REJECT], inputs: Mapping[str, Any]
    ) -> Response:
        run = await self._control.decide(wish, verb, inputs)
        commands = await self._commands_of(run.id)
        open_decisions = [c for c in commands if c.gate and c.settled_at is None]
        return self._answer(run, under_way=bool(open_decisions) and not run.finished)

    async def _body(self, request: Request, model: type[B]) -> B:
        return await read_body(request, model, limit=self._max_body, optional=True)

    def _answer(self, run: Run, *, under_way: bool, location: str | None = None) -> Response:
        view = run_view(run, workflow_url=self._url_of(run))
        headers = {"Cache-Control": "no-store"}
        if location is not None:
            headers["Location"] = location
        return shown(view, status=202 if under_way else 200, headers=headers)


def _wish(request: Request, body: ReasonBody) -> Wish:
    caller: Caller = request.state.caller
    return Wish(run_id=path_text(request, "run_id"), caller=caller, reason=body.reason)
