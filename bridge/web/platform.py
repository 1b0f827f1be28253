"""The Platform API: namespaces are requested, reported by their workflows, and listed.

Knows its routes and which action makes namespaces. Must not know what that action takes: a
request is an ordinary run, with the same checks, the same key and the same policy.
"""

from __future__ import annotations

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from bridge.domain.callers import Caller
from bridge.domain.json_text import BodyLimits
from bridge.ports import RunFilter
from bridge.services.access import Access
from bridge.services.namespaces import Namespaces
from bridge.services.runs import Request, Runs
from bridge.web.addresses import request_address
from bridge.web.answers import read_body
from bridge.web.api import UrlOf
from bridge.web.bodies import NamespaceRecord
from bridge.web.models import NamespacePage
from bridge.web.platform_views import NamespaceRequest, request_view, workflow_view
from bridge.web.queries import path_text, text, whole_number

_FRESH = {"Cache-Control": "no-store"}


class NamespaceRequestsApi:
    """``/api/platform/namespaces/request`` and ``/api/v1/workflows``: runs in other words."""

    def __init__(self, *, runs: Runs, action: str, url_of: UrlOf, max_body: BodyLimits) -> None:
        self._runs = runs
        self._action = action
        self._url_of = url_of
        self._max_body = max_body

    async def create(self, request: HttpRequest) -> Response:
        """Ask for a namespace: 201 also for a replay, because that is what clients look for."""
        body = await read_body(request, NamespaceRequest, limit=self._max_body)
        caller: Caller = request.state.caller
        asked = Request(
            action=self._action,
            input=body.root,
            caller=caller,
            key=request.headers.get("idempotency-key"),
        )
        acceptance = await self._runs.accept(asked)
        run = acceptance.run
        headers = {**_FRESH, "Location": request_address(run.id)}
        if acceptance.replayed:
            headers["Idempotent-Replayed"] = "true"
        view = request_view(run, workflow_url=self._url_of(run))
        return JSONResponse(view, status_code=201, headers=headers)

    async def status(self, request: HttpRequest) -> Response:
        """How a request stands."""
        run = await self._runs.get(path_text(request, "request_id"), by=request.state.caller)
        return JSONResponse(request_view(run, workflow_url=self._url_of(run)), headers=_FRESH)

    async def workflows(self, request: HttpRequest) -> Response:
        """The workflows of all runs, newest first."""
        limit = whole_number(request, "limit", default=50, largest=200)
        chosen = RunFilter(
            action=text(request, "action"), before=text(request, "cursor"), limit=limit + 1
        )
        found = await self._runs.page(chosen, by=request.state.caller)
        shown = found[:limit]
        following = shown[-1].id if len(found) > limit else None
        views = [workflow_view(run, workflow_url=self._url_of(run)) for run in shown]
        return JSONResponse({"workflows": views, "next": following}, headers=_FRESH)


class NamespacesApi:
    """``/api/v1/namespaces``: what workflows reported when a namespace was ready."""

    def __init__(self, *, namespaces: Namespaces, access: Access, max_body: BodyLimits) -> None:
        self._namespaces = namespaces
        self._access = access
        self._max_body = max_body

    async def report(self, request: HttpRequest) -> Response:
        """Insert or replace a record; only workflows know when a namespace is ready."""
        await self._access.check_report(request.state.caller)
        # The guide's workflows send what curl sends.
        record = await read_body(request, NamespaceRecord, limit=self._max_body, any_type=True)
        body = record.model_dump(by_alias=True)
        await self._namespaces.report(record.name, body, run_id=record.request_id)
        return JSONResponse(body)

    async def every(self, request: HttpRequest) -> Response:
        """All records of the caller's tenant."""
        caller: Caller = request.state.caller
        records = await self._namespaces.of(caller.tenant)
        page = NamespacePage.model_validate({"namespaces": records})
        return JSONResponse(page.model_dump(by_alias=True))
