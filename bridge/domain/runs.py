"""What a run is and how it may move.

Knows the run's record, its states and the rules of exactly once (design, section 4;
research/reliability section 1). Must not know where records are kept or what Argo is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.domain.callers import DEFAULT_TENANT
from bridge.domain.entities import digest
from bridge.domain.errors import BridgeError, IdempotencyKeyReused, LeaseLost, LockHeld

RUN_LABEL = "bridge/run"
INSTANCE_LABEL = "bridge/instance"
ACTION_LABEL = "bridge/action"
WORKFLOW_OUTPUTS = "workflowOutputs"
"""In the state of a run that registers: what its workflow gave."""
_NAME_LIMIT = 63


class RunStatus(StrEnum):
    """Where a run stands."""

    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    RUNNING = "running"
    WAITING = "waiting"
    REGISTERING = "registering"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def finished(self) -> bool:
        """Whether nothing will happen any more."""
        return self in _FINISHED

    @property
    def before_workflow(self) -> bool:
        """Whether no workflow of the run has been seen yet."""
        return self in {RunStatus.ACCEPTED, RunStatus.SUBMITTING}

    def may_become(self, other: RunStatus) -> bool:
        """Whether the step from here to *other* exists; staying is always allowed."""
        return other is self or other in _NEXT[self]


_ENDS = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST})
_FINISHED = _ENDS | {RunStatus.SUCCEEDED}
_SEEN = frozenset({RunStatus.RUNNING, RunStatus.WAITING, RunStatus.REGISTERING})
_NEXT: Mapping[RunStatus, frozenset[RunStatus]] = {
    # Snapshots are coalesced: the first one seen may show an open gate, or the end. A run that
    # goes on with a workflow may see it before it has said anything itself.
    RunStatus.ACCEPTED: frozenset({RunStatus.SUBMITTING}) | _SEEN | _ENDS,
    RunStatus.SUBMITTING: _SEEN | _ENDS,
    RunStatus.RUNNING: frozenset({RunStatus.WAITING, RunStatus.REGISTERING}) | _ENDS,
    RunStatus.WAITING: frozenset({RunStatus.RUNNING, RunStatus.REGISTERING}) | _ENDS,
    RunStatus.REGISTERING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.LOST: frozenset(),
}


@dataclass(frozen=True, slots=True)
class RunContext:
    """Which Backstage task asked; all optional, none of it is trusted for identity."""

    task_id: str | None = None
    step_id: str | None = None
    template: str | None = None
    attempt: str | None = None
    """Which pressing of *Create* or *Retry* asks; opaque."""
    traceparent: str | None = None
    """The span that asked, as :func:`bridge.domain.traces.traceparent` gives it."""


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not succeed: a stable code and one sentence."""

    code: str
    message: str

    @classmethod
    def of(cls, error: BridgeError) -> RunError:
        """What a run keeps of an error."""
        return cls(code=error.code, message=error.detail)


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is known of a run at the moment it is accepted."""

    id: str
    action: str
    definition: Mapping[str, Any]
    definition_digest: str
    caller: str
    user: str | None
    key: str
    input: Mapping[str, Any]
    context: RunContext
    target: str
    namespace: str
    created_at: datetime
    tenant: str = DEFAULT_TENANT
    team: str | None = None
    lock: str | None = None
    may_queue: bool = False
    """Whether it waits for its lock; otherwise a held lock refuses it."""
    takes_over: Run | None = None
    """The ended run whose workflow is to go on: retried, not created."""
    another: bool = False
    """Whether another attempt is asked for in so many words."""
    reopened: bool = False
    """Whether somebody has retried that workflow in Argo already: it cannot be told to wait."""
    sealed: str | None = None
    """The secrets of the input, which ``input`` itself does not have, as they may be stored."""
    mark: str = ""
    """What is the same for the same secrets only."""

    @property
    def fingerprint(self) -> str:
        """Same action and input, same fingerprint; an edited definition does not break a replay."""
        return digest([self.action, self.input, *([self.mark] if self.mark else [])])

    @property
    def attempt(self) -> int:
        """The first, as far as is known before it is accepted."""
        return 1

    @property
    def workflow_uid(self) -> str | None:
        """Of the workflow that is to go on."""
        return self.takes_over.workflow_uid if self.takes_over is not None else None

    @property
    def workflow_name(self) -> str:
        """The deterministic name: creating it twice is one workflow (research/argo section 7)."""
        if self.takes_over is not None:
            return self.takes_over.workflow_name
        prefix = self.action.replace(":", "-").lower()[: _NAME_LIMIT - len(self.id) - 1]
        return f"{prefix.rstrip('-')}-{self.id}"


@dataclass(frozen=True, slots=True)
class Run:
    """The record of one run."""

    id: str
    action: str
    definition_digest: str
    status: RunStatus
    attempt: int
    caller: str
    user: str | None
    key: str
    fingerprint: str
    input: Mapping[str, Any]
    context: RunContext
    target: str
    namespace: str
    workflow_name: str
    created_at: datetime
    updated_at: datetime
    workflow_uid: str | None = None
    phase: str | None = None
    progress: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    entity_ref: str | None = None
    error: RunError | None = None
    finished_at: datetime | None = None
    cancel_requested_by: str | None = None
    cancel_requested_at: datetime | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    last_seq: int = 0
    lock: str | None = None
    holds_lock: bool = False
    owner: str = ""
    """The replica that may write this run."""
    fence: int = 1
    """Grows at each take-over; a write with an older one is refused."""
    doubt_since: datetime | None = None
    """When a creation was begun whose outcome may not be known."""
    takes_over: str | None = None
    """The run whose workflow this attempt goes on with."""
    superseded_by: str | None = None
    """The next attempt under the same key."""
    tenant: str = DEFAULT_TENANT
    team: str | None = None
    """Whom it belongs to, as a full entity ref in lower case."""

    @classmethod
    def accepted(
        cls, new: NewRun, *, attempt: int, owner: str = "", holds_lock: bool = False
    ) -> Run:
        """The first record of a run, which comes with its first event."""
        before = new.takes_over
        return cls(
            id=new.id,
            action=new.action,
            definition_digest=new.definition_digest,
            status=RunStatus.ACCEPTED,
            attempt=attempt,
            caller=new.caller,
            user=new.user,
            key=new.key,
            fingerprint=new.fingerprint,
            input=new.input,
            context=new.context,
            target=new.target,
            namespace=new.namespace,
            workflow_name=new.workflow_name,
            created_at=new.created_at,
            updated_at=new.created_at,
            workflow_uid=new.workflow_uid,
            state=before.state if before else {},
            last_seq=1,
            lock=new.lock,
            holds_lock=holds_lock,
            owner=owner,
            takes_over=before.id if before else None,
            tenant=new.tenant,
            team=new.team,
        )

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.status.finished

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked to cancel it."""
        return self.cancel_requested_at is not None


@dataclass(frozen=True, slots=True)
class RunChanges:
    """Fields to change in one commit; None leaves a field as it is."""

    status: RunStatus | None = None
    workflow_uid: str | None = None
    phase: str | None = None
    progress: str | None = None
    outputs: Mapping[str, Any] | None = None
    entity_ref: str | None = None
    error: RunError | None = None
    finished_at: datetime | None = None
    cancel_requested_by: str | None = None
    cancel_requested_at: datetime | None = None
    state: Mapping[str, Any] | None = None
    doubt_since: datetime | None = None

    def given(self) -> dict[str, Any]:
        """Only the fields that change."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


def apply_changes(
    run: Run, changes: RunChanges, *, now: datetime, events: int, fence: int | None
) -> Run | None:
    """The run after *changes* and *events* more events; None when the run has ended already.

    Args:
        run: As it is stored.
        changes: What to change.
        now: The time of the commit.
        events: How many events are added.
        fence: The writer's fence; None for a request of somebody who does not own the run.

    Raises:
        LeaseLost: Another replica has taken the run over since.
        ValueError: The status cannot become that one: a fault of the caller.
    """
    if fence is not None and fence != run.fence:
        raise LeaseLost(f"Another replica has taken over run {run.id}.")
    if run.finished:
        return None
    if changes.status is not None and not run.status.may_become(changes.status):
        raise ValueError(f"a run cannot go from {run.status} to {changes.status}")
    return replace(run, **changes.given(), updated_at=now, last_seq=run.last_seq + events)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What becomes of a request under its key: a new run, or the one that is there."""

    run: Run
    replayed: bool


def decide_acceptance(
    new: NewRun, *, latest: Run | None, holder: Run | None = None, owner: str = ""
) -> Acceptance:
    """Exactly once by key, one at a time by lock (table in research/reliability, section 1).

    Args:
        new: What was asked.
        latest: The latest attempt under the same caller, action and key, if any.
        holder: The open run that holds or awaits the lock of *new*, if any.
        owner: The replica that accepts.

    Raises:
        IdempotencyKeyReused: The key was used with other input, or by another person through
            the same service.
        LockHeld: Another run works on the same thing, and *new* may not wait for it.
    """
    if latest is not None:
        if _is_anothers(latest, new):
            raise IdempotencyKeyReused(
                "The Idempotency-Key was used by somebody else before; use a new key."
            )
        if latest.fingerprint != new.fingerprint:
            raise IdempotencyKeyReused(
                f"The Idempotency-Key was used for run {latest.id} with other input; use a new key."
            )
        if _is_answered_by(latest, new):
            return Acceptance(run=latest, replayed=True)
    if holder is not None and new.reopened:
        new = replace(new, lock=None)
    elif holder is not None and not new.may_queue:
        raise LockHeld(
            f"Run {holder.id} already works on {new.lock}; wait for its end, or cancel it.",
            run_id=holder.id,
        )
    attempt = latest.attempt + 1 if latest is not None else 1
    holds = new.lock is not None and holder is None
    run = Run.accepted(new, attempt=attempt, owner=owner, holds_lock=holds)
    return Acceptance(run=run, replayed=False)


def _is_anothers(latest: Run, new: NewRun) -> bool:
    """Whether another person asked; a service may ask again for whomever it asked for before."""
    if new.tenant != latest.tenant:
        return True
    return new.user is not None and new.user.lower() != (latest.user or "").lower()


def _is_answered_by(latest: Run, new: NewRun) -> bool:
    """Whether *new* asks for nothing that *latest* is not already."""
    if latest.status not in _ENDS:
        return True
    if new.takes_over is not None and new.takes_over.id != latest.id:
        return True  # somebody else was first to go on with that workflow
    # Who recovers asks again for what was begun; only who presses again wants another attempt.
    pressing = None if new.another else new.context.attempt
    return pressing is not None and pressing == latest.context.attempt
