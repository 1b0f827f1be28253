"""``bridge serve`` in processes of their own over one store, and clients that know them all.

Knows how replicas are started and ended, and what a client does when the one it asked goes away.
Knows nothing of what runs inside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.cli.processes import TOKEN, Process, serving
from tests.scenarios.argo import ACTIONS, PATIENCE_SECONDS, Argo
from tests.scenarios.reading import Reader

_AGAIN_SECONDS = 0.1
LEASE_SECONDS = 2.0


@dataclass(slots=True)
class Replica:
    """A running bridge and how to take it down."""

    process: Process
    held: AbstractContextManager[Process]

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.process.url


@dataclass
class Fleet:
    """Replicas that come and go, and one client for all of them."""

    folder: Path
    settings: Mapping[str, str]
    http: httpx.AsyncClient
    live: list[Replica] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    _turns: count[int] = field(default_factory=count)

    async def start(self) -> Replica:
        """Start one more; it listens when this returns."""
        held = serving(self.folder, **self.settings)
        replica = Replica(await asyncio.to_thread(held.__enter__), held)
        self.live.append(replica)
        return replica

    async def stop(self, replica: Replica) -> float:
        """End one as a rollout does, while clients still believe in it.

        Gives the seconds until it was done, by its own clock: this process is busy too.
        """
        before = time.time()
        replica.process.terminate()
        await asyncio.to_thread(replica.process.popen.wait, PATIENCE_SECONDS)
        self.live.remove(replica)
        await asyncio.to_thread(replica.held.__exit__, None, None, None)
        assert replica.process.popen.returncode == 0
        entries = replica.process.entries()
        errors = [entry for entry in entries if entry["level"] == "error"]
        assert errors == [], errors
        last = next(e for e in entries if "Finished server process" in str(e["event"]))
        return datetime.fromisoformat(str(last["timestamp"])).timestamp() - before

    def where(self) -> str:
        """The address of a replica, another one each time; it may have gone."""
        if not self.live:
            return "http://127.0.0.1:9"
        return self.live[next(self._turns) % len(self.live)].url

    async def ask(self, action: str, *, key: str, at: Replica | None = None) -> dict[str, Any]:
        """Ask until a replica accepts, always under the same key."""
        headers = {"Idempotency-Key": key}
        body = {"action": action, "input": {"name": "thing"}}
        while True:
            url = at.url if at is not None else self.where()
            try:
                answer = await self.http.post(f"{url}/v1/runs", json=body, headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code in {200, 202}:
                accepted: dict[str, Any] = answer.json()
                return accepted
            assert answer is None or answer.status_code == 503, answer.text
            await asyncio.sleep(_AGAIN_SECONDS)

    def read(self, run: Mapping[str, Any], *, first: Replica | None = None) -> Reader:
        """Read a run's stream, at *first* as long as it lives, else wherever there is one."""

        def where() -> str:
            return first.url if first is not None and first in self.live else self.where()

        reader = Reader(self.http, str(run["links"]["self"]), where).start()
        self.readers.append(reader)
        return reader


@asynccontextmanager
async def fleet(folder: Path, argo: Argo, **settings: str) -> AsyncIterator[Fleet]:
    """An empty fleet over the store that the settings name."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                trust_env=False,
                timeout=PATIENCE_SECONDS,
                limits=httpx.Limits(max_connections=300, max_keepalive_connections=300),
            )
        )
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        common = {
            "BRIDGE_ARGO_URL": argo.url,
            "BRIDGE_ACTIONS": str(ACTIONS),
            "BRIDGE_SECRET_KEY": "key-of-the-fleet-of-the-scenarios-32-bytes",
            "BRIDGE_LEASE_SECONDS": f"{LEASE_SECONDS}",
        }
        opened = Fleet(folder, {**common, **settings}, http)
        try:
            yield opened
        finally:
            for reader in opened.readers:
                await reader.aclose()
            for replica in opened.live:
                await asyncio.to_thread(replica.held.__exit__, None, None, None)
