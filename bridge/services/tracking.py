"""One followed run in memory: what was told of it, and what waits to be told.

Knows the order in which things reached us. Must not know how they are stored or where from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bridge.domain.actions import ActionDefinition
from bridge.domain.events import EventDraft
from bridge.domain.progress import FollowState, Gate
from bridge.domain.runs import Run, RunStatus
from bridge.domain.workflows import Node, Snapshot, number_of


@dataclass(frozen=True, slots=True)
class Lines:
    """Pod lines, and the time of the last of them."""

    pod: str
    cursor: str
    drafts: tuple[EventDraft, ...]


@dataclass(frozen=True, slots=True)
class ReadOut:
    """A pod has nothing more to tell; what it told before is stored when this is its turn."""

    number: str


Item = Snapshot | Lines | ReadOut


@dataclass(slots=True)
class Tracked:
    """What is in memory of one open run.

    ``writing`` says that a commit is under way or has failed; until it is settled everything
    waits in ``inbox``, so that the stored state never covers an event that is not stored.
    """

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
    begun: bool = True
    """Whether Argo itself has said that the workflow is this attempt's by now."""
    past_is_over: bool = False
    """Whether an end that looks like an earlier attempt's has been found to be this one's."""
    unseen: set[str] = field(default_factory=set)
    """Nodes that were told before we took the run up, and whose pods may have more to say."""
    writing: bool = False
    inbox: deque[Item] = field(default_factory=deque)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, run: Run, *, definition: ActionDefinition, since: float) -> Tracked:
        """From what was told of *run* already."""
        approval = definition.spec.approval
        tracked = cls(
            run_id=run.id,
            workflow=run.workflow_name,
            uid=run.workflow_uid,
            gate=Gate(approval.node, approval.by, approval.timeout) if approval else None,
            state=FollowState.from_json(run.state),
            status=run.status,
            since=since,
            progress=run.progress,
            phase=run.phase,
            begun=run.takes_over is None or not run.status.before_workflow,
        )
        tracked.unseen = tracked._unread()
        tracked.idle.set()
        return tracked

    def _unread(self) -> set[str]:
        read = self.state.read
        return {node_id for node_id in self.state.nodes if number_of(node_id) not in read}

    def take_back(self, run: Run) -> None:
        """Return to what is stored; a commit may have failed for us only."""
        self.uid, self.status = run.workflow_uid, run.status
        self.state = FollowState.from_json(run.state)
        self.progress, self.phase = run.progress, run.phase
        self.unseen = self._unread()
        self.inbox = deque(item for item in self.inbox if not self._has_told(item))

    def _has_told(self, item: Item) -> bool:
        told = self.state.logs.get(item.pod, "") if isinstance(item, Lines) else ""
        return isinstance(item, Lines) and bool(told) and item.cursor <= told

    def drop_snapshots(self) -> None:
        """Forget the snapshots that wait: a newer one is about to be fetched."""
        self.inbox = deque(item for item in self.inbox if not isinstance(item, Snapshot))

    def cursor(self, pod: str) -> str:
        """The time of the last line of *pod* that was told or waits to be; empty if none."""
        waiting = (
            item.cursor
            for item in reversed(self.inbox)
            if isinstance(item, Lines) and item.pod == pod
        )
        return next(waiting, self.state.logs.get(pod, ""))

    def overtaken(self, snapshot: Snapshot) -> bool:
        """Whether *snapshot* is another workflow's, or older than one that was seen.

        The answer to a creation has no phase, and the watch may be faster than it.
        """
        return self.is_foreign(snapshot) or bool(self.phase and not snapshot.phase)

    def is_past(self, snapshot: Snapshot) -> bool:
        """Whether *snapshot* may be an old picture, of an earlier attempt on the same workflow."""
        if self.past_is_over or (self.begun and not snapshot.ended):
            return False
        return self.state.is_past(snapshot)

    def is_foreign(self, snapshot: Snapshot) -> bool:
        """Whether somebody has made another workflow under the name."""
        return self.uid is not None and snapshot.uid != self.uid

    def to_look_at(self, snapshot: Snapshot, changed: Iterable[Node]) -> tuple[Node, ...]:
        """The nodes whose pods may have something to say.

        Who takes up what is stored also reads what was being read.
        """
        if not self.unseen and not snapshot.ended:
            return tuple(changed)
        known = {node.id for node in changed}
        found = [node for node in snapshot.nodes if node.id in self.unseen]
        self.unseen -= {node.id for node in found}
        taken_up = (
            node
            for node in (snapshot.nodes if snapshot.ended else found)
            if node.id not in known and (node in found or node.failed)
        )
        return (*changed, *taken_up)
