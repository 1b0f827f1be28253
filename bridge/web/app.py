"""The application: one table of routes, one middleware, one mapper of errors.

Knows which handler answers where. Must not build what the handlers need: bootstrap does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.domain.errors import BridgeError, Draining
from bridge.domain.json_text import BodyLimits
from bridge.domain.redaction import Redactor
from bridge.ports import Chance, Clock, RunStore, Tracer
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.control import Control
from bridge.services.namespaces import Namespaces
from bridge.services.rates import Rates
from bridge.services.runs import Runs
from bridge.services.streams import Streams
from bridge.web.answers import on_bridge_error, on_crash, on_http_exception
from bridge.web.api import ActionsApi, RunsApi, UrlOf
from bridge.web.audit import AuditApi
from bridge.web.auth import Authenticator, RequireCaller
from bridge.web.catalog import CatalogApi
from bridge.web.commands import CommandsApi
from bridge.web.events import EventsEndpoint
from bridge.web.health import HealthApi
from bridge.web.limits import BoundCallers, BoundUnverified
from bridge.web.metrics import MeasureRequests, Measuring, MetricsApi
from bridge.web.openapi import OpenApi
from bridge.web.platform import NamespaceRequestsApi, NamespacesApi
from bridge.web.readers import ReadersApi
from bridge.web.request_ids import RequestIds
from bridge.web.transport import OwnMachineOnly, SecureAnswers, cross_origin

Handler = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before the routes: see the settings of the same names.

    ``own_machine_only`` is for a bridge that asks for no token; ``hosts`` are names to which it
    answers besides those of loopback.
    """

    https: bool
    own_machine_only: bool
    hosts: frozenset[str]
    origins: tuple[str, ...]
    unverified: int
    requests_per_second: float
    posts_per_second: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes stand on."""

    store: RunStore
    clock: Clock
    chance: Chance
    actions: Actions
    access: Access
    runs: Runs
    control: Control
    streams: Streams
    authenticator: Authenticator
    url_of: UrlOf
    following: Callable[[], bool]
    draining: Callable[[], bool]
    server_url: str
    platform_action: str
    max_body: BodyLimits
    redactor: Callable[[], Redactor]
    guard: Guard
    tracer: Tracer
    measuring: Measuring


def routes(parts: Parts) -> list[Route]:
    """Every address of the bridge."""
    actions = ActionsApi(actions=parts.actions)
    runs = RunsApi(
        runs=parts.runs,
        commands_of=parts.store.commands,
        url_of=parts.url_of,
        max_body=parts.max_body,
        tracer=parts.tracer,
    )
    commands = CommandsApi(
        control=parts.control,
        commands_of=parts.store.commands,
        url_of=parts.url_of,
        max_body=parts.max_body,
    )
    readers = ReadersApi(runs=parts.runs, max_body=parts.max_body)
    audit = AuditApi(store=parts.store, access=parts.access)
    events = EventsEndpoint(runs=parts.runs, streams=parts.streams)
    catalog = CatalogApi(store=parts.store)
    requests = NamespaceRequestsApi(
        runs=parts.runs,
        action=parts.platform_action,
        url_of=parts.url_of,
        max_body=parts.max_body,
    )
    namespaces = NamespacesApi(
        namespaces=Namespaces(store=parts.store, clock=parts.clock),
        access=parts.access,
        max_body=parts.max_body,
    )
    health = HealthApi(
        store=parts.store,
        actions=parts.actions,
        following=parts.following,
        draining=parts.draining,
    )
    begins = partial(_unless_draining, parts.draining)
    return [
        Route("/v1/actions", actions.every),
        Route("/v1/actions/{action_id}", actions.one),
        Route("/v1/runs", begins(runs.create), methods=["POST"]),
        Route("/v1/runs", runs.page),
        Route("/v1/runs/{run_id}", runs.one),
        Route("/v1/runs/{run_id}/events", events, methods=["GET"]),
        Route("/v1/runs/{run_id}/cancel", commands.cancel, methods=["POST"]),
        Route("/v1/runs/{run_id}/terminate", commands.terminate, methods=["POST"]),
        Route("/v1/runs/{run_id}/approve", commands.approve, methods=["POST"]),
        Route("/v1/runs/{run_id}/reject", commands.reject, methods=["POST"]),
        Route("/v1/runs/{run_id}/retry", begins(commands.retry), methods=["POST"]),
        Route("/v1/runs/{run_id}/readers/{reader:path}", readers.get),
        Route("/v1/runs/{run_id}/readers/{reader:path}", readers.put, methods=["PUT"]),
        Route("/v1/audit", audit.show),
        Route("/api/platform/namespaces/request", begins(requests.create), methods=["POST"]),
        Route("/api/platform/namespaces/request/{request_id}/status", requests.status),
        Route("/api/v1/namespaces", namespaces.report, methods=["POST"]),
        Route("/api/v1/namespaces", namespaces.every),
        Route("/api/v1/workflows", requests.workflows),
        Route("/catalog/all.yaml", catalog.every),
        Route("/catalog/{kind}/{file}", catalog.one),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", MetricsApi(parts.measuring).show),
        Route("/openapi.json", OpenApi(server=parts.server_url).show),
    ]


def _unless_draining(draining: Callable[[], bool], handler: Handler) -> Handler:
    """*handler*, for what a process that is about to end should not begin."""

    async def answer(request: Request) -> Response:
        if draining():
            raise Draining(retry_after=2)
        return await handler(request)

    return answer


def _middleware(parts: Parts, table: list[Route]) -> Iterator[Middleware]:
    """What every request passes, the outermost first; none may hold back a stream."""
    guard = parts.guard
    yield Middleware(
        MeasureRequests, routes=table, clock=parts.clock, on_answer=parts.measuring.on_answer
    )
    yield Middleware(RequestIds, chance=parts.chance)
    yield Middleware(SecureAnswers, https=guard.https)
    if guard.own_machine_only:
        origins = frozenset(guard.origins)
        yield Middleware(OwnMachineOnly, hosts=guard.hosts, origins=origins)
    if guard.origins:
        yield cross_origin(guard.origins)
    yield Middleware(BoundUnverified, at_most=guard.unverified)
    yield Middleware(RequireCaller, authenticator=parts.authenticator, max_body=parts.max_body.size)
    yield Middleware(
        BoundCallers,
        requests=Rates(clock=parts.clock, per_second=guard.requests_per_second),
        posts=Rates(clock=parts.clock, per_second=guard.posts_per_second),
    )


def create_app(parts: Parts, *, lifespan: Lifespan) -> Starlette:
    """The ASGI application."""
    table = routes(parts)
    app = Starlette(
        routes=table,
        middleware=list(_middleware(parts, table)),
        exception_handlers={
            BridgeError: on_bridge_error,
            HTTPException: on_http_exception,
            Exception: on_crash,
        },
        lifespan=lifespan,
    )
    # Another spelling of an address is unknown, not a redirect to what the Host header says.
    app.router.redirect_slashes = False
    app.state.redactor = parts.redactor
    return app
