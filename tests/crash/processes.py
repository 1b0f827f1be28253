"""The processes of one world, as the parent sees them: a zygote, an Argo, and replicas.

Knows how to start, stop, pause and kill them, and starts a killed replica again at once. Must
not know what they do.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.crash.points import Aim, draw_aim

Kind = Literal["replica", "argo"]
CREATED = "engine.create.after"
_KILLED = -signal.SIGKILL
_POLITE = frozenset({0, -signal.SIGTERM})
"""Ended by SIGTERM; early in a start nobody has taken that over from the system yet."""
_ROOT = Path(__file__).parents[2]
_LONGEST_LINE = 1 << 20
_PATIENCE_SECONDS = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(slots=True)
class Child:
    """A process that the zygote forked."""

    pid: int
    ended: asyncio.Future[int]

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal, unless it has ended; whether it was sent."""
        if self.ended.done():
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True

    def kill(self) -> None:
        """End it at once, also a paused one."""
        self.signal(signal.SIGKILL)


class Zygote:
    """Forks processes in which the product is imported already."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._orders = 0
        self._started: dict[int, asyncio.Future[int]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}

    async def start(self, kind: Kind, *, env: Mapping[str, str], log: Path) -> Child:
        """Fork a process of this kind; it has its pid, and need not be ready."""
        loop = asyncio.get_running_loop()
        self._orders += 1
        number = self._orders
        started, ended = loop.create_future(), loop.create_future()
        self._started[number], self._ended[number] = started, ended
        order = {"id": number, "kind": kind, "env": dict(env), "log": str(log)}
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(order) + "\n").encode())
        await self._process.stdin.drain()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return Child(await started, ended)

    async def listen(self) -> None:
        """Take what the zygote says until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told: dict[str, Any] = json.loads(line)
            waiting = self._started if "pid" in told else self._ended
            future = waiting.pop(told["id"])
            if not future.done():
                future.set_result(told["pid"] if "pid" in told else told["ended"])


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """A zygote; whatever it started is killed at the end of the block."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRIDGE_", "ARGO_", "COV_", "COVERAGE_", "CRASH_"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.crash.zygote",
        cwd=_ROOT,
        env=kept,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    found = Zygote(process)
    listening = asyncio.ensure_future(found.listen())
    try:
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await process.wait()
            await listening


@dataclass(slots=True)
class Tally:
    """How often what was done to replicas."""

    kills: int = 0
    pauses: int = 0
    restarts: int = 0


@dataclass(slots=True)
class Lifetimes:
    """How long replicas live, in seconds, and how they go; drawn anew for each.

    ``longest`` bounds the wait for the point that was aimed at, from when it takes requests; a
    share of them dies ``early``, counted from the fork. ``calm`` means no kill at all.
    ``absence`` is the share of kills after which the replica stays away for ``away`` seconds,
    long enough for Argo to remove what has ended; ``in_doubt`` the same for replicas that were
    to die right behind a creation.
    """

    shortest: float = 0.15
    longest: float = 1.2
    early: float = 0.15
    start: float = 8.0
    absence: float = 0.04
    in_doubt: float = 0.7
    away: tuple[float, float] = (3.2, 4.5)
    polite: float = 0.04
    paused: float = 0.0
    pause: tuple[float, float] = (1.3, 2.6)
    calm: bool = False


@dataclass(slots=True)
class Replica:
    """A place for a replica at one address, filled again each time its process dies."""

    zygote: Zygote
    url: str
    env: Mapping[str, str]
    log: Path
    rng: random.Random
    lifetimes: Lifetimes
    tally: Tally
    child: Child | None = None
    crashed: list[str] = field(default_factory=list)

    async def live(self) -> None:
        """Start it, let it die, start it again; for ever."""
        while True:
            aim = Aim() if self.lifetimes.calm else draw_aim(self.rng)
            self.child = await self._start(aim)
            if not aim.point:
                await asyncio.shield(self.child.ended)
                self.crashed.append(f"ended by itself with {self.child.ended.result()}")
                continue
            await self._let_die(self.child)
            times = self.lifetimes
            share = times.in_doubt if aim.point == CREATED else times.absence
            if self.rng.random() < share and not times.calm:
                await asyncio.sleep(self.rng.uniform(*times.away))

    async def _start(self, aim: Aim) -> Child:
        env = {**self.env, "CRASH_POINT": aim.point, "CRASH_HITS": str(aim.hits)}
        return await self.zygote.start("replica", env=env, log=self.log)

    async def _let_die(self, child: Child) -> None:
        times, rng = self.lifetimes, self.rng
        if rng.random() > times.early:
            await self._listening(child)
        longest = rng.uniform(times.shortest, times.longest)
        await asyncio.wait({child.ended}, timeout=longest)
        if rng.random() < times.paused and child.signal(signal.SIGSTOP):
            self.tally.pauses += 1
            await asyncio.sleep(rng.uniform(*times.pause))
            child.signal(signal.SIGCONT)
            await asyncio.wait({child.ended}, timeout=longest / 2)
        if rng.random() < times.polite and child.signal(signal.SIGTERM):
            await asyncio.wait({child.ended}, timeout=3)
        child.signal(signal.SIGKILL)
        status = await asyncio.shield(child.ended)
        if status == _KILLED:
            self.tally.kills += 1
        elif status in _POLITE:
            self.tally.restarts += 1
        else:
            self.crashed.append(f"ended by itself with {status}")
            await asyncio.sleep(0.2)

    def kill(self) -> None:
        """End what runs."""
        if self.child is not None:
            self.child.kill()

    async def _listening(self, child: Child) -> None:
        """Wait until it takes requests, or has died on the way there."""
        _, _, address = self.url.rpartition("/")
        host, _, port = address.partition(":")
        with suppress(TimeoutError):
            async with asyncio.timeout(self.lifetimes.start):
                while not child.ended.done():
                    try:
                        _, writer = await asyncio.open_connection(host, int(port))
                    except OSError:
                        await asyncio.sleep(0.02)
                    else:
                        writer.close()
                        return

    async def stop(self) -> None:
        """End it politely; nobody starts it again."""
        if self.child is not None and self.child.signal(signal.SIGTERM):
            done, _ = await asyncio.wait({self.child.ended}, timeout=8)
            if not done:
                self.crashed.append("did not end within 8 s of SIGTERM")
                self.child.signal(signal.SIGKILL)
                await self.child.ended
