"""Forgetting by age: first the events of ended runs, later the runs.

Knows ages and batches: small ones, so that no stream waits for a removal. Must not know how a
store removes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bridge.domain.errors import StoreUnavailable
from bridge.ports import Clock, RunStore

_log = logging.getLogger(__name__)
_BATCH = 500
_PAUSE = 0.05


class Retention:
    """Keeps the store from growing for ever."""

    def __init__(
        self, *, store: RunStore, clock: Clock, events: timedelta, runs: timedelta
    ) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._runs = runs

    async def watch(self, *, every: float) -> None:
        """Prune for ever."""
        while True:
            await self._clock.sleep(every)
            try:
                await self.prune()
            except StoreUnavailable as error:
                _log.warning("cannot prune", extra={"reason": error.detail})

    async def prune(self) -> tuple[int, int]:
        """Remove what is old enough; how many events and runs."""
        now = self._clock.now()
        events = await self._batches(self._store.prune_events, now - self._events)
        runs = await self._batches(self._store.prune_runs, now - self._runs)
        if events or runs:
            _log.info("pruned", extra={"events": events, "runs": runs})
        return events, runs

    async def _batches(self, prune: Callable[..., Awaitable[int]], before: datetime) -> int:
        removed = 0
        while batch := await prune(finished_before=before, limit=_BATCH):
            removed += batch
            await self._clock.sleep(_PAUSE)
        return removed
