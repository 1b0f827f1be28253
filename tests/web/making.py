"""A bridge for tests of its HTTP face: real application, store in memory, an Argo that waits.

Runs stay where a test puts them: what Argo would tell is written by the test itself.
"""

# ruff: noqa: ARG002 - a protocol names arguments that an engine which never answers ignores

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never

import httpx
from starlette.applications import Starlette

from bridge.adapters.http import client
from bridge.adapters.memory import MemoryStore
from bridge.bootstrap import Bridge, open_bridge
from bridge.domain.events import log
from bridge.domain.runs import Run, RunChanges, RunStatus
from bridge.domain.workflows import Snapshot
from bridge.exposure import server_of
from bridge.ports import Listing, RunStore
from bridge.settings import Settings
from bridge.web.server import DrainingServer

ACTIONS = Path(__file__).parent / "actions"
GUARDED = Path(__file__).parent / "guarded"
SERVICE_TOKEN = "service-token-of-24-characters"
APPROVER_TOKEN = "approver-token-of-24-characters"
STRANGER_TOKEN = "stranger-token-of-24-characters"
ADMIN_TOKEN = "admin-token-of-24-characters"
PLATFORM_TOKEN = "platform-token-of-24-characters"
AUTHORIZED = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
APPROVER = {"Authorization": f"Bearer {APPROVER_TOKEN}"}
STRANGER = {"Authorization": f"Bearer {STRANGER_TOKEN}"}
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
JSON = {"Content-Type": "application/json"}
THING = {"action": "thing:make", "input": {"name": "one"}}


async def _never() -> Never:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


@dataclass
class WaitingEngine:
    """A WorkflowEngine that never answers, but for workflows that a test shows."""

    namespace: str = "argo-workflows"
    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by a test: decisions are carried out from then on."""
    supplied: dict[str, str] = field(default_factory=dict)

    async def create(self, workflow: Mapping[str, Any]) -> Snapshot:
        """See WorkflowEngine."""
        return await _never()

    async def get(self, name: str, *, uid: str | None = None) -> Snapshot:
        """See WorkflowEngine."""
        raw = self.workflows.get(name)
        return Snapshot(raw) if raw is not None else await _never()

    async def decide(
        self, name: str, *, node_id: str, approved: bool, message: str, outputs: Mapping[str, str]
    ) -> None:
        """See WorkflowEngine."""
        await self.decided.wait()
        node = self.workflows[name]["status"]["nodes"][node_id]
        node |= {"phase": "Succeeded" if approved else "Failed", "message": message}
        self.supplied |= outputs

    async def retry(self, name: str) -> Snapshot:
        """See WorkflowEngine."""
        return await _never()

    async def listing(self) -> Listing:
        """See WorkflowEngine."""
        return await _never()

    def watch(self, *, resource_version: str) -> AbstractAsyncContextManager[Any]:
        """See WorkflowEngine."""
        raise AssertionError(resource_version)

    def logs(self, workflow: str, **_: Any) -> AbstractAsyncContextManager[Any]:
        """See WorkflowEngine."""
        raise AssertionError(workflow)

    async def stop(self, name: str, *, terminate: bool = False) -> None:
        """See WorkflowEngine."""
        await _never()

    async def delete(self, name: str) -> None:
        """See WorkflowEngine."""
        await _never()

    async def silent_templates(self, template: str) -> frozenset[str]:
        """See WorkflowEngine."""
        return await _never()

    async def ping(self) -> None:
        """See WorkflowEngine."""
        await _never()

    def url(self, name: str, *, uid: str | None) -> str | None:
        """See WorkflowEngine."""
        return f"https://argo.example/workflows/argo-workflows/{name}"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that happens on its own, at most ten seconds."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def settings_for(**changed: Any) -> Settings:
    """Settings of a bridge with tokens of four services, one of them an admin's."""
    plain = {
        "actions": ACTIONS,
        "tokens": f"tester={SERVICE_TOKEN},approver={APPROVER_TOKEN},other={STRANGER_TOKEN},"
        f"admin={ADMIN_TOKEN}",
        "admins": "service:admin",
        "platform_api_token": PLATFORM_TOKEN,
    }
    if changed.get("demo"):
        plain["public_url"] = "http://bridge"  # a demo answers to no other name
    return Settings(**{**plain, **changed})


@dataclass(frozen=True, slots=True)
class Rig:
    """A started bridge, its application and an authorized client of it."""

    bridge: Bridge
    app: Starlette
    http: httpx.AsyncClient
    store: RunStore
    engine: WaitingEngine
    server: DrainingServer | None = None

    async def accepted(self, **body: Any) -> str:
        """The id of a new run that waits for Argo: two events, and no more by itself."""
        answer = await self.http.post("/v1/runs", json={**THING, **body})
        assert answer.status_code == 202, answer.text
        run_id = str(answer.json()["id"])
        await until(lambda: self._waits(run_id))
        return run_id

    async def _waits(self, run_id: str) -> bool:
        return (await self.store.run(run_id)).status is RunStatus.SUBMITTING

    async def say(self, run_id: str, *messages: str) -> None:
        """Write log events as if Argo had told something."""
        await self.bridge.journal.write(run_id, *(log(message) for message in messages))

    async def waiting(self, **body: Any) -> Run:
        """A new run whose workflow waits for an approval that may fill in a size."""
        run = await self.store.run(await self.accepted(**body))
        size = {"name": "size", "valueFrom": {"supplied": {}, "default": "small"}}
        gate = {"id": "gate", "name": "wf.approve", "displayName": "approve", "type": "Suspend"}
        gate |= {"phase": "Running", "outputs": {"parameters": [size]}}
        self.engine.workflows[run.workflow_name] = {
            "metadata": {"name": run.workflow_name, "uid": "uid-1"},
            "status": {"phase": "Running", "nodes": {"gate": gate}},
        }
        changes = RunChanges(status=RunStatus.WAITING, workflow_uid="uid-1")
        changed = await self.bridge.journal.write(run.id, changes=changes)
        assert changed is not None
        return changed

    async def end(self, run_id: str, *, status: RunStatus = RunStatus.FAILED) -> None:
        """End a run."""
        await self.bridge.journal.end(await self.store.run(run_id), status=status)


@asynccontextmanager
async def bridge_for(
    settings: Settings | None = None, *, store: RunStore | None = None
) -> AsyncIterator[Rig]:
    """A bridge behind an in-process client: for answers that end."""
    store, engine = store or MemoryStore(), WaitingEngine()
    async with open_bridge(settings or settings_for(), store=store, engine=engine) as bridge:
        app = bridge.app()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport, base_url="http://bridge", headers=AUTHORIZED
            ) as http,
        ):
            yield Rig(bridge, app, http, store, engine)


@asynccontextmanager
async def served(settings: Settings | None = None) -> AsyncIterator[Rig]:
    """A bridge behind a real server on loopback: for streams."""
    store, engine = MemoryStore(), WaitingEngine()
    async with open_bridge(settings or settings_for(), store=store, engine=engine) as bridge:
        app = bridge.app()
        used = (settings or settings_for()).model_copy(update={"port": 0})
        server = server_of(used, app, drain=bridge.drain)
        serving = asyncio.ensure_future(server.serve())
        try:
            async with asyncio.timeout(10):
                await server.ready.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            async with client(f"http://127.0.0.1:{port}", timeout=10, connections=50) as http:
                http.headers.update(AUTHORIZED)
                yield Rig(bridge, app, http, store, engine, server)
        finally:
            server.should_exit = True
            await serving
