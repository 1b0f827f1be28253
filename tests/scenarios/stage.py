"""A bridge, an Argo that can misbehave and a Backstage catalog: real servers, short times.

Knows how the product is composed: it is ``open_bridge`` with the real adapters and the store that
a test asks for, only its waits are shorter and its watchdog is more impatient.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.http import client
from bridge.bootstrap import Bridge, open_bridge
from bridge.domain.runs import INSTANCE_LABEL
from bridge.localargo import serve_app
from bridge.settings import Settings
from bridge.web.server import server_for
from tests.crash.catalog import FakeCatalog
from tests.crash.points import drawing
from tests.scenarios.argo import ACTIONS, PATIENCE_SECONDS, Argo, embedded_argo
from tests.scenarios.reading import Reader

FAST = 20.0
"""How many seconds of the bridge's waits go into one of the test's."""
SILENCE_SECONDS = 1.0
"""How long a watch may say nothing before the bridge opens another one."""
PUBLIC_URL = "http://bridge.example"
TOKENS = {
    name: f"token-of-{name}-for-scenarios" for name in ("tester", "approver", "other", "auditor")
}
AUDITOR = {"Authorization": f"Bearer {TOKENS['auditor']}"}

Answer = tuple[int, dict[str, Any]]


class FastClock:
    """Real time for what is written down, shorter waits."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic() * FAST

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(seconds / FAST)


@dataclass(slots=True)
class Asked:
    """A run that somebody asked for, and the reader of its stream."""

    id: str
    path: str
    workflow: str
    reader: Reader


@dataclass
class Stage:
    """What a scenario plays on."""

    bridge: Bridge
    url: str
    argo: Argo
    catalog: FakeCatalog | None
    http: httpx.AsyncClient
    _readers: list[Reader] = field(default_factory=list)

    # --- asking ------------------------------------------------------------------------------

    async def ask(
        self, action: str = "work:steps", *, name: str = "thing", key: str | None = None
    ) -> Asked:
        """Ask for a run and read its stream from the start."""
        headers = {"Idempotency-Key": key} if key is not None else {}
        body = {"action": action, "input": {"name": name}}
        answer = await self.http.post("/v1/runs", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return self.asked(answer.json())

    def asked(self, run: Mapping[str, Any]) -> Asked:
        """Read the stream of a run."""
        path = str(run["links"]["self"])
        reader = Reader(self.http, path).start()
        self._readers.append(reader)
        return Asked(str(run["id"]), path, str(run["workflow"]["name"]), reader)

    async def aclose(self) -> None:
        """Read no more."""
        for reader in self._readers:
            await reader.aclose()

    async def held(self, **asked: Any) -> Asked:
        """A run whose workflow has come to its gate ``hold``, with all lines so far told."""
        run = await self.ask(**asked)
        await run.reader.told("⏸ waiting for hold")
        await run.reader.told("first | made ")
        return run

    async def run(self, run: Asked) -> dict[str, Any]:
        """The run as the API shows it."""
        shown: dict[str, Any] = (await self.http.get(run.path)).json()
        return shown

    async def until(self, run: Asked, *statuses: str) -> dict[str, Any]:
        """Wait until the run has one of these statuses."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (shown := await self.run(run))["status"] not in statuses:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.005)
        return shown

    async def successor(self, run: Asked) -> Asked:
        """Wait for the next attempt of a run, and read its stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := (await self.run(run))["supersededBy"]) is None:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.005)
        return self.asked((await self.http.get(f"/v1/runs/{found}")).json())

    # --- acting ------------------------------------------------------------------------------

    async def act(self, run: Asked, verb: str, *, by: str = "tester", **body: Any) -> Answer:
        """``POST /v1/runs/{id}/{verb}`` by the holder of a token; status and body."""
        headers = {"Authorization": f"Bearer {TOKENS[by]}"}
        answer = await self.http.post(f"{run.path}/{verb}", json=body, headers=headers)
        return answer.status_code, answer.json()

    async def trail(self, run: Asked) -> list[tuple[str, str, str, str]]:
        """Action, caller, reason and outcome of each audit record of a run, oldest first."""
        query = {"run": run.id}
        answer = await self.http.get("/v1/audit", params=query, headers=AUDITOR)
        records = answer.json()["records"]
        assert all(datetime.fromisoformat(record["time"]).tzinfo for record in records)
        return [(r["action"], r["caller"], r["reason"], r["outcome"]) for r in reversed(records)]

    async def settled(self, run: Asked, verb: str, *, times: int = 1) -> list[tuple[str, ...]]:
        """Wait until so many commands of a verb have been carried out; the whole trail."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                trail = await self.trail(run)
                if [record[0] for record in trail].count(f"run.{verb}.settled") >= times:
                    return list(trail)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def open_stage(
    kept: Mapping[str, Any], *, argo: Argo | None = None, catalog: bool = False, **changed: Any
) -> AsyncIterator[Stage]:
    """A bridge on the store that the settings *kept* name; other settings may be changed."""
    async with AsyncExitStack() as stack:
        if argo is None:
            argo = await stack.enter_async_context(embedded_argo())
        reach: list[str] = []
        backstage = await stack.enter_async_context(_catalog(reach)) if catalog else None
        settings = Settings(
            actions=ACTIONS,
            actions_reload_seconds=3_600,
            tokens=SecretStr(",".join(f"{name}={token}" for name, token in TOKENS.items())),
            admins=("service:auditor",),
            secret_key=SecretStr("key-of-the-scenarios-of-32-bytes"),
            public_url=PUBLIC_URL,
            backstage_url=backstage[0] if backstage else None,
            **{**kept, **changed},
        )
        engine = await stack.enter_async_context(_engine(argo, settings))
        bridge = await stack.enter_async_context(
            open_bridge(settings, engine=engine, clock=FastClock())
        )
        url = await stack.enter_async_context(_serving(bridge))
        reach.append(url)
        http = await stack.enter_async_context(
            client(url, timeout=PATIENCE_SECONDS, connections=100, verify=False)
        )
        http.headers["Authorization"] = f"Bearer {TOKENS['tester']}"
        stage = Stage(bridge, url, argo, backstage[1] if backstage else None, http)
        stack.push_async_callback(stage.aclose)
        await argo.watching()
        yield stage


@asynccontextmanager
async def _engine(argo: Argo, settings: Settings) -> AsyncIterator[ArgoEngine]:
    """The real adapter, as the composition root makes it, with a shorter silence."""
    target = ArgoTarget(
        namespace=settings.argo_namespace,
        label_selector=f"{INSTANCE_LABEL}={settings.instance}",
        silence=SILENCE_SECONDS,
    )
    streams = partial(client, argo.url, timeout=5, connections=1, verify=False)
    async with client(argo.url, timeout=5, connections=12, verify=False) as unary:
        yield ArgoEngine(target, control=unary, streams=streams, token=lambda: None)


@asynccontextmanager
async def _serving(bridge: Bridge) -> AsyncIterator[str]:
    server = server_for(bridge.app(), host="127.0.0.1", port=0, drain=bridge.drain)
    serving = asyncio.ensure_future(server.serve())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await server.ready.wait()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def _catalog(reach: list[str]) -> AsyncIterator[tuple[str, FakeCatalog]]:
    """A catalog that reads documents from the bridge, and its address."""
    catalog = FakeCatalog(PUBLIC_URL, lambda: reach, drawing("stage"))
    async with serve_app(catalog.app()) as url:
        try:
            yield url, catalog
        finally:
            await catalog.aclose()
