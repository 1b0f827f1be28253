"""A reader of a run's stream as Backstage is one: live, resuming by the last id it has seen.

Knows Server-Sent Events and the contract of docs/reference/http-api.md, and holds the bridge to
it: ids count from 1, each once, and one end comes last. Knows nothing of Argo.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

PATIENCE_SECONDS = 30.0
_AGAIN_SECONDS = 0.05
_TOOK = re.compile(r" \([^()]*\d m?s(?:in)?\)$|(?<= failed) \([^()]*\d s\)")

Event = dict[str, Any]


@dataclass
class Reader:
    """Everything that was told of one run, read as it happened.

    *where* gives the address of any replica; it is asked anew for each connection.
    """

    http: httpx.AsyncClient
    path: str
    where: Callable[[], str] = str
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _task: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Begin to read, until the end of the run."""
        self._task = asyncio.ensure_future(self._read())
        return self

    async def aclose(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        while not (self.events and self.events[-1]["type"] == "done"):
            with suppress(httpx.TransportError):
                await self._connect()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _connect(self) -> None:
        headers = {"Accept": "text/event-stream"}
        if self.events:
            headers["Last-Event-ID"] = str(self.events[-1]["seq"])
        url = f"{self.where()}{self.path}/events"
        async with self.http.stream("GET", url, headers=headers) as answer:
            assert answer.status_code == 200, answer.status_code
            self.connections += 1
            frame: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    frame[name] = value.strip()
                elif "data" in frame:
                    await self._take(frame)
                    frame = {}
                else:
                    frame = {}

    async def _take(self, frame: dict[str, str]) -> None:
        event: Event = json.loads(frame["data"])
        assert frame["id"] == str(event["seq"])
        assert frame["event"] == event["type"]
        async with self._news:
            self.events.append(event)
            self._news.notify_all()

    async def told(self, text: str) -> None:
        """Wait for a line that contains *text*."""
        await self._wait(lambda: any(text in line for line in self.lines))

    async def end(self) -> Event:
        """Wait for the end of the run, hold the stream to its contract, and give the last event."""
        await self._wait(lambda: bool(self.events) and self.events[-1]["type"] == "done")
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))
        assert [event["type"] for event in self.events].count("done") == 1
        return self.events[-1]

    async def _wait(self, wanted: Callable[[], bool]) -> None:
        """Wait for *wanted*, or for what ended the reader before that."""
        assert self._task is not None
        hearing = asyncio.ensure_future(self._hear(wanted))
        first = asyncio.FIRST_COMPLETED
        await asyncio.wait({hearing, self._task}, timeout=PATIENCE_SECONDS, return_when=first)
        hearing.cancel()
        if wanted():
            return
        if self._task.done():
            self._task.result()
        said = "\n".join(self.lines)
        raise AssertionError(f"it did not come to that; told so far:\n{said}")

    async def _hear(self, wanted: Callable[[], bool]) -> None:
        async with self._news:
            await self._news.wait_for(wanted)

    @property
    def lines(self) -> list[str]:
        """What a person sees."""
        return [event["message"] for event in self.events if event["message"]]

    @property
    def steps(self) -> list[str]:
        """The lines of ended steps and of open gates, without how long they took."""
        return [_TOOK.sub("", line) for line in self.lines if line[0] in "✓✗○⏸"]

    def count(self, text: str) -> int:
        """How many lines contain *text*."""
        return sum(text in line for line in self.lines)

    def spoken(self, step: str) -> list[str]:
        """What the pod of a step said."""
        prefix = f"{step} | "
        return [line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)]

    def check_spoken(self, step: str, lines: Sequence[str]) -> None:
        """A pod is heard from its first line to its last, each once."""
        assert self.count(f"● {step} running") <= 1
        assert self.spoken(step) == list(lines), self.lines
