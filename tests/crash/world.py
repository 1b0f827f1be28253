"""One world: a store, an Argo, a catalog, replicas that die, people who go on.

Knows how the parts are joined, when chaos ends and when all is quiet. The checker judges what is
left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import httpx

from bridge.localargo import serve_app
from tests.crash.argo import LIVES
from tests.crash.catalog import FakeCatalog
from tests.crash.checker import violations
from tests.crash.checks_run import Violation
from tests.crash.clients import TOKENS, Client
from tests.crash.evidence import (
    ENDS,
    Evidence,
    History,
    read_calls,
    read_kills,
    read_lives,
    read_store,
    read_writes,
)
from tests.crash.mischief import TTL_SECONDS, Mischief
from tests.crash.points import drawing
from tests.crash.processes import Child, Lifetimes, Replica, Tally, Zygote, free_port
from tests.crash.replica import KILLS, PUBLIC_URL, WRITES
from tests.crash.scenarios import People

Store = Literal["sqlite", "postgres"]
_ACTIONS = Path(__file__).parent / "actions"
_LEASE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What one world is to be: everything random in it comes from ``seed``."""

    seed: str
    store: Store
    kills: int
    longest: float
    quiet: float = 45.0
    mutation: str = ""
    at_once: int = 8

    @property
    def replicas(self) -> int:
        """How many replicas there are: SQLite takes one only."""
        return 2 if self.store == "postgres" else 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a world."""

    plan: Plan
    tally: Tally
    points: Counter[str]
    evidence: Evidence
    violations: list[Violation]
    seconds: float
    quiet_after: float


@dataclass(slots=True)
class World:
    """The parts of one world while it goes round."""

    plan: Plan
    folder: Path
    replicas: list[Replica]
    lifetimes: Lifetimes
    client: Client
    people: People
    mischief: Mischief
    catalog: FakeCatalog
    database: Path | str
    http: httpx.AsyncClient
    tally: Tally = field(default_factory=Tally)

    async def go_round(self) -> Outcome:
        """Chaos, then quiet, then the verdict."""
        began = time.monotonic()
        async with _running(*(replica.live() for replica in self.replicas)) as living:
            async with _running(self.people.keep_busy(), self.mischief.go_on()) as others:
                await self._chaos([*living, *others])
            self.lifetimes.calm = True
            await self.mischief.calm()
            calm = time.monotonic()
            await self._quiet()
        for replica in self.replicas:
            await replica.stop()
        quiet_after = time.monotonic() - calm
        evidence = await self._evidence()
        return Outcome(
            plan=self.plan,
            tally=self.tally,
            points=read_kills(self.folder / KILLS),
            evidence=evidence,
            violations=violations(evidence),
            seconds=time.monotonic() - began,
            quiet_after=quiet_after,
        )

    async def _chaos(self, parts: list[asyncio.Task[None]]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.plan.longest):
                while self.tally.kills < self.plan.kills:
                    for part in parts:
                        if part.done():
                            part.result()
                    await asyncio.sleep(0.05)

    async def _quiet(self) -> None:
        """Wait until everybody has what they wanted; what has not come then never comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.plan.quiet):
                while self.people.under_way:
                    await asyncio.wait(self.people.under_way)
                while await self._open_runs():  # noqa: ASYNC110 - it is asked over HTTP
                    await asyncio.sleep(0.1)
        for task in tuple(self.people.under_way):
            task.cancel()
        await asyncio.gather(*self.people.under_way, return_exceptions=True)
        self.client.finish()

    async def _open_runs(self) -> bool:
        cursor = ""
        while True:
            page = (await self.client.ask("GET", f"/v1/runs?limit=200{cursor}")).body
            if any(run["status"] not in ENDS for run in page["runs"]):
                return True
            if page["next"] is None:
                return False
            cursor = f"&cursor={page['next']}"

    async def _evidence(self) -> Evidence:
        record = await self.http.get(f"{self.mischief.argo_url}/faults/record")
        history = self.client.history
        for replica in self.replicas:
            history.faults += [f"{replica.url} {text}" for text in replica.crashed]
        return Evidence(
            stored=await asyncio.to_thread(read_store, self.database),
            history=history,
            calls=read_calls(record.json()),
            lives=read_lives(self.folder / LIVES),
            writes=read_writes(self.folder / WRITES),
            shown=tuple(self.catalog.history),
            archive=self.mischief.archive,
        )


@asynccontextmanager
async def _running(*parts: Any) -> Any:
    """Tasks that are cancelled at the end of the block."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


# --- putting a world together --------------------------------------------------------------------


async def go_round(plan: Plan, *, zygote: Zygote, folder: Path, database: str | None) -> Outcome:
    """Make a world, let it go round, and judge it.

    Args:
        plan: What it is to be.
        zygote: Forks its processes.
        folder: An empty folder for all that it leaves.
        database: The address of an empty, migrated PostgreSQL database, if that is the store.
    """
    async with AsyncExitStack() as stack:
        world = await _world(plan, zygote, folder, database or folder / "bridge.db", stack)
        return await world.go_round()


async def _world(
    plan: Plan, zygote: Zygote, folder: Path, database: Path | str, stack: AsyncExitStack
) -> World:
    host = _own_host(folder)
    urls = tuple(f"http://{host}:{8000 + number}" for number in range(plan.replicas))
    http = await stack.enter_async_context(
        httpx.AsyncClient(timeout=3, limits=httpx.Limits(max_connections=200), trust_env=False)
    )
    catalog = FakeCatalog(PUBLIC_URL, lambda: list(urls), _rng(plan, "catalog"))
    stack.push_async_callback(catalog.aclose)
    catalog_url = await stack.enter_async_context(serve_app(catalog.app()))
    argo, argo_url = await _argo(zygote, folder, http)
    stack.callback(argo.kill)
    lifetimes, tally = _lifetimes(plan), Tally()
    env = _environment(plan, folder, database, argo_url=argo_url, catalog_url=catalog_url)
    replicas = [
        Replica(
            zygote=zygote,
            url=url,
            env={**env, "BRIDGE_HOST": host, "BRIDGE_PORT": url.rpartition(":")[2]},
            log=folder / f"replica-{number}.log",
            rng=_rng(plan, f"replica {number}"),
            lifetimes=lifetimes,
            tally=tally,
        )
        for number, url in enumerate(urls)
    ]
    for each in replicas:
        stack.callback(each.kill)
    client = Client(urls, _rng(plan, "clients"), History(), http)
    return World(
        plan=plan,
        folder=folder,
        replicas=replicas,
        lifetimes=lifetimes,
        client=client,
        people=People(client, _rng(plan, "people"), plan.seed, plan.at_once),
        mischief=Mischief(
            argo_url, catalog, _rng(plan, "faults"), http, _rng(plan, "archive").random() < 0.5
        ),
        catalog=catalog,
        database=database,
        http=http,
        tally=tally,
    )


def _own_host(folder: Path) -> str:
    """A loopback address of this world alone: nobody takes the port of a replica that is dead."""
    return str(IPv4Address("127.1.0.0") + crc32(bytes(folder)) % (1 << 22))


def _rng(plan: Plan, part: str) -> random.Random:
    return drawing(f"{plan.seed}:{part}")


def _lifetimes(plan: Plan) -> Lifetimes:
    """Two replicas live longer: whoever takes over must wait for a lease to run out."""
    if plan.store == "sqlite":
        return Lifetimes()
    return Lifetimes(shortest=0.5, longest=3.2, absence=0.02, in_doubt=0.1, paused=0.2)


def _environment(
    plan: Plan, folder: Path, database: Path | str, *, argo_url: str, catalog_url: str
) -> dict[str, str]:
    store = "BRIDGE_DATABASE" if isinstance(database, Path) else "BRIDGE_DATABASE_URL"
    return {
        store: str(database),
        "BRIDGE_ACTIONS": str(_ACTIONS),
        "BRIDGE_ARGO_TIMEOUT": "3000",
        "BRIDGE_ARGO_TTL_SECONDS": str(TTL_SECONDS),
        "BRIDGE_ARGO_URL": argo_url,
        "BRIDGE_BACKSTAGE_URL": catalog_url,
        "BRIDGE_LEASE_SECONDS": str(_LEASE_SECONDS),
        "BRIDGE_LOG_LEVEL": "warning",
        "BRIDGE_PUBLIC_URL": PUBLIC_URL,
        "BRIDGE_STUCK_SECONDS": "2.5",
        "BRIDGE_TOKENS": ",".join(f"{name}={token}" for name, token in TOKENS.items()),
        "CRASH_FOLDER": str(folder),
        "CRASH_MUTATION": plan.mutation,
    }


async def _argo(zygote: Zygote, folder: Path, http: httpx.AsyncClient) -> tuple[Child, str]:
    port = free_port()
    env = {
        "CRASH_FOLDER": str(folder),
        "CRASH_PORT": str(port),
        "CRASH_TEMPLATES": str(_ACTIONS),
    }
    child = await zygote.start("argo", env=env, log=folder / "argo.log")
    url = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(20):
        while True:
            with suppress(httpx.TransportError):
                await http.get(f"{url}/api/v1/info")
                return child, url
            await asyncio.sleep(0.02)
