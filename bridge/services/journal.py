"""The one way in which runs change: commit first, tell afterwards.

Knows the store, the subscribers and which runs this replica owns: it writes no others, and a
write after another replica's take-over is refused by its fence. Must not know why something
changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command
from bridge.domain.errors import LeaseLost
from bridge.domain.events import EventDraft, Level, done, log
from bridge.domain.runs import Acceptance, NewRun, Run, RunChanges, RunError, RunStatus
from bridge.ports import Appended, Clock, Commanded, Entry, RunStore, Subscriber
from bridge.services.redaction import Redaction

_LATELY = 10


class Journal:
    """Writes events and changes of runs durably and without secrets, then publishes them."""

    def __init__(
        self, *, store: RunStore, clock: Clock, redaction: Redaction | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._redaction = redaction or Redaction()
        self._subscribers: list[Subscriber] = []
        self._fences: dict[str, int] = {}
        self.on_lost: Callable[[str], object] = lambda _run_id: None

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell *subscriber* of every commit from now on."""
        self._subscribers.append(subscriber)

    # --- whose runs ------------------------------------------------------------------------

    def own(self, run: Run) -> None:
        """Write *run* from now on: this replica has accepted or claimed it.

        Who claims a run that was somebody else's meanwhile, without having noticed, loses it first:
        what is remembered of it is older than what is stored.
        """
        if self._fences.get(run.id, run.fence) != run.fence:
            self.on_lost(run.id)
        self._fences[run.id] = run.fence

    def owns(self, run_id: str) -> bool:
        """Whether this replica may write the run, as far as it knows."""
        return run_id in self._fences

    def disown(self, run_id: str) -> None:
        """Write the run no more: it has ended, or is another replica's."""
        self._fences.pop(run_id, None)

    def disown_all(self) -> None:
        """Write nothing any more: this process ends, and what goes on is the next owner's."""
        self._fences.clear()

    # --- writing ---------------------------------------------------------------------------

    async def accept(self, new: NewRun, *, first: EventDraft, audit: AuditDraft) -> Acceptance:
        """Take a request exactly once, and write the run from now on.

        Raises:
            IdempotencyKeyReused, LockHeld, StoreUnavailable.
        """
        record = self._redaction.audit(audit)
        acceptance = await self._store.accept(new, first=first, audit=(record,))
        if not acceptance.replayed:
            self.own(acceptance.run)
        return acceptance

    def write(
        self,
        run_id: str,
        *events: EventDraft,
        changes: RunChanges | None = None,
        entry: Entry | None = None,
    ) -> asyncio.Future[Run | None]:
        """Commit *events* with *changes*, or an *entry*; None when the run has ended already.

        The place in the order is taken at the call, so callers may await later, or never.

        Raises (when awaited):
            StoreUnavailable: Nothing was written, as far as is known.
            LeaseLost: The run is another replica's.
        """
        told: asyncio.Future[Run | None] = asyncio.get_running_loop().create_future()
        fence = self._fences.get(run_id)
        if fence is None:
            told.set_exception(LeaseLost(f"Run {run_id} is not this replica's to write."))
            return told
        entry = entry or Entry(changes=changes or RunChanges(), events=events)
        entry = self._redaction.entry(run_id, entry)
        pending = self._store.append(run_id, entry, fence=fence, now=self._clock.now())
        pending.add_done_callback(partial(self._publish, run_id, fence, told))
        return told

    def _publish(
        self,
        run_id: str,
        fence: int,
        told: asyncio.Future[Run | None],
        pending: asyncio.Future[Appended | None],
    ) -> None:
        if pending.cancelled():
            told.cancel()
            return
        error = pending.exception()
        appended = None if error else pending.result()
        if appended is not None:
            self._tell(appended)
        if isinstance(error, LeaseLost) and self._fences.get(run_id) == fence:
            self.disown(run_id)
            self.on_lost(run_id)
        if told.cancelled():  # the caller has gone; the commit stands all the same
            return
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(appended.run if appended else None)

    def _tell(self, appended: Appended) -> None:
        if appended.run.finished:
            self.disown(appended.run.id)
            self._redaction.forget(appended.run.id)
        for subscriber in self._subscribers:
            subscriber.published(appended.run, appended.events)

    async def command(self, command: Command, *, entry: Entry) -> Commanded:
        """Commit somebody's command; the run may be any replica's."""
        commanded = await self._store.command(
            self._redaction.command(command),
            entry=self._redaction.entry(command.run_id, entry),
            now=self._clock.now(),
        )
        if commanded.appended is not None:
            self._tell(commanded.appended)
        return commanded

    async def take_lock(self, run_id: str) -> Run | None:
        """Give the run its lock if it is next: None, or the run that is before it.

        Raises:
            StoreUnavailable, LeaseLost.
        """
        return await self._store.take_lock(run_id, fence=self._fences.get(run_id, 0))

    async def end(
        self, run: Run, *, status: RunStatus, error: RunError | None = None
    ) -> Run | None:
        """Write the last event; a run that has ended already stays as it is."""
        now = self._clock.now()
        seconds = (now - run.created_at).total_seconds()
        changes = RunChanges(
            status=status,
            error=error,
            entity_ref=run.entity_ref,
            finished_at=now,
            state=run.state,
        )
        last = done(run, status=status, seconds=seconds, error=error)
        return await self.write(run.id, last, changes=changes)

    async def say(self, run_id: str, message: str, *, level: Level = "info") -> Run | None:
        """Add one line of the bridge's own."""
        return await self.write(run_id, log(message, level=level))

    async def say_once(self, run: Run, message: str, *, level: Level = "info") -> None:
        """Add a line unless it is among the last ones: an earlier owner may have said it."""
        if not await self.said(run, message):
            await self.say(run.id, message, level=level)

    async def said(self, run: Run, message: str) -> bool:
        """Whether the run's last events have this line."""
        message = self._redaction.text(run.id, message)
        after = max(run.last_seq - _LATELY, 0)
        latest = await self._store.events(run.id, after=after, limit=2 * _LATELY)
        return any(event.draft.message == message for event in latest)
