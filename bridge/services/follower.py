"""Following: one list and one shared watch for all runs of one Argo server and namespace.

Knows how to keep a picture of many workflows from a watch that rotates, expires, goes silent and
coalesces (research/argo, sections 1.4 and 7). Must not know Argo's bytes, nor what an end means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import (
    BridgeError,
    LeaseLost,
    RunUnknown,
    WatchExpired,
    WorkflowGone,
)
from bridge.domain.events import EventDraft, status
from bridge.domain.progress import Gate, advance
from bridge.domain.runs import Run, RunChanges, RunStatus
from bridge.domain.workflows import Node, Snapshot
from bridge.ports import Chance, Clock, RunStore, WatchEvent, WorkflowEngine
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal
from bridge.services.tasks import Tasks
from bridge.services.tracking import Item, Lines, ReadOut, Tracked

_log = logging.getLogger(__name__)

_OLD_PICTURE_SECONDS = 1.0
Restart = Literal["rotated", "resync", "expired", "unavailable", "crashed"]
"""Why a watch is begun again."""


class Follower:
    """Keeps every tracked run up with its workflow."""

    def __init__(
        self,
        *,
        engine: WorkflowEngine,
        store: RunStore,
        journal: Journal,
        clock: Clock,
        chance: Chance,
        tasks: Tasks,
        resync: float = 300.0,
        patience: float = 600.0,
    ) -> None:
        self._engine = engine
        self._store = store
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._tasks = tasks
        self._resync = resync
        self._patience = patience
        self._tracked: dict[str, Tracked] = {}
        self._names: dict[str, str] = {}
        self._first_listing = asyncio.Event()
        self.connected = False
        self.on_ended: Callable[[str, Snapshot], object] = lambda _run, _snapshot: None
        self.on_lost: Callable[[str], object] = lambda _run: None
        self.on_stuck: Callable[[str], object] = lambda _run: None
        self.on_nodes: Callable[[str, Snapshot, Iterable[Node]], object] = lambda *_: None
        self.on_gate: Callable[[str, Gate, Snapshot], object] = lambda *_: None
        self.on_stranger: Callable[[Snapshot], object] = lambda _snapshot: None
        self.on_restart: Callable[[Restart], object] = lambda _reason: None

    def __len__(self) -> int:
        return len(self._tracked)

    # --- which runs ------------------------------------------------------------------------

    def track(self, run: Run, *, definition: ActionDefinition) -> None:
        """Follow *run* from what it has been told already; a followed one goes on as it is."""
        if run.id not in self._tracked:
            since = self._clock.monotonic()
            self._names[run.workflow_name] = run.id
            self._tracked[run.id] = Tracked.of(run, definition=definition, since=since)

    def created(self, run: Run, snapshot: Snapshot) -> None:
        """Take the answer to a creation or a retry, which is no old picture."""
        tracked = self._tracked.get(run.id)
        if tracked is not None:
            tracked.begun = True
            self._offer(tracked, snapshot)

    def forget(self, run_id: str) -> None:
        """Stop following."""
        tracked = self._tracked.pop(run_id, None)
        if tracked is not None:
            if self._names.get(tracked.workflow) == run_id:  # else it is the next attempt's
                del self._names[tracked.workflow]
            tracked.idle.set()

    async def listed(self) -> None:
        """Wait until everything that there is has been seen once."""
        await self._first_listing.wait()

    async def flush(self, run_id: str) -> None:
        """Wait until everything that reached us of a run is stored."""
        tracked = self._tracked.get(run_id)
        if tracked is not None:
            await tracked.idle.wait()

    def tell_lines(
        self, run_id: str, *, pod: str, cursor: str, lines: Iterable[EventDraft]
    ) -> None:
        """Write pod lines and how far they reach in one commit, so that none comes twice."""
        tracked = self._tracked.get(run_id)
        if tracked is not None:
            self._offer(tracked, Lines(pod, cursor, tuple(lines)))

    def read_out(self, run_id: str, *, number: str) -> None:
        """Note that the pod of a node has nothing more to tell."""
        tracked = self._tracked.get(run_id)
        if tracked is not None:
            self._offer(tracked, ReadOut(number))

    def cursor(self, run_id: str, *, pod: str) -> str:
        """The time of the last line told of *pod*; empty if none was."""
        tracked = self._tracked.get(run_id)
        return tracked.cursor(pod) if tracked else ""

    # --- the loop --------------------------------------------------------------------------

    async def follow(self) -> None:
        """List and watch for ever; every way in which a watch ends leads back here."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.2, longest=15.0)
        while True:
            try:
                listing = await self._engine.listing()
                self._reconcile(listing.snapshots)
                self._first_listing.set()
                self.connected = True
                backoff.reset()
                await self._watch(listing.resource_version)
                self.on_restart("resync")
            except WatchExpired:
                self.on_restart("expired")
                _log.info("watch position expired, listing again")
                await backoff.wait()  # a listing can be as old as the position it replaces
            except BridgeError as error:
                self.connected = False
                self.on_restart("unavailable")
                _log.warning("cannot follow", extra={"reason": error.detail, "code": error.code})
                await backoff.wait(at_least=error.retry_after or 0)
            except Exception:  # noqa: BLE001 - no answer of Argo may leave every run behind
                self.connected = False
                self.on_restart("crashed")
                _log.exception("cannot follow")
                await backoff.wait()

    async def refresh(self) -> None:
        """Look at everything once more: runs were taken up after the last listing."""
        if not self._first_listing.is_set():
            return
        try:
            listing = await self._engine.listing()
        except BridgeError as error:  # whatever ends the watch leads to a listing too
            _log.warning("cannot list", extra={"reason": error.detail, "code": error.code})
        else:
            self._reconcile(listing.snapshots)

    async def _watch(self, version: str) -> None:
        """Watch until it is time to list again; a rotated watch goes on where it was."""
        deadline = self._clock.monotonic() + self._resync
        while self._clock.monotonic() < deadline:
            before = version
            async with self._engine.watch(resource_version=version) as events:
                async for event in events:
                    version = event.snapshot.resource_version or version
                    self._seen(event)
                    if self._clock.monotonic() >= deadline:
                        return
            self.on_restart("rotated")
            if version == before:
                await self._clock.sleep(self._chance.jitter(0.2))

    def _seen(self, event: WatchEvent) -> None:
        tracked = self._tracked.get(self._names.get(event.snapshot.name, ""))
        if event.type == "BOOKMARK":
            return
        if tracked is None:
            if event.type != "DELETED" and not event.snapshot.ended:
                self.on_stranger(event.snapshot)
            return
        self._offer(tracked, event.snapshot)
        if event.type == "DELETED" and not tracked.ending:
            self._tasks.spawn(self._look_up(tracked), name=f"look-up {tracked.run_id}")

    def _reconcile(self, snapshots: Iterable[Snapshot]) -> None:
        """Compare everything tracked with everything there is."""
        there = {snapshot.name: snapshot for snapshot in snapshots}
        for stranger in there.values():
            if stranger.name not in self._names and not stranger.ended:
                self.on_stranger(stranger)
        for tracked in tuple(self._tracked.values()):
            snapshot = there.get(tracked.workflow)
            if snapshot is not None and not tracked.is_foreign(snapshot):
                self._offer(tracked, snapshot)
            elif tracked.uid is not None and not tracked.ending:
                self._tasks.spawn(self._look_up(tracked), name=f"look-up {tracked.run_id}")

    async def _look_up(self, tracked: Tracked) -> None:
        """The workflow is not among the live ones: it is archived, or lost."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        while not tracked.ending and tracked.run_id in self._tracked:
            try:
                snapshot = await self._engine.get(tracked.workflow, uid=tracked.uid)
            except WorkflowGone:
                await self._lose(tracked)
                return
            except BridgeError:
                await backoff.wait()
            else:
                if snapshot.uid != tracked.uid:
                    await self._lose(tracked)
                else:
                    self._offer(tracked, snapshot)
                return

    async def _make_sure(self, tracked: Tracked) -> None:
        """Ask Argo itself whether the end that was seen is more than an old picture."""
        await self._clock.sleep(_OLD_PICTURE_SECONDS)
        with suppress(BridgeError):  # the next listing leads here again
            snapshot = await self._engine.get(tracked.workflow, uid=tracked.uid)
            tracked.past_is_over = snapshot.ended and snapshot.uid == tracked.uid
            self._offer(tracked, snapshot)

    async def _lose(self, tracked: Tracked) -> None:
        """Report a vanished workflow, unless what was seen of it before was its end."""
        await tracked.idle.wait()
        if not tracked.ending:
            tracked.ending = True
            self.on_lost(tracked.run_id)

    async def watch_for_stuck(self, *, every: float) -> None:
        """Report, for ever, runs whose workflow never gets a phase (argo-recordings, 1.10)."""
        while True:
            await self._clock.sleep(every)
            if not self.connected:
                continue  # a phase that we cannot see is not a phase that is missing
            now = self._clock.monotonic()
            for tracked in tuple(self._tracked.values()):
                idle = tracked.uid is not None and not tracked.phase and not tracked.ending
                if idle and now - tracked.since > self._patience:
                    await self._give_up(tracked)

    async def _give_up(self, tracked: Tracked) -> None:
        """Report a workflow as stuck if Argo itself shows it so: we may have slept ourselves."""
        with suppress(BridgeError):  # the next look tries again, or its end is found
            snapshot = await self._engine.get(tracked.workflow, uid=tracked.uid)
            if snapshot.phase or snapshot.uid != tracked.uid:
                self._offer(tracked, snapshot)
            elif not tracked.ending:
                tracked.ending = True
                self.on_stuck(tracked.run_id)

    # --- one commit after the other ----------------------------------------------------------

    def _offer(self, tracked: Tracked, item: Item) -> None:
        tracked.inbox.append(item)
        self._proceed(tracked)

    def _proceed(self, tracked: Tracked) -> None:
        while tracked.inbox and not tracked.writing:
            item = tracked.inbox.popleft()
            if isinstance(item, Lines):
                self._tell(tracked, item)
            elif isinstance(item, ReadOut):
                # Stored with the next commit: to read again is harmless.
                read = tracked.state.read | {item.number}
                tracked.state = replace(tracked.state, read=read)
            elif not tracked.ending and tracked.is_past(item):
                if tracked.begun:  # times are whole seconds, so this may be the next end
                    self._tasks.spawn(self._make_sure(tracked), name=f"end {tracked.run_id}?")
            elif not tracked.ending and not tracked.overtaken(item):
                self._apply(tracked, item)
        if not tracked.writing:
            tracked.idle.set()

    def _tell(self, tracked: Tracked, lines: Lines) -> None:
        logs = {**tracked.state.logs, lines.pod: lines.cursor}
        tracked.state = replace(tracked.state, logs=logs)
        changes = RunChanges(state=tracked.state.to_json())
        self._commit(tracked, lines, events=lines.drafts, changes=changes)

    def _apply(self, tracked: Tracked, snapshot: Snapshot) -> None:
        step = advance(tracked.state, snapshot, gate=tracked.gate)
        look_at = tracked.to_look_at(snapshot, step.changed)
        now_status = RunStatus.WAITING if snapshot.suspended else RunStatus.RUNNING
        progress = snapshot.progress
        if step.behind and tracked.status in {RunStatus.WAITING, RunStatus.RUNNING}:
            now_status, progress = tracked.status, tracked.progress
        new_status = now_status if now_status is not tracked.status else None
        moved = new_status is not None or progress != tracked.progress
        events = list(step.events)
        if moved:
            events.append(status(now_status, progress=progress))
        known = tracked.uid == snapshot.uid and tracked.phase == snapshot.phase
        then = partial(self._applied, tracked, snapshot, look_at)
        if events or not known or step.changed:
            tracked.state, tracked.status = step.state, now_status
            tracked.uid, tracked.phase = snapshot.uid, snapshot.phase
            tracked.progress = progress
            changes = RunChanges(
                status=new_status,
                workflow_uid=snapshot.uid,
                phase=snapshot.phase,
                progress=progress,
                state=step.state.to_json() if step.changed else None,
            )
            self._commit(tracked, snapshot, events=events, changes=changes, then=then)
        else:
            then()

    def _applied(self, tracked: Tracked, snapshot: Snapshot, look_at: tuple[Node, ...]) -> None:
        if look_at:
            self.on_nodes(tracked.run_id, snapshot, look_at)
        if tracked.gate is not None and snapshot.suspended:
            self.on_gate(tracked.run_id, tracked.gate, snapshot)
        if snapshot.ended:
            tracked.ending = True
            self.on_ended(tracked.run_id, snapshot)

    def _commit(
        self,
        tracked: Tracked,
        item: Snapshot | Lines,
        *,
        events: Iterable[EventDraft],
        changes: RunChanges,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        tracked.writing = True
        tracked.idle.clear()
        written = self._journal.write(tracked.run_id, *events, changes=changes)
        written.add_done_callback(partial(self._committed, tracked, item, then))

    def _committed(
        self,
        tracked: Tracked,
        item: Snapshot | Lines,
        then: Callable[[], object],
        written: asyncio.Future[Run | None],
    ) -> None:
        if written.cancelled():
            return
        error = written.exception()
        if error is None:
            tracked.writing = False
            then()
            self._proceed(tracked)
            return
        if isinstance(error, LeaseLost):
            self.forget(tracked.run_id)  # its new owner goes on from what is stored
            return
        _log.error("commit failed", exc_info=error, extra={"run": tracked.run_id})
        if isinstance(item, Lines):  # a snapshot can be fetched again, these cannot
            tracked.inbox.appendleft(item)
        self._tasks.spawn(self._catch_up(tracked), name=f"catch up {tracked.run_id}")

    async def _catch_up(self, tracked: Tracked) -> None:
        """Memory is ahead of the store: go back to what is stored and look again."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        while True:
            await backoff.wait()
            if tracked.run_id not in self._tracked:
                return
            tracked.drop_snapshots()
            try:
                run = await self._store.run(tracked.run_id)
                tracked.inbox.append(await self._engine.get(tracked.workflow, uid=tracked.uid))
            except WorkflowGone:
                pass  # its end is looked up elsewhere; what waits is written all the same
            except RunUnknown:
                self.forget(tracked.run_id)
                return
            except BridgeError:
                continue
            tracked.take_back(run)
            tracked.writing = False
            self._proceed(tracked)
            return
