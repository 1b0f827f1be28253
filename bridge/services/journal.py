"""The one way in which runs change: commit first, tell afterwards.

Knows the store and the subscribers. Must not know why something changes.
"""

from __future__ import annotations

import asyncio
from functools import partial

from bridge.domain.events import EventDraft, Level, done, log
from bridge.domain.runs import Run, RunChanges, RunError, RunStatus
from bridge.ports import Appended, Clock, RunStore, Subscriber


class Journal:
    """Writes events and changes of runs durably, then publishes them."""

    def __init__(self, *, store: RunStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell *subscriber* of every commit from now on."""
        self._subscribers.append(subscriber)

    def write(
        self, run_id: str, *events: EventDraft, changes: RunChanges | None = None
    ) -> asyncio.Future[Run | None]:
        """Commit *events* and *changes*; gives None when the run has ended already.

        The place in the order is taken at the call, so callers may await later, or never.

        Raises (when awaited):
            StoreUnavailable: Nothing was written.
        """
        pending = self._store.append(
            run_id, changes=changes or RunChanges(), events=events, now=self._clock.now()
        )
        told: asyncio.Future[Run | None] = asyncio.get_running_loop().create_future()
        pending.add_done_callback(partial(self._publish, told))
        return told

    def _publish(
        self, told: asyncio.Future[Run | None], pending: asyncio.Future[Appended | None]
    ) -> None:
        if pending.cancelled():
            told.cancel()
            return
        error = pending.exception()
        appended = None if error else pending.result()
        if appended is not None:
            for subscriber in self._subscribers:
                subscriber.published(appended.run, appended.events)
        if told.cancelled():  # the caller has gone; the commit stands all the same
            return
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(appended.run if appended else None)

    async def end(
        self, run: Run, *, status: RunStatus, error: RunError | None = None
    ) -> Run | None:
        """Write the last event; a run that has ended already stays as it is."""
        now = self._clock.now()
        seconds = (now - run.created_at).total_seconds()
        changes = RunChanges(status=status, error=error, entity_ref=run.entity_ref, finished_at=now)
        last = done(run, status=status, seconds=seconds, error=error)
        return await self.write(run.id, last, changes=changes)

    async def say(self, run_id: str, message: str, *, level: Level = "info") -> Run | None:
        """Add one line of the bridge's own."""
        return await self.write(run_id, log(message, level=level))
