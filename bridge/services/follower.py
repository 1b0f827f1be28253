"""Following: one list and one shared watch for all runs of one Argo server and namespace.

Knows how to keep a picture of many workflows from a watch that rotates, expires, goes silent and
coalesces (research/argo, sections 1.4 and 7). Must not know Argo's bytes, nor what an end means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import BridgeError, RunUnknown, WatchExpired, WorkflowGone
from bridge.domain.events import EventDraft, status
from bridge.domain.progress import FollowState, Gate, advance
from bridge.domain.runs import Run, RunChanges, RunStatus
from bridge.domain.workflows import Node, Snapshot
from bridge.ports import Chance, Clock, RunStore, WatchEvent, WorkflowEngine
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal
from bridge.services.tasks import Tasks

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tracked:
    """What is in memory of one open run."""

    run_id: str
    workflow: str
    uid: str | None
    gate: Gate | None
    state: FollowState
    status: RunStatus
    since: float
    progress: str | None = None
    phase: str | None = None
    ending: bool = False


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
        self.connected = False
        self.on_ended: Callable[[str, Snapshot], object] = lambda _run, _snapshot: None
        self.on_lost: Callable[[str], object] = lambda _run: None
        self.on_stuck: Callable[[str], object] = lambda _run: None
        self.on_nodes: Callable[[str, Snapshot, Iterable[Node]], object] = lambda *_: None

    def __len__(self) -> int:
        return len(self._tracked)

    # --- which runs ------------------------------------------------------------------------

    def track(self, run: Run, *, definition: ActionDefinition) -> None:
        """Follow *run* from what it has been told already."""
        approval = definition.spec.approval
        self._names[run.workflow_name] = run.id
        self._tracked[run.id] = Tracked(
            run_id=run.id,
            workflow=run.workflow_name,
            uid=run.workflow_uid,
            gate=Gate(approval.node, approval.by) if approval else None,
            state=FollowState.from_json(run.state),
            status=run.status,
            since=self._clock.monotonic(),
            progress=run.progress,
            phase=run.phase,
        )

    def created(self, run: Run, snapshot: Snapshot) -> None:
        """Take the answer to a creation like any other snapshot."""
        tracked = self._tracked.get(run.id)
        if tracked is not None:
            self._apply(tracked, snapshot)

    def forget(self, run_id: str) -> None:
        """Stop following."""
        tracked = self._tracked.pop(run_id, None)
        if tracked is not None:
            self._names.pop(tracked.workflow, None)

    def tell_lines(
        self, run_id: str, *, pod: str, cursor: str, lines: Iterable[EventDraft]
    ) -> None:
        """Write pod lines and how far they reach in one commit, so that none comes twice."""
        tracked = self._tracked.get(run_id)
        if tracked is None:
            return
        tracked.state = replace(tracked.state, logs={**tracked.state.logs, pod: cursor})
        self._commit(tracked, lines, RunChanges(state=tracked.state.to_json()))

    def cursor(self, run_id: str, *, pod: str) -> str:
        """The time of the last line told of *pod*; empty if none was."""
        tracked = self._tracked.get(run_id)
        return tracked.state.logs.get(pod, "") if tracked else ""

    # --- the loop --------------------------------------------------------------------------

    async def follow(self) -> None:
        """List and watch for ever; every way in which a watch ends leads back here."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.2, longest=15.0)
        while True:
            try:
                listing = await self._engine.listing()
                self._reconcile(listing.snapshots)
                self.connected = True
                backoff.reset()
                await self._watch(listing.resource_version)
            except WatchExpired:
                _log.info("watch position expired, listing again")
            except BridgeError as error:
                self.connected = False
                _log.warning("cannot follow", extra={"reason": error.detail, "code": error.code})
                await backoff.wait(at_least=error.retry_after or 0)

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
            if version == before:
                await self._clock.sleep(self._chance.jitter(0.2))

    def _seen(self, event: WatchEvent) -> None:
        tracked = self._tracked.get(self._names.get(event.snapshot.name, ""))
        if event.type == "BOOKMARK" or tracked is None:
            return
        self._apply(tracked, event.snapshot)
        if event.type == "DELETED" and not tracked.ending:
            self._tasks.spawn(self._look_up(tracked), name=f"look-up {tracked.run_id}")

    def _reconcile(self, snapshots: Iterable[Snapshot]) -> None:
        """Compare everything tracked with everything there is."""
        there = {snapshot.name: snapshot for snapshot in snapshots}
        for tracked in tuple(self._tracked.values()):
            snapshot = there.get(tracked.workflow)
            if snapshot is not None:
                self._apply(tracked, snapshot)
            elif tracked.uid is not None and not tracked.ending:
                self._tasks.spawn(self._look_up(tracked), name=f"look-up {tracked.run_id}")

    async def _look_up(self, tracked: Tracked) -> None:
        """The workflow is not among the live ones: it is archived, or lost."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        while not tracked.ending and tracked.run_id in self._tracked:
            try:
                snapshot = await self._engine.get(tracked.workflow, uid=tracked.uid)
            except WorkflowGone:
                tracked.ending = True
                self.on_lost(tracked.run_id)
                return
            except BridgeError:
                await backoff.wait()
            else:
                if snapshot.uid != tracked.uid:
                    tracked.ending = True
                    self.on_lost(tracked.run_id)
                else:
                    self._apply(tracked, snapshot)
                return

    async def watch_for_stuck(self, *, every: float) -> None:
        """Report, for ever, runs whose workflow never gets a phase (argo-recordings, 1.10)."""
        while True:
            await self._clock.sleep(every)
            now = self._clock.monotonic()
            for tracked in tuple(self._tracked.values()):
                idle = tracked.uid is not None and not tracked.phase and not tracked.ending
                if idle and now - tracked.since > self._patience:
                    tracked.ending = True
                    self.on_stuck(tracked.run_id)

    # --- one snapshot ----------------------------------------------------------------------

    def _apply(self, tracked: Tracked, snapshot: Snapshot) -> None:
        if tracked.ending or (tracked.uid is not None and snapshot.uid != tracked.uid):
            return
        step = advance(tracked.state, snapshot, gate=tracked.gate)
        now_status = RunStatus.WAITING if snapshot.suspended else RunStatus.RUNNING
        new_status = now_status if now_status is not tracked.status else None
        moved = new_status is not None or snapshot.progress != tracked.progress
        events = list(step.events)
        if moved:
            events.append(status(now_status, progress=snapshot.progress))
        known = tracked.uid == snapshot.uid and tracked.phase == snapshot.phase
        if events or not known or step.state is not tracked.state:
            tracked.state, tracked.status = step.state, now_status
            tracked.uid, tracked.phase = snapshot.uid, snapshot.phase
            tracked.progress = snapshot.progress
            changes = RunChanges(
                status=new_status,
                workflow_uid=snapshot.uid,
                phase=snapshot.phase,
                progress=snapshot.progress,
                state=step.state.to_json() if step.changed else None,
            )
            self._commit(tracked, events, changes)
        if step.changed:
            self.on_nodes(tracked.run_id, snapshot, step.changed)
        if snapshot.ended:
            tracked.ending = True
            self.on_ended(tracked.run_id, snapshot)

    def _commit(self, tracked: Tracked, events: Iterable[EventDraft], changes: RunChanges) -> None:
        written = self._journal.write(tracked.run_id, *events, changes=changes)
        written.add_done_callback(partial(self._committed, tracked))

    def _committed(self, tracked: Tracked, written: asyncio.Future[Run | None]) -> None:
        if not written.cancelled() and (error := written.exception()) is not None:
            _log.error("commit failed", exc_info=error, extra={"run": tracked.run_id})
            self._tasks.spawn(self._catch_up(tracked), name=f"catch up {tracked.run_id}")

    async def _catch_up(self, tracked: Tracked) -> None:
        """Memory is ahead of the store: go back to what is stored and look again."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        while tracked.run_id in self._tracked:
            try:
                run = await self._store.run(tracked.run_id)
                snapshot = await self._engine.get(tracked.workflow, uid=tracked.uid)
            except (RunUnknown, WorkflowGone):
                return
            except BridgeError:
                await backoff.wait()
            else:
                tracked.state = FollowState.from_json(run.state)
                tracked.status, tracked.progress = run.status, run.progress
                tracked.phase, tracked.ending = run.phase, run.finished
                self._apply(tracked, snapshot)
                return
