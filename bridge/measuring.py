"""Where it is measured: from what the parts of a bridge tell to its metrics.

Knows services and metrics, and joins them; gauges are looked up when somebody asks. A part of the
composition root.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from math import inf

from bridge.domain.events import Event
from bridge.domain.runs import Run, RunStatus
from bridge.metrics import OUTCOMES, REGISTRATIONS, RESTARTS, Metrics
from bridge.ports import Clock
from bridge.services.actions import Actions
from bridge.services.follower import Follower
from bridge.services.registration import Registrar
from bridge.services.streams import Streams
from bridge.services.submission import Submitter

_KEPT_SECONDS = 1.0
"""A text is shown again for so long: whoever may read it could ask without end."""
_OPEN = tuple(status for status in RunStatus if not status.finished)


class RunMeter:
    """A subscriber that counts runs, and knows the open ones of this replica."""

    def __init__(self, metrics: Metrics, *, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._open: dict[str, RunStatus] = {}

    def accepted(self, run: Run) -> None:
        """A new run of this replica."""
        self._metrics.accepted.labels(run.action).inc()
        if run.holds_lock:
            self._metrics.lock_wait.labels(run.action).observe(0)
        self.take(run)

    def take(self, run: Run) -> None:
        """*run* is this replica's from now on."""
        self._open[run.id] = run.status

    def drop(self, run_id: str) -> None:
        """The run is another replica's."""
        self._open.pop(run_id, None)

    def locked(self, run: Run) -> None:
        """*run* has got its lock after a wait."""
        waited = _seconds(self._clock.now() - run.created_at)
        self._metrics.lock_wait.labels(run.action).observe(waited)

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """See Subscriber: count what has moved."""
        del events
        before = self._open.get(run.id)
        if run.finished:
            self.drop(run.id)
            self._metrics.ended.labels(run.action, str(run.status)).inc()
            self._metrics.run_seconds.labels(run.action, str(run.status)).observe(_age(run))
        elif before is not None and run.status is not before:
            self._open[run.id] = run.status
            if before.before_workflow and not run.status.before_workflow:
                self._metrics.queue_wait.labels(run.action).observe(_age(run))

    def open(self) -> Mapping[RunStatus, int]:
        """How many open runs of this replica have which status."""
        return Counter(self._open.values())


class Measured:
    """What is looked at when metrics are asked for, and the text of all of them."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        runs: RunMeter,
        streams: Streams,
        actions: Actions,
        registrar: Registrar,
        submitter: Submitter,
        followers: Mapping[str, Follower],
        clock: Clock,
    ) -> None:
        """Listen to the parts."""
        self._metrics = metrics
        self._runs = runs
        self._streams = streams
        self._actions = actions
        self._registrar = registrar
        self._followers = followers
        self._clock = clock
        self._making = asyncio.Lock()
        self._made_at = -inf
        self._text = b""
        streams.on_delivered = metrics.delivery.observe
        submitter.on_locked = runs.locked
        registered = {name: metrics.registrations.labels(name) for name in REGISTRATIONS}
        registrar.on_outcome = lambda outcome: registered[outcome].inc()
        for target, follower in followers.items():
            follower.on_restart = partial(self._restarted, target)
            for reason in RESTARTS:
                metrics.watch_restarts.labels(target, reason)

    def _restarted(self, target: str, reason: str) -> None:
        self._metrics.watch_restarts.labels(target, reason).inc()

    async def text(self) -> bytes:
        """All metrics as they are now, or were a second ago."""
        async with self._making:
            if self._clock.monotonic() - self._made_at >= _KEPT_SECONDS:
                self._look()
                # Thousands of series take milliseconds, in which no stream would be served.
                self._text = await asyncio.to_thread(self._metrics.text)
                self._made_at = self._clock.monotonic()
            return self._text

    def _look(self) -> None:
        metrics, catalogue = self._metrics, self._actions.catalogue
        for action in catalogue.actions:
            metrics.accepted.labels(action)
            for outcome in OUTCOMES:
                metrics.ended.labels(action, outcome)
        runs = self._runs.open()
        for status in _OPEN:
            metrics.open.labels(str(status)).set(runs.get(status, 0))
        for target, follower in self._followers.items():
            metrics.watch_connected.labels(target).set(follower.connected)
            metrics.watch_age.labels(target).set(metrics.silence(target))
        metrics.streams_open.set(len(self._streams))
        metrics.registering.set(len(self._registrar))
        metrics.definitions.labels("in_use").set(len(catalogue.actions))
        broken = {problem.file for problem in catalogue.problems}
        metrics.definitions.labels("broken").set(len(broken))


def _age(run: Run) -> float:
    return _seconds(run.updated_at - run.created_at)


def _seconds(time: timedelta) -> float:
    """Not below 0: clocks of replicas differ."""
    return max(time.total_seconds(), 0.0)
