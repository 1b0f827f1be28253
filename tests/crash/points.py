"""Where a replica may be killed: before and after every external call and every commit.

Knows the ports' methods and how to stand around each of them. Must not know when to kill: the
parent process draws that.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from bridge.ports import Catalog, RunStore, WorkflowEngine

ENGINE, CATALOG, STORE = "engine", "catalog", "store"
PORTS: tuple[tuple[str, type], ...] = (
    (ENGINE, WorkflowEngine),
    (CATALOG, Catalog),
    (STORE, RunStore),
)
COMMIT = "commit"
_STREAMS = frozenset({"watch", "logs"})
_FUTURES = frozenset({"append"})
_WEIGHTS = {
    "commit": 12.0,
    "engine.create": 14.0,
    "engine.get": 2.0,
    "engine.stop": 4.0,
    "engine.decide": 4.0,
    "engine.retry": 4.0,
    "engine.delete": 0.2,
    "catalog.memberships": 0.0,
    "store.accept": 4.0,
    "store.append": 6.0,
    "store.command": 4.0,
    "store.take_lock": 3.0,
    "store.claim": 3.0,
    "store.audit": 0.2,
    "store.audit_records": 0.0,
    "store.acknowledge": 0.0,
    "store.acknowledged": 0.0,
    "store.put_namespace": 0.0,
    "store.namespaces": 0.0,
    "store.entities": 0.0,
    "store.prune_events": 0.1,
    "store.prune_runs": 0.1,
    "store.ping": 0.2,
    "engine.ping": 0.2,
}
"""How often a call is chosen beside the others (1.0); those that never happen here: not at all."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Kill at the *hits*-th passing of *point*; no point: only from outside."""

    point: str = ""
    hits: int = 1


@dataclass(slots=True)
class Trigger:
    """Counts passings, and ends the process at the one that was aimed at."""

    aim: Aim
    note: Callable[[str], object]
    passed: int = 0

    def reach(self, point: str) -> None:
        """Pass a point, or die there."""
        if point != self.aim.point:
            return
        self.passed += 1
        if self.passed == self.aim.hits:
            self.note(point)
            os.kill(os.getpid(), signal.SIGKILL)


def calls() -> Iterator[tuple[str, type, str]]:
    """Every external call: name, port, method."""
    for prefix, port in PORTS:
        for method, declared in vars(port).items():
            outside = inspect.iscoroutinefunction(declared) or method in _STREAMS | _FUTURES
            if not method.startswith("_") and outside:
                yield f"{prefix}.{method}", port, method


def points() -> dict[str, float]:
    """Every kill point with its weight."""
    found = {f"{COMMIT}.{side}": _WEIGHTS[COMMIT] for side in ("before", "after")}
    for name, _, method in calls():
        sides = ("before", "item", "after") if method in _STREAMS else ("before", "after")
        found |= {f"{name}.{side}": _WEIGHTS.get(name, 1.0) for side in sides}
    return found


def drawing(seed: str) -> random.Random:
    """Chance that is the same for the same *seed*."""
    return random.Random(seed)  # noqa: S311 - it guards nothing, and must repeat


def draw_aim(rng: random.Random) -> Aim:
    """Where the next replica is to be killed."""
    weights = points()
    chosen = rng.choices(tuple(weights), tuple(weights.values()))[0]
    return Aim(chosen, 1 + min(int(rng.expovariate(1.2)), 8))


# --- standing around calls -----------------------------------------------------------------------


@dataclass(slots=True)
class Surroundings:
    """Puts kill points around the methods of adapters; *seen* is told of every result."""

    trigger: Trigger
    seen: Callable[[str, tuple[Any, ...], dict[str, Any], Any], object]

    def surround(self, prefix: str, adapter: type) -> None:
        """Every call of the port that *adapter* implements, from now on."""
        for name, _, method in calls():
            if name.startswith(f"{prefix}."):
                setattr(adapter, method, self._around(name, method, getattr(adapter, method)))

    def surround_commit(self, session: type) -> None:
        """Both sides of a transaction's end; after it nobody has been answered yet."""
        commit = session.commit  # type: ignore[attr-defined]  # any Session class

        @wraps(commit)
        def committed(owner: Any) -> None:
            self.trigger.reach(f"{COMMIT}.before")
            commit(owner)
            self.trigger.reach(f"{COMMIT}.after")

        session.commit = committed  # type: ignore[attr-defined]  # any Session class

    def _around(self, name: str, method: str, original: Any) -> Any:
        if method in _STREAMS:
            return self._around_stream(name, original)
        if method in _FUTURES:
            return self._around_future(name, original)
        return self._around_call(name, original)

    def _around_call(self, name: str, original: Callable[..., Awaitable[Any]]) -> Any:
        @wraps(original)
        async def called(*args: Any, **named: Any) -> Any:
            self.trigger.reach(f"{name}.before")
            result = await original(*args, **named)
            self.seen(name, args, named, result)
            self.trigger.reach(f"{name}.after")
            return result

        return called

    def _around_future(self, name: str, original: Callable[..., asyncio.Future[Any]]) -> Any:
        def answered(args: Any, named: Any, future: asyncio.Future[Any]) -> None:
            if not future.cancelled() and future.exception() is None:
                self.seen(name, args, named, future.result())
            self.trigger.reach(f"{name}.after")

        @wraps(original)
        def called(*args: Any, **named: Any) -> asyncio.Future[Any]:
            self.trigger.reach(f"{name}.before")
            future = original(*args, **named)
            future.add_done_callback(lambda done: answered(args, named, done))
            return future

        return called

    def _around_stream(
        self, name: str, original: Callable[..., AbstractAsyncContextManager[Any]]
    ) -> Any:
        @wraps(original)
        @asynccontextmanager
        async def called(*args: Any, **named: Any) -> AsyncIterator[AsyncIterator[Any]]:
            self.trigger.reach(f"{name}.before")
            async with original(*args, **named) as items:
                yield self._items(name, items)
            self.trigger.reach(f"{name}.after")

        return called

    async def _items(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in items:
            self.trigger.reach(f"{name}.item")
            yield item
