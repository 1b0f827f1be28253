"""The HTTP surface of the embedded Argo: the routes of Argo Server's REST API.

Knows paths, queries and who may call. What a call does is in `submission.py`, `control.py`,
`listing.py`, `watch.py` and `log_stream.py`.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.localargo import control, listing, submission
from bridge.localargo.answers import (
    VERSION,
    RateWindow,
    body_of,
    not_implemented,
    refusal,
    reply,
    text_field,
    typed,
)
from bridge.localargo.encoding import encode, timestamp
from bridge.localargo.engine import Engine
from bridge.localargo.errors import ArgoError, Code, internal, invalid, not_found
from bridge.localargo.events import Watcher
from bridge.localargo.fault_calls import FaultyCalls
from bridge.localargo.fault_routes import fault_routes
from bridge.localargo.fault_rules import StreamRoute, UnaryRoute
from bridge.localargo.fault_streams import OpenStream
from bridge.localargo.faults import Faults
from bridge.localargo.log_stream import follow
from bridge.localargo.masks import FieldMask
from bridge.localargo.settings import LocalArgoSettings
from bridge.localargo.streams import Chunks, StreamResponse
from bridge.localargo.watch import watch

_NO_TOKEN = "token not valid. see https://argo-workflows.readthedocs.io/en/latest/faq/"  # noqa: S105 - a text, not a token
_NIL_POINTER = "runtime error: invalid memory address or nil pointer dereference"
_NO_ARCHIVE = "getting archived workflows not supported"
_KEEP_ALL = FieldMask()
_PAGE = "<html><body>Embedded Argo: see /api/v1/workflows/{namespace}</body></html>\n"

_Call = Callable[[Request], Awaitable[Mapping[str, Any]]]
_Open = Callable[[Request, OpenStream | None], Chunks]


class ArgoServer:
    """The routes, and what they share. `app` is the ASGI application."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings: LocalArgoSettings = engine.settings
        self._window = RateWindow()
        self._faults = Faults(engine) if engine.settings.faults else None
        self._faulty = (
            FaultyCalls(engine, self._faults, self._window) if self._faults is not None else None
        )
        self.app = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers={HTTPStatus.METHOD_NOT_ALLOWED: self._wrong_method},
        )
        self.app.router.default = self._unknown
        self.app.router.redirect_slashes = False
        self.app.state.engine = engine
        self.app.state.faults = self._faults

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self._engine:
            yield

    def _routes(self) -> list[Route]:
        workflows, one = "/api/v1/workflows/{namespace}", "/api/v1/workflows/{namespace}/{name}"
        templates = "/api/v1/workflow-templates/{namespace}"
        archive = "/api/v1/archived-workflows"
        calls: list[tuple[UnaryRoute, str, str, _Call]] = [
            ("create", "POST", workflows, self._create),
            ("list", "GET", workflows, self._list),
            ("get", "GET", one, self._get),
            ("delete", "DELETE", one, self._delete),
            ("stop", "PUT", f"{one}/stop", self._stop),
            ("terminate", "PUT", f"{one}/terminate", self._terminate),
            ("resume", "PUT", f"{one}/resume", self._resume),
            ("suspend", "PUT", f"{one}/suspend", self._suspend),
            ("set", "PUT", f"{one}/set", self._set),
            ("retry", "PUT", f"{one}/retry", self._retry),
            ("list-templates", "GET", templates, self._list_templates),
            ("create-template", "POST", templates, self._create_template),
            ("get-template", "GET", templates + "/{name}", self._get_template),
            ("update-template", "PUT", templates + "/{name}", self._update_template),
            ("info", "GET", "/api/v1/info", self._info),
            ("version", "GET", "/api/v1/version", self._version),
            ("userinfo", "GET", "/api/v1/userinfo", self._userinfo),
            ("list-archive", "GET", archive, self._list_archive),
            ("get-archive", "GET", archive + "/{uid}", self._get_archived),
            ("delete-archive", "DELETE", archive + "/{uid}", self._delete_archived),
        ]
        streams: list[tuple[StreamRoute, str, _Open]] = [
            ("watch", "/api/v1/workflow-events/{namespace}", self._watch),
            ("log", f"{one}/log", self._log),
        ]
        admin = fault_routes(self._faults, self._check_token) if self._faults is not None else []
        unary = [
            _route(method, path, self._unary(name, call)) for name, method, path, call in calls
        ]
        opened = [_route("GET", path, self._stream(name, open_)) for name, path, open_ in streams]
        return [*unary, *opened, *admin]

    def _unary(self, route: UnaryRoute, call: _Call) -> Callable[[Request], Awaitable[Any]]:
        faulty = self._faulty
        carried_out = call if faulty is None else faulty.recorded(route, call)

        async def truth(request: Request) -> Response:
            try:
                self._check_token(request)
                answer = await carried_out(request)
            except ArgoError as error:
                return refusal(self._window, error)
            return reply(self._window, encode(answer))

        async def endpoint(request: Request) -> ASGIApp:
            if faulty is None:
                return await truth(request)
            return await faulty.answer(route, request, truth)

        return endpoint

    def _stream(self, route: StreamRoute, open_: _Open) -> Callable[[Request], Awaitable[Any]]:
        async def endpoint(request: Request) -> ASGIApp:
            if self._faulty is None:
                return self._streaming(request, open_, None)
            return await self._faulty.stream(
                route, request, lambda under: self._streaming(request, open_, under)
            )

        return endpoint

    def _streaming(
        self, request: Request, open_: _Open, under: OpenStream | None
    ) -> StreamResponse:
        """A stream, as it is or under the faults of `under`."""

        async def frames() -> AsyncGenerator[list[bytes], None]:
            self._check_token(request)
            async with contextlib.aclosing(open_(request, under)) as opened:
                async for batch in opened:
                    yield batch

        return StreamResponse(
            request,
            frames if under is None else lambda: under.shaped(frames()),
            mask=FieldMask.parse(request.query_params.get("fields", "")),
            headers=self._window.stream_headers,
            keepalive_seconds=self._settings.keepalive_seconds,
        )

    async def _unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a path without a route: 501 in the API, else the page of the UI."""
        is_api = str(scope["path"]).startswith("/api/")
        response = not_implemented(self._window) if is_api else HTMLResponse(_PAGE)
        await response(scope, receive, send)

    async def _wrong_method(self, _request: Request, _error: Exception) -> Response:
        return not_implemented(self._window)

    def _check_token(self, request: Request) -> None:
        """Ask for the Bearer token as a server in client mode does.

        Raises:
            ArgoError: 401; without a token, or with a wrong one.
        """
        wanted = self._settings.token
        if wanted is None:
            return
        given = request.headers.get("authorization", "")
        if not given.startswith(("Bearer ", "Basic ")):
            raise ArgoError(Code.UNAUTHENTICATED, _NO_TOKEN)
        if not hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
            raise ArgoError(Code.UNAUTHENTICATED, "Unauthorized")

    def _name(self, request: Request) -> str:
        """The workflow of the path; other namespaces are empty."""
        name: str = request.path_params["name"]
        if request.path_params["namespace"] != self._settings.namespace:
            raise not_found("workflows", name)
        return name

    async def _create(self, request: Request) -> Mapping[str, Any]:
        body = await body_of(request)
        namespace = request.path_params["namespace"]
        if namespace != self._settings.namespace:
            raise ArgoError(Code.NOT_FOUND, f'namespaces "{namespace}" not found')
        return typed(submission.create(self._engine, body), _KEEP_ALL)

    async def _list(self, request: Request) -> Mapping[str, Any]:
        namespace = request.path_params["namespace"]
        behind = getattr(request.state, "behind", 0)
        version, found = self._engine.log.past(namespace, behind)
        if self._is_served(request):
            found = [*self._engine.archive.without(found), *found]
        return listing.list_workflows(found, version, request.query_params)

    async def _get(self, request: Request) -> Mapping[str, Any]:
        name = self._name(request)
        if name == "@latest":
            name = listing.newest(self._engine.log, self._settings.namespace)
        snapshot = self._live_or_archived(name, request.query_params.get("uid"))
        return typed(snapshot, FieldMask.parse(request.query_params.get("fields", "")))

    def _live_or_archived(self, name: str, uid: str | None) -> Mapping[str, Any]:
        live = self._engine.log.get(self._settings.namespace, name)
        if live is not None and uid in {None, "", live.snapshot["metadata"]["uid"]}:
            return live.snapshot
        archived = self._engine.archive.find(name, uid)
        if archived is not None:
            return archived
        if live is not None:
            raise internal(_NIL_POINTER)  # what Argo Server says when the archive has it not
        raise not_found("workflows", name)

    async def _delete(self, request: Request) -> Mapping[str, Any]:
        self._engine.delete(self._name(request))
        return {}

    async def _stop(self, request: Request) -> Mapping[str, Any]:
        return await self._shut_down(request, "Stop")

    async def _terminate(self, request: Request) -> Mapping[str, Any]:
        return await self._shut_down(request, "Terminate")

    async def _shut_down(self, request: Request, strategy: str) -> Mapping[str, Any]:
        body = await body_of(request)
        kind = f"Workflow{strategy}Request"
        is_stop = strategy == "Stop"
        answer = control.shut_down(
            self._engine,
            self._name(request),
            strategy=strategy,
            selector=text_field(body, "nodeFieldSelector", kind) if is_stop else "",
            message=text_field(body, "message", kind) if is_stop else "",
        )
        return typed(answer, _KEEP_ALL)

    async def _resume(self, request: Request) -> Mapping[str, Any]:
        body = await body_of(request)
        selector = text_field(body, "nodeFieldSelector", "WorkflowResumeRequest")
        answer = control.resume(self._engine, self._name(request), selector=selector)
        return typed(answer, _KEEP_ALL)

    async def _suspend(self, request: Request) -> Mapping[str, Any]:
        return typed(control.suspend(self._engine, self._name(request)), _KEEP_ALL)

    async def _set(self, request: Request) -> Mapping[str, Any]:
        body = await body_of(request)
        names = ("nodeFieldSelector", "outputParameters", "message", "phase")
        fields = {name: text_field(body, name, "WorkflowSetRequest") for name in names}
        return typed(control.set_outputs(self._engine, self._name(request), fields), _KEEP_ALL)

    async def _retry(self, request: Request) -> Mapping[str, Any]:
        body = await body_of(request)
        return typed(control.retry(self._engine, self._name(request), body), _KEEP_ALL)

    def _watch(self, request: Request, under: OpenStream | None) -> Chunks:
        mask = FieldMask.parse(request.query_params.get("fields", ""))
        namespace = request.path_params["namespace"]
        take = Watcher.take if under is None else under.take
        return watch(self._engine, namespace, request.query_params, mask, take=take)

    def _log(self, request: Request, _under: OpenStream | None) -> Chunks:
        mask = FieldMask.parse(request.query_params.get("fields", ""))
        return follow(self._engine, self._name(request), request.query_params, mask)

    async def _list_templates(self, request: Request) -> Mapping[str, Any]:
        templates = self._engine.templates if self._is_served(request) else None
        return listing.list_templates(templates, self._engine.log.version, request.query_params)

    async def _get_template(self, request: Request) -> Mapping[str, Any]:
        if not self._is_served(request):
            raise not_found("workflowtemplates", request.path_params["name"])
        return self._engine.templates.get(request.path_params["name"]).document

    async def _create_template(self, request: Request) -> Mapping[str, Any]:
        document = await self._template_of(request)
        version = self._engine.log.next_version()
        created = timestamp(self._engine.now()) or ""
        templates = self._engine.templates
        return templates.create(document, version=version, created=created).document

    async def _update_template(self, request: Request) -> Mapping[str, Any]:
        document = await self._template_of(request)
        version = self._engine.log.next_version()
        return self._engine.templates.update(document, version=version).document

    async def _template_of(self, request: Request) -> Mapping[str, Any]:
        document = (await body_of(request)).get("template")
        if not isinstance(document, dict) or not self._is_served(request):
            raise invalid("workflow template body not specified")
        return document

    def _is_served(self, request: Request) -> bool:
        namespace: str = request.path_params["namespace"]
        return namespace == self._settings.namespace

    async def _info(self, _request: Request) -> Mapping[str, Any]:
        return {"managedNamespace": self._settings.namespace}

    async def _version(self, _request: Request) -> Mapping[str, Any]:
        unknown = dict.fromkeys(
            ("gitCommit", "gitTag", "gitTreeState", "goVersion", "compiler"), ""
        )
        build = {"buildDate": "1970-01-01T00:00:00Z", **unknown, "platform": "embedded"}
        return {"version": VERSION, **build}

    async def _userinfo(self, _request: Request) -> Mapping[str, Any]:
        return {}

    async def _list_archive(self, _request: Request) -> Mapping[str, Any]:
        return {"metadata": {}, "items": self._engine.archive.listed() or None}

    async def _get_archived(self, request: Request) -> Mapping[str, Any]:
        uid = request.path_params["uid"]
        return typed(self._archived(uid), _KEEP_ALL)

    async def _delete_archived(self, request: Request) -> Mapping[str, Any]:
        uid = request.path_params["uid"]
        self._archived(uid)
        self._engine.archive.remove(uid)
        return {}

    def _archived(self, uid: str) -> Mapping[str, Any]:
        if not self._engine.archive.enabled:
            raise internal(_NO_ARCHIVE)
        found = self._engine.archive.find("", uid)
        if found is None:
            raise ArgoError(Code.NOT_FOUND, "not found")
        return found


def _route(method: str, path: str, endpoint: Callable[[Request], Awaitable[Any]]) -> Route:
    route = Route(path, endpoint, methods=[method])
    route.methods = {method}  # the gateway does not answer HEAD
    return route
