"""One run, many readers: the bridge's stream route, or a bare ASGI ``send`` loop.

Arguments: port, ``bridge`` or ``bare``, folder. ``POST /go?events=N`` publishes N events;
``GET /cpu`` tells the CPU seconds of this process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.adapters.definitions import DefinitionFolders
from bridge.adapters.sqlite import SqliteStore
from bridge.adapters.system import SystemChance, SystemClock
from bridge.domain.callers import Caller
from bridge.domain.events import Event, EventDraft, log
from bridge.domain.frames import encode_event
from bridge.domain.mapping import Site
from bridge.domain.runs import NewRun, RunContext
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.journal import Journal
from bridge.services.refusals import Refusals
from bridge.services.runs import Runs
from bridge.services.streams import Streams
from bridge.services.tasks import Tasks
from bridge.web.events import EventsEndpoint
from bridge.web.server import run, server_for
from tests.bench.processes import ACTIONS

READER = Caller("service:bench")
RUN_ID = "01kagw9zq6x3v5t7y8r2m4n6p8"
PAUSE_SECONDS = 0.02
Publish = Callable[[int], Awaitable[None]]
_HEADERS = [(b"content-type", b"text/event-stream")]


def draft(number: int) -> EventDraft:
    """A line as a run has many."""
    return log(f"apply-quota | line {number} of a pod that talks about its work", source="pod")


class Bare:
    """The least that can be done: every reader has a future, every event is one send."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send whatever comes, for ever."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b"event: log\n\n", "more_body": True})
        while True:
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            chunk = await future
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def publish(self, number: int) -> None:
        """Wake every reader."""
        chunk = encode_event(Event(RUN_ID, number, datetime.now(UTC), draft(number)))
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(chunk)


@asynccontextmanager
async def bridge_parts(folder: Path) -> AsyncIterator[tuple[ASGIApp, Publish]]:
    """The real stream route over the real store, with one run in it."""
    clock = SystemClock()
    async with SqliteStore(folder / "fanout.db") as store:
        streams, journal = Streams(store=store, clock=clock), Journal(store=store, clock=clock)
        journal.subscribe(streams)
        actions = Actions(source=DefinitionFolders((ACTIONS,)), store=store, clock=clock)
        actions.reload()
        idle = actions.catalogue.get("bench:idle")
        refusals = Refusals(store=store, clock=clock, tasks=Tasks())
        runs = Runs(
            store=store,
            actions=actions,
            access=Access(actions=actions, refusals=refusals, memberships=None),
            journal=journal,
            clock=clock,
            chance=SystemChance(),
            site=Site(),
            namespaces={},
            on_accepted=lambda _run: None,
        )
        new = NewRun(
            id=RUN_ID,
            action=idle.id,
            definition=idle.document,
            definition_digest=idle.digest,
            caller=READER.subject,
            user=READER.user,
            key=RUN_ID,
            input={},
            context=RunContext(),
            target="default",
            namespace="argo-workflows",
            created_at=clock.now(),
        )
        journal.own((await store.accept(new, first=log("accepted"))).run)

        async def publish(number: int) -> None:
            await journal.write(RUN_ID, draft(number))

        yield AsReader(EventsEndpoint(runs=runs, streams=streams)), publish


class AsReader:
    """An endpoint for somebody who has been let in already: only the stream is measured."""

    def __init__(self, endpoint: ASGIApp) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the reader."""
        scope.setdefault("state", {})["caller"] = READER
        await self._endpoint(scope, receive, send)


def app_for(endpoint: ASGIApp, publish: Publish) -> Starlette:
    """The stream route and the two controls."""

    async def go(request: Request) -> Response:
        for number in range(int(request.query_params["events"])):
            await publish(number)
            await asyncio.sleep(PAUSE_SECONDS)
        return JSONResponse({})

    async def cpu(_request: Request) -> Response:
        return JSONResponse({"seconds": time.process_time()})

    routes = [
        Route("/v1/runs/{run_id}/events", endpoint),
        Route("/go", go, methods=["POST"]),
        Route("/cpu", cpu),
    ]
    return Starlette(routes=routes)


async def serve(port: int, kind: str, folder: Path) -> None:
    """Serve until SIGTERM."""
    if kind == "bare":
        bare = Bare()
        app = app_for(bare, bare.publish)
        await server_for(app, host="127.0.0.1", port=port, drain=lambda: None).serve()
        return
    async with bridge_parts(folder) as (endpoint, publish):
        app = app_for(endpoint, publish)
        await server_for(app, host="127.0.0.1", port=port, drain=lambda: None).serve()


if __name__ == "__main__":
    run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
