"""An Argo whose server can be away while its controller goes on, as in a cluster.

Knows the embedded Argo: its engine lives as long as the block, its HTTP server may be stopped and
started again on the same port. Knows nothing of the bridge but the label with the run's id.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.localargo import Engine, LocalArgoSettings, control, create_app, lifecycle, serve_app
from bridge.localargo.faults import Faults

ACTIONS = Path(__file__).parent / "actions"
PATIENCE_SECONDS = 20.0
_ERROR_FIELD = re.compile(rb"(fields=)error(%2C|,)")


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens on its own."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it reached the server."""

    at: float
    method: str
    path: str


@dataclass
class Front:
    """What stands before the server: notes requests, and may hide errors from a watch."""

    app: ASGIApp
    arrivals: list[Arrival] = field(default_factory=list)
    blanks_errors: bool = False
    """Asks for watches without ``error`` in ``fields``, so that error frames come empty."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; starting and ending a server leaves the engine alone."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.arrivals.append(Arrival(time.monotonic(), scope["method"], scope["path"]))
        if self.blanks_errors:
            scope["query_string"] = _ERROR_FIELD.sub(rb"\1", scope["query_string"])
        await self.app(scope, receive, send)


class Argo:
    """The embedded Argo of a test."""

    def __init__(self, app: Starlette, engine: Engine, faults: Faults) -> None:
        self.front = Front(app)
        self.engine = engine
        self.faults = faults
        self._server = AsyncExitStack()
        self.url = ""

    # --- the server ------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve, on the same port as before."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        serving = serve_app(cast("Starlette", self.front), port=port)
        self.url = await self._server.enter_async_context(serving)

    async def stop(self) -> None:
        """Cut all connections and refuse new ones; workflows go on."""
        await self._server.aclose()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """No server for the length of the block."""
        await self.stop()
        yield
        await self.start()

    @property
    def watches(self) -> int:
        """How many watches have been opened so far."""
        return sum("/workflow-events/" in arrival.path for arrival in self.front.arrivals)

    async def watching(self) -> None:
        """Wait until a watch is open."""
        await until(lambda: self.faults.state()["open"]["watch"])

    async def watched_again(self, before: int) -> None:
        """Wait until another watch than those *before* is open and sees what happens."""
        await until(lambda: self.watches > before and self.faults.state()["open"]["watch"])

    async def end_watch(self, do: str, *, times: int = 1) -> None:
        """End the watch that is open, and wait for the one that follows after so many ends."""
        await self.watching()
        before = self.watches
        assert self.faults.now({"do": do})
        await self.watched_again(before + times - 1)

    def arrived(self, method: str, ending: str = "") -> list[float]:
        """When such requests arrived."""
        return [
            arrival.at
            for arrival in self.front.arrivals
            if arrival.method == method and arrival.path.endswith(ending)
        ]

    # --- what others do in Argo ---------------------------------------------------------------

    def workflow(self, name: str) -> Mapping[str, Any]:
        """The state of a workflow."""
        return self.engine.latest(name).snapshot

    def phase(self, name: str) -> str:
        """Its phase."""
        return str(self.workflow(name)["status"].get("phase") or "")

    async def ended(self, name: str) -> None:
        """Wait for its end."""
        await until(lambda: self.phase(name) in {"Succeeded", "Failed", "Error"})

    async def at_gate(self, name: str) -> None:
        """Wait until the gate is open."""
        workflow = self.engine.get(name)
        await until(lambda: any(n.waits and n.display_name == "hold" for n in workflow.nodes))

    def open(self, name: str) -> None:
        """Somebody resumes the gate in Argo."""
        control.resume(self.engine, name, selector="displayName=hold")

    def close(self, name: str, message: str, gate: str = "hold") -> None:
        """Somebody fails a gate in Argo."""
        request = {"nodeFieldSelector": f"displayName={gate}", "phase": "Failed"}
        control.set_outputs(self.engine, name, {**request, "message": message})

    async def a_second_later(self, name: str) -> None:
        """Wait until what begins now begins in a later second than all there is of a workflow.

        Argo tells whole seconds: a retry within one looks like an old state.
        """
        nodes = self.workflow(name)["status"]["nodes"].values()
        latest = max(node["startedAt"] for node in nodes if node.get("startedAt"))
        await until(lambda: time.time() > datetime.fromisoformat(latest).timestamp() + 1)

    async def retry(self, name: str) -> None:
        """Somebody presses retry in Argo."""
        await self.a_second_later(name)
        control.retry(self.engine, name, {})

    def abandon(self, name: str) -> None:
        """The controller gives a workflow up with its nodes as they are (research/argo, 2)."""
        workflow = self.engine.get(name)
        lifecycle.finish(self.engine, workflow, "Error", "the controller gave up")
        self.engine.save(workflow)

    def replace(self, name: str) -> str:
        """Somebody deletes a workflow and makes one like it under its name; the new uid."""
        old = self.engine.get(name)
        metadata = {"name": name, "labels": dict(old.labels)}
        spec = dict(old.spec)
        self.engine.delete(name)
        made = self.engine.create(metadata, spec)
        return str(made["metadata"]["uid"])

    # --- what happened --------------------------------------------------------------------------

    def calls(self, name: str) -> list[str]:
        """What was carried out with effect on a workflow by way of the server, in order."""
        record = self.faults.record.calls()
        return [call.call for call in record if call.name == name and call.changed]

    def created(self) -> int:
        """How many workflows were ever created by way of the server."""
        return sum(call.call == "create" for call in self.faults.record.calls())


@asynccontextmanager
async def embedded_argo(**changed: Any) -> AsyncIterator[Argo]:
    """A served Argo with the workflows of the scenarios, whose pods are seen to run."""
    settings = LocalArgoSettings(
        templates=(ACTIONS,),
        faults=True,
        keepalive_seconds=0.1,
        log_seconds=0.01,
        node_seconds=0.08,
        **changed,
    )
    app = create_app(settings)
    engine: Engine = app.state.engine
    async with engine:
        argo = Argo(app, engine, app.state.faults)
        await argo.start()
        try:
            yield argo
        finally:
            await argo.stop()
