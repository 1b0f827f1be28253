"""The routes on actions and runs.

Knows requests and the use cases behind them. Must not know stores or engines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from bridge.domain.callers import Caller
from bridge.domain.commands import Command
from bridge.domain.errors import RequestInvalid
from bridge.domain.json_text import BodyLimits
from bridge.domain.runs import Run, RunContext, RunStatus
from bridge.domain.traces import traceparent
from bridge.ports import RunFilter, Tracer
from bridge.services.actions import Actions
from bridge.services.runs import Request, Runs
from bridge.web.addresses import run_address
from bridge.web.answers import read_body, shown, tagged_json
from bridge.web.bodies import RunRequest
from bridge.web.models import PreviewView, RunPage
from bridge.web.queries import path_text, text, whole_number
from bridge.web.views import action_view, catalogue_view, run_details, run_view

UrlOf = Callable[[Run], str | None]
CommandsOf = Callable[[str], Awaitable[Sequence[Command]]]


class ActionsApi:
    """``/v1/actions``."""

    def __init__(self, *, actions: Actions) -> None:
        self._actions = actions

    async def every(self, request: HttpRequest) -> Response:
        """All actions; answered from memory."""
        return tagged_json(request, catalogue_view(self._actions.catalogue))

    async def one(self, request: HttpRequest) -> Response:
        """One action."""
        action = self._actions.catalogue.get(path_text(request, "action_id"))
        return tagged_json(request, action_view(action))


class RunsApi:
    """``/v1/runs``."""

    def __init__(
        self,
        *,
        runs: Runs,
        commands_of: CommandsOf,
        url_of: UrlOf,
        max_body: BodyLimits,
        tracer: Tracer,
    ) -> None:
        self._tracer = tracer
        self._runs = runs
        self._commands_of = commands_of
        self._url_of = url_of
        self._max_body = max_body

    async def create(self, request: HttpRequest) -> Response:
        """Accept a run, replay one, or preview one; goes on in the caller's trace."""
        parent = traceparent(request.headers.get("traceparent"))
        with self._tracer.request("POST /v1/runs", parent=parent) as trace:
            return await self._create(request, trace=trace)

    async def _create(self, request: HttpRequest, *, trace: str | None) -> Response:
        body = await read_body(request, RunRequest, limit=self._max_body)
        caller: Caller = request.state.caller
        asked = Request(
            action=body.action,
            input=body.input,
            caller=caller,
            key=request.headers.get("idempotency-key"),
            context=RunContext(
                body.context.task_id,
                body.context.step_id,
                body.context.template,
                body.context.attempt,
                trace,
            ),
        )
        if body.context.dry_run:
            return shown(PreviewView.model_validate(await self._runs.preview(asked)))
        acceptance = await self._runs.accept(asked)
        view = run_view(acceptance.run, workflow_url=self._url_of(acceptance.run))
        if acceptance.replayed:
            return shown(view, headers={"Idempotent-Replayed": "true"})
        return shown(view, status=202, headers={"Location": run_address(acceptance.run.id)})

    async def page(self, request: HttpRequest) -> Response:
        """Runs, newest first."""
        limit = whole_number(request, "limit", default=50, largest=200)
        chosen = RunFilter(
            status=_status(text(request, "status")),
            action=text(request, "action"),
            before=text(request, "cursor"),
            limit=limit + 1,
        )
        found = await self._runs.page(chosen, by=request.state.caller)
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        views = [run_view(run, workflow_url=self._url_of(run)) for run in page]
        return shown(RunPage(runs=views, next=following))

    async def one(self, request: HttpRequest) -> Response:
        """One run, with what was asked of it."""
        run = await self._runs.get(path_text(request, "run_id"), by=request.state.caller)
        commands = await self._commands_of(run.id)
        view = run_details(run, workflow_url=self._url_of(run), commands=commands)
        return shown(view, headers={"Cache-Control": "no-store"})


def _status(given: str | None) -> RunStatus | None:
    if given is None:
        return None
    try:
        return RunStatus(given)
    except ValueError as error:
        known = ", ".join(RunStatus)
        raise RequestInvalid(f"status must be one of {known}") from error
