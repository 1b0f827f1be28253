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
from starlette.types import Receive, Scope, Send

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


class ArgoServer:
    """The routes, and what they share. `app` is the ASGI application."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings: LocalArgoSettings = engine.settings
        self._window = RateWindow()
        self.app = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers={HTTPStatus.METHOD_NOT_ALLOWED: self._wrong_method},
        )
        self.app.router.default = self._unknown
        self.app.router.redirect_slashes = False
        self.app.state.engine = engine

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self._engine:
            yield

    def _routes(self) -> list[Route]:
        workflows, one = "/api/v1/workflows/{namespace}", "/api/v1/workflows/{namespace}/{name}"
        templates = "/api/v1/workflow-templates/{namespace}"
        archive = "/api/v1/archived-workflows"
        calls: list[tuple[str, str, _Call]] = [
            ("POST", workflows, self._create),
            ("GET", workflows, self._list),
            ("GET", one, self._get),
            ("DELETE", one, self._delete),
            ("PUT", f"{one}/stop", self._stop),
            ("PUT", f"{one}/terminate", self._terminate),
            ("PUT", f"{one}/resume", self._resume),
            ("PUT", f"{one}/suspend", self._suspend),
            ("PUT", f"{one}/set", self._set),
            ("PUT", f"{one}/retry", self._retry),
            ("GET", templates, self._list_templates),
            ("POST", templates, self._create_template),
            ("GET", templates + "/{name}", self._get_template),
            ("PUT", templates + "/{name}", self._update_template),
            ("GET", "/api/v1/info", self._info),
            ("GET", "/api/v1/version", self._version),
            ("GET", "/api/v1/userinfo", self._userinfo),
            ("GET", archive, self._archive),
            *((method, archive + "/{uid}", self._no_archive) for method in ("GET", "DELETE")),
        ]
        streams: list[tuple[str, Callable[[Request], Chunks]]] = [
            ("/api/v1/workflow-events/{namespace}", self._watch),
            (f"{one}/log", self._log),
        ]
        unary = [_route(method, path, self._unary(call)) for method, path, call in calls]
        return [*unary, *(_route("GET", path, self._stream(open_)) for path, open_ in streams)]

    def _unary(self, call: _Call) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                self._check_token(request)
                answer = await call(request)
            except ArgoError as error:
                return refusal(self._window, error)
            return reply(self._window, encode(answer))

        return endpoint

    def _stream(self, open_: Callable[[Request], Chunks]) -> Callable[[Request], Awaitable[Any]]:
        async def endpoint(request: Request) -> StreamResponse:
            mask = FieldMask.parse(request.query_params.get("fields", ""))

            async def frames() -> AsyncGenerator[list[bytes], None]:
                self._check_token(request)
                async with contextlib.aclosing(open_(request)) as opened:
                    async for batch in opened:
                        yield batch

            return StreamResponse(
                request,
                frames,
                mask=mask,
                headers=self._window.stream_headers,
                keepalive_seconds=self._settings.keepalive_seconds,
            )

        return endpoint

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
        query = request.query_params
        namespace = request.path_params["namespace"]
        return listing.list_workflows(self._engine.log, namespace, query)

    async def _get(self, request: Request) -> Mapping[str, Any]:
        name = self._name(request)
        if name == "@latest":
            name = listing.newest(self._engine.log, self._settings.namespace)
        snapshot = self._engine.latest(name).snapshot
        uid = request.query_params.get("uid")
        if uid and uid != snapshot["metadata"]["uid"]:
            raise internal(_NIL_POINTER)  # it looks into the archive, which is off
        return typed(snapshot, FieldMask.parse(request.query_params.get("fields", "")))

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

    def _watch(self, request: Request) -> Chunks:
        mask = FieldMask.parse(request.query_params.get("fields", ""))
        namespace = request.path_params["namespace"]
        return watch(self._engine, namespace, request.query_params, mask)

    def _log(self, request: Request) -> Chunks:
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

    async def _archive(self, _request: Request) -> Mapping[str, Any]:
        return {"metadata": {}, "items": None}

    async def _no_archive(self, _request: Request) -> Mapping[str, Any]:
        raise internal(_NO_ARCHIVE)


def _route(method: str, path: str, endpoint: Callable[[Request], Awaitable[Any]]) -> Route:
    route = Route(path, endpoint, methods=[method])
    route.methods = {method}  # the gateway does not answer HEAD
    return route
