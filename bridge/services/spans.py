"""From the states of a run to its spans, told once it has ended.

Knows in which stages a run is, as far as this process has seen it: what was before a restart is
left out, the run itself is not. Must not know who records them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from bridge.domain.events import Event
from bridge.domain.runs import Run
from bridge.domain.traces import Stage, span_of, stage_of
from bridge.ports import Tracer

_REMEMBERED = 20_000
"""Runs under way; those of others are told here too, and their ends are not."""


@dataclass(slots=True)
class _Under:
    """The stage that a run is in, and those that are behind it."""

    stage: str | None
    since: datetime
    stages: list[Stage] = field(default_factory=list)

    def now_in(self, stage: str | None, at: datetime) -> None:
        """Move on to another stage, if it is one."""
        if stage == self.stage:
            return
        if self.stage is not None:
            self.stages.append(Stage(self.stage, self.since, at))
        self.stage, self.since = stage, at


class RunSpans:
    """A subscriber that hands the span of each ended run to a tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._under: OrderedDict[str, _Under] = OrderedDict()

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """See Subscriber."""
        if not run.finished:
            self._moved(run)
        elif any(event.is_last for event in events):
            known = self._under.pop(run.id, None) or _Under(None, run.updated_at)
            known.now_in(None, run.updated_at)
            self._tracer.ended(span_of(run, tuple(known.stages), end=run.updated_at))

    def _moved(self, run: Run) -> None:
        stage, known = stage_of(run.status), self._under.get(run.id)
        if known is not None:
            known.now_in(stage, run.updated_at)
            return
        since = run.created_at if run.status.before_workflow else run.updated_at
        self._under[run.id] = _Under(stage, since)
        if len(self._under) > _REMEMBERED:
            self._under.popitem(last=False)
