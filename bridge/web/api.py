"""The routes on actions and runs.

Knows requests and the use cases behind them. Must not know stores or engines.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from bridge.domain.errors import Draining, RequestInvalid
from bridge.domain.runs import Run, RunContext, RunStatus
from bridge.ports import RunFilter
from bridge.services.actions import Actions
from bridge.services.runs import Request, Runs
from bridge.web.answers import read_body, tagged_json
from bridge.web.auth import Caller
from bridge.web.models import PreviewView, RunRequest, action_view, catalogue_view, run_view
from bridge.web.queries import whole_number

UrlOf = Callable[[Run], str | None]


class ActionsApi:
    """``/v1/actions``."""

    def __init__(self, *, actions: Actions) -> None:
        self._actions = actions

    async def every(self, request: HttpRequest) -> Response:
        """All actions; answered from memory."""
        return tagged_json(request, catalogue_view(self._actions.catalogue))

    async def one(self, request: HttpRequest) -> Response:
        """One action."""
        action = self._actions.catalogue.get(request.path_params["action_id"])
        return tagged_json(request, action_view(action))


class RunsApi:
    """``/v1/runs``."""

    def __init__(
        self, *, runs: Runs, url_of: UrlOf, max_body: int, draining: Callable[[], bool]
    ) -> None:
        self._runs = runs
        self._url_of = url_of
        self._max_body = max_body
        self._draining = draining

    async def create(self, request: HttpRequest) -> Response:
        """Accept a run, replay one, or preview one."""
        if self._draining():
            raise Draining(retry_after=2)
        body = await read_body(request, RunRequest, limit=self._max_body)
        caller: Caller = request.state.caller
        asked = Request(
            action=body.action,
            input=body.input,
            caller=caller.subject,
            user=caller.user,
            key=request.headers.get("idempotency-key"),
            context=RunContext(body.context.task_id, body.context.step_id, body.context.template),
        )
        if body.context.dry_run:
            preview = PreviewView.model_validate(self._runs.preview(asked))
            return JSONResponse(preview.model_dump(by_alias=True))
        acceptance = await self._runs.accept(asked)
        view = run_view(acceptance.run, workflow_url=self._url_of(acceptance.run))
        if acceptance.replayed:
            return JSONResponse(view, headers={"Idempotent-Replayed": "true"})
        headers = {"Location": f"/v1/runs/{acceptance.run.id}"}
        return JSONResponse(view, status_code=202, headers=headers)

    async def page(self, request: HttpRequest) -> Response:
        """Runs, newest first."""
        query = request.query_params
        limit = whole_number(request, "limit", default=50, largest=200)
        chosen = RunFilter(
            status=_status(query.get("status")),
            action=query.get("action"),
            before=query.get("cursor"),
            limit=limit + 1,
        )
        found = await self._runs.page(chosen)
        shown = found[:limit]
        following = shown[-1].id if len(found) > limit else None
        views = [run_view(run, workflow_url=self._url_of(run)) for run in shown]
        return JSONResponse({"runs": views, "next": following})

    async def one(self, request: HttpRequest) -> Response:
        """One run."""
        run = await self._runs.get(request.path_params["run_id"])
        view = run_view(run, workflow_url=self._url_of(run))
        return JSONResponse(view, headers={"Cache-Control": "no-store"})

    async def cancel(self, request: HttpRequest) -> Response:
        """Ask for the end of a run."""
        caller: Caller = request.state.caller
        run = await self._runs.cancel(request.path_params["run_id"], by=caller.name)
        view = run_view(run, workflow_url=self._url_of(run))
        return JSONResponse(view, status_code=200 if run.finished else 202)


def _status(text: str | None) -> RunStatus | None:
    if text is None:
        return None
    try:
        return RunStatus(text)
    except ValueError as error:
        known = ", ".join(RunStatus)
        raise RequestInvalid(f"status must be one of {known}") from error
