"""The events of a run: what a reader of its stream sees.

Knows the event types of docs/reference/http-api.md. Must not know how they are stored or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bridge.domain.logs import clean
from bridge.domain.runs import Run, RunError, RunStatus

EventType = Literal["log", "step", "status", "approval", "output", "gap", "done"]
Level = Literal["debug", "info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event before it has its place in the run's order.

    Its message is for terminals and pages: no control characters, whoever wrote the words.
    """

    type: EventType
    message: str = ""
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Clean what would be no plain line."""
        if not self.message.isprintable():
            object.__setattr__(self, "message", clean(self.message))


@dataclass(frozen=True, slots=True)
class Event:
    """One durable event; ``seq`` counts from 1 without gaps within its run."""

    run_id: str
    seq: int
    time: datetime
    draft: EventDraft

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.draft.type == "done"


def log(
    message: str,
    *,
    level: Level = "info",
    source: Literal["bridge", "pod"] = "bridge",
    step: str | None = None,
) -> EventDraft:
    """A line."""
    return EventDraft("log", message, level, {"source": source, "step": step})


def status(new: RunStatus, *, progress: str | None = None) -> EventDraft:
    """A change of state; nothing to show, the steps around it speak for themselves."""
    return EventDraft("status", data={"status": str(new), "progress": progress})


def done(run: Run, *, status: RunStatus, seconds: float, error: RunError | None) -> EventDraft:
    """The last event, and the one line that sums the run up."""
    if status is RunStatus.SUCCEEDED:
        message = f"✓ {run.action} succeeded ({duration(seconds)})"
    elif status is RunStatus.CANCELLED:
        message = f"✗ {run.action} was cancelled"
    else:
        reason = error.message if error else "no reason is known"
        message = f"✗ {run.action} failed: {reason}"
    data = {
        "status": str(status),
        "outputs": dict(run.outputs),
        "entityRef": run.entity_ref,
        "error": {"code": error.code, "message": error.message} if error else None,
    }
    return EventDraft("done", message, "info" if status is RunStatus.SUCCEEDED else "error", data)


def with_gap(events: list[Event], *, after: int) -> list[Event]:
    """A page of stored events, with a word in front of it on what was removed by age, if any.

    The word takes the place of the last event that is missing, so that readers resume behind it.
    """
    if not events or events[0].seq == after + 1:
        return events
    first = events[0]
    missing = first.seq - after - 1
    message = f"… {missing} older line{'s' if missing > 1 else ''} of this run were removed by age"
    draft = EventDraft("gap", message, "warn", {"from": after + 1, "to": first.seq - 1})
    return [Event(first.run_id, first.seq - 1, first.time, draft), *events]


def duration(seconds: float) -> str:
    """Seconds for people: ``<1 s`` (Argo tells whole ones), ``0.8 s``, ``42 s``, ``3 min 5 s``."""
    if seconds == 0:
        return "<1 s"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth is worth showing
        return f"{seconds:.1f} s" if seconds % 1 else f"{int(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
