"""Where a run stands in a trace of somebody else's.

Knows the header ``traceparent`` of the W3C recommendation "Trace Context", section 3.2, and the
spans of a run. Pure: must not know who records them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.runs import Run, RunStatus

TRACE_ANNOTATION = "bridge/traceparent"
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(?P<more>-.*)?"
)
_LONGEST = 200
_STAGES: Mapping[RunStatus, str] = {
    RunStatus.ACCEPTED: "submit",
    RunStatus.SUBMITTING: "submit",
    RunStatus.RUNNING: "follow",
    RunStatus.WAITING: "follow",
    RunStatus.REGISTERING: "register",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run: ``submit``, ``follow`` or ``register``."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A run from its acceptance to its end, with those of its stages that were seen."""

    name: str
    parent: str | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int]
    error: str | None
    stages: tuple[Stage, ...]


def stage_of(status: RunStatus) -> str | None:
    """What is done to a run in a state; None when it has ended."""
    return _STAGES.get(status)


def traceparent(given: str | None) -> str | None:
    """The header as version 00 has it, or None for what is none.

    A later version is read as far as it is known. Whatever comes back consists of hexadecimal
    digits and dashes only, so it may be stored and sent anywhere.
    """
    if given is None or len(given) > _LONGEST:
        return None
    found = _TRACEPARENT.fullmatch(given)
    if found is None or (found["more"] is not None and given.startswith("00")):
        return None
    return f"00-{found['trace']}"


def span_of(run: Run, stages: tuple[Stage, ...], *, end: datetime) -> RunSpan:
    """The span of an ended run."""
    return RunSpan(
        name=f"run {run.action}",
        parent=run.context.traceparent,
        start=run.created_at,
        end=end,
        attributes={
            "bridge.run": run.id,
            "bridge.action": run.action,
            "bridge.attempt": run.attempt,
            "bridge.outcome": str(run.status),
            "argo.namespace": run.namespace,
            "argo.workflow": run.workflow_name,
        },
        error=None if run.status is RunStatus.SUCCEEDED else _code(run),
        stages=stages,
    )


def _code(run: Run) -> str:
    return run.error.code if run.error is not None else str(run.status)
