"""Faults of Argo and of the catalog, drawn by chance.

Knows the fault routes of the embedded Argo (docs/reference/local-argo-faults.md) and the moods of
the catalog. Nothing here breaks what the bridge is told of Argo: ended workflows stay for as long
as ``BRIDGE_ARGO_TTL_SECONDS`` says, and their pods with them, and no call is carried out later
than that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.crash.catalog import FakeCatalog, Mood

TTL_SECONDS = 2.0
_VANISH = {"fault": "vanish", "seconds": [TTL_SECONDS, TTL_SECONDS + 0.5], "chance": 0.6}
_NO_PHASE = {"fault": "no-phase", "chance": 0.03}
_CONTROL = ["stop", "terminate", "set", "retry"]
_UNARY: tuple[Mapping[str, Any], ...] = (
    {"route": "create", "fault": "cut-after", "chance": 0.5},
    {"route": "create", "fault": "cut-before", "chance": 0.5},
    {"route": "create", "fault": "delay", "seconds": [0.1, 1.2], "chance": 0.5},
    {"route": "create", "fault": "delay", "seconds": [0.1, 1.2], "applied": True, "chance": 0.5},
    {"route": "create", "fault": "unavailable", "applied": True, "chance": 0.5},
    {"route": "create", "fault": "internal", "applied": True, "chance": 0.5},
    {"route": "create", "fault": "exists", "chance": 0.4},
    {"route": "get", "fault": "unavailable", "chance": 0.4},
    {"route": "get", "fault": "cut-before", "chance": 0.4},
    {"route": "get", "fault": "delay", "seconds": [0.1, 0.8], "chance": 0.5},
    {"route": "list", "fault": "stale", "behind": 3, "chance": 0.5},
    {"route": "list", "fault": "html", "chance": 0.5},
    {"route": "list", "fault": "delay", "seconds": [0.1, 0.8], "chance": 0.5},
    {"route": _CONTROL, "fault": "ignore", "chance": 0.5},
    {"route": _CONTROL, "fault": "cut-after", "chance": 0.5},
    {"route": _CONTROL, "fault": "modified", "chance": 0.5},
    {"route": _CONTROL, "fault": "internal", "applied": True, "chance": 0.5},
    {"fault": "rate-limit", "retry_after": 1, "chance": 0.2},
    {"fault": "unavailable", "chance": 0.3},
    {"fault": "html", "chance": 0.2},
)
# A log that ends early and cleanly is left out: nobody could tell it from one that is complete.
_STREAMS: tuple[Mapping[str, Any], ...] = (
    {"route": "watch", "fault": "rotate", "events": 3, "chance": 0.7},
    {"route": "watch", "fault": "expire", "events": 2, "chance": 0.5},
    {"route": "watch", "fault": "expire", "chance": 0.4},
    {"route": "watch", "fault": "cut", "seconds": [0.1, 1.0], "chance": 0.7},
    {"route": "watch", "fault": "silent", "events": 4, "chance": 0.3},
    {"route": "watch", "fault": "delay", "seconds": [0.1, 0.6], "chance": 0.7},
    {"route": "watch", "fault": "coalesce", "seconds": 0.4, "chance": 0.7},
    {"route": "watch", "fault": "replay", "chance": 0.3},
    {"route": "watch", "fault": "duplicate", "chance": 0.3},
    {"route": "watch", "fault": "unavailable", "chance": 0.4},
    {"route": "log", "fault": "cut", "events": 2, "chance": 0.4},
    {"route": "log", "fault": "unavailable", "chance": 0.3},
    {"route": "log", "fault": "delay", "seconds": [0.1, 0.4], "chance": 0.5},
)
_DEEDS = ("rotate", "expire", "cut", "replay", "duplicate")
_MOODS: tuple[Mood, ...] = ("well", "slow", "away")


@dataclass(slots=True)
class Mischief:
    """Whoever makes the bridge's surroundings misbehave."""

    argo_url: str
    catalog: FakeCatalog
    rng: random.Random
    http: httpx.AsyncClient
    archive: bool

    async def go_on(self) -> None:
        """Change the faults in force again and again, for ever."""
        while True:
            if self.rng.random() < 0.3:
                await self._now()
            else:
                await self._put(self._drawn(_UNARY, 2), self._drawn(_STREAMS, 2))
            self.catalog.mood = self.rng.choices(_MOODS, (5, 2, 1))[0]
            await asyncio.sleep(self.rng.uniform(0.3, 1.5))

    def _drawn(self, menu: tuple[Mapping[str, Any], ...], most: int) -> list[Mapping[str, Any]]:
        return self.rng.sample(menu, self.rng.randint(0, most))

    async def _put(self, unary: list[Any], streams: list[Any]) -> None:
        faults = {
            "seed": self.rng.randint(0, 1 << 30),
            "archive": self.archive,
            "unary": unary,
            "streams": streams,
            "workflows": [_VANISH, _NO_PHASE],
        }
        answer = await self.http.put(f"{self.argo_url}/faults", json=faults)
        answer.raise_for_status()

    async def _now(self) -> None:
        deed = {"do": self.rng.choice(_DEEDS)}
        answer = await self.http.post(f"{self.argo_url}/faults/now", json=deed)
        answer.raise_for_status()

    async def calm(self) -> None:
        """No faults any more, but for what happens to workflows in a healthy Argo too."""
        await self._put([], [])
        await self.http.post(f"{self.argo_url}/faults/now", json={"do": "cut"})
        self.catalog.mood = "well"
