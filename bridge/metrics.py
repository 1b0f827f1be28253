"""What is measured: the names, labels and buckets of all metrics, one registry for each bridge.

Knows prometheus_client, which nobody else does. Must not know the parts that are measured: they
call what they are given. Every label takes few values, none of which a caller can make up
(https://prometheus.io/docs/practices/naming/#labels).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

OUTCOMES = ("succeeded", "failed", "cancelled", "lost")
RESTARTS = ("rotated", "resync", "expired", "unavailable", "crashed")
REGISTRATIONS = ("registered", "retried", "rejected")

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAIT = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0)
_RUN = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0)
_CODES = frozenset(HTTPStatus)

M = TypeVar("M", Counter, Histogram)


class Metrics:
    """All metrics of one bridge; several bridges in one process share nothing."""

    def __init__(self, *, version: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """Args: *clock* gives seconds that only grow."""
        self.registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}
        """The labels of each of the bridge's own metrics."""
        self._clock = clock
        self._begun = clock()
        self._heard: dict[str, float] = {}
        self._children: dict[tuple[object, tuple[str, ...]], object] = {}
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._describe_runs()
        self._describe_argo()
        self._describe_readers()
        self._describe_requests()
        self._describe_state()
        self.build_info.labels(version).set(1)

    def _describe_runs(self) -> None:
        self.accepted = self._counter(
            "bridge_runs_accepted_total", "Runs that this replica accepted.", "action"
        )
        self.ended = self._counter(
            "bridge_runs_total",
            "Runs that this replica ended; outcome is succeeded, failed, cancelled or lost.",
            "action",
            "outcome",
        )
        self.open = self._gauge(
            "bridge_runs_open", "Open runs of this replica; the sum over replicas is all.", "status"
        )
        self.run_seconds = self._histogram(
            "bridge_run_duration_seconds", "From acceptance to the end.", _RUN, "action", "outcome"
        )
        self.queue_wait = self._histogram(
            "bridge_queue_wait_seconds",
            "From acceptance until the run's workflow is known to be there, a lock included.",
            _WAIT,
            "action",
        )
        self.lock_wait = self._histogram(
            "bridge_lock_wait_seconds",
            "From acceptance until a run has its lock; only runs that need one.",
            _WAIT,
            "action",
        )

    def _describe_argo(self) -> None:
        self.argo_requests = self._counter(
            "bridge_argo_requests_total",
            "Requests to the Argo Server, streams too; code is none if it did not answer.",
            "route",
            "method",
            "code",
        )
        self.argo_seconds = self._histogram(
            "bridge_argo_request_seconds",
            "Answers of the Argo Server to calls that are no streams; a free connection included.",
            _CALL,
            "route",
        )
        self.watch_connected = self._gauge(
            "bridge_watch_connected", "1 while the last look at Argo's workflows worked.", "target"
        )
        self.watch_age = self._gauge(
            "bridge_watch_last_frame_seconds",
            "Since when the watch has said nothing; Argo's keep-alives (every 15 s) count.",
            "target",
        )
        self.watch_restarts = self._counter(
            "bridge_watch_restarts_total",
            "Why a watch was begun again: rotated (by Argo), resync (time for a whole look), "
            "expired (its position), unavailable (Argo) or crashed (an answer nobody expected).",
            "target",
            "reason",
        )

    def _describe_readers(self) -> None:
        self.streams_open = self._gauge("bridge_streams_open", "Live streams of this replica.")
        self.delivery = self._histogram(
            "bridge_event_delivery_seconds",
            "From the commit of events until a waiting stream has them; of each commit the reader "
            "that is told last.",
            _FAST,
        )
        self.registrations = self._counter(
            "bridge_registrations_total",
            "Attempts to change the catalog for a run: registered (or removed; the run's last), "
            "retried (the catalog is away or slow) or rejected (it must be configured).",
            "outcome",
        )
        self.registering = self._gauge(
            "bridge_registering",
            "Runs of this replica whose work is done and wait for the catalog.",
        )

    def _describe_requests(self) -> None:
        self.http_requests = self._counter(
            "bridge_http_requests_total",
            "Answers of the bridge; route is the template of the address, or other.",
            "route",
            "method",
            "code",
        )
        self.http_seconds = self._histogram(
            "bridge_http_request_seconds", "Until an answer begins.", _FAST, "route"
        )
        self.store_seconds = self._histogram(
            "bridge_store_seconds",
            "The run store's work, waiting for its turn included; operation is read, append (to a "
            "run), accept or write (anything else).",
            _FAST,
            "operation",
        )

    def _describe_state(self) -> None:
        self.definitions = self._gauge(
            "bridge_definitions",
            "Actions in_use, and files that are broken: their last good version stays in use.",
            "state",
        )
        self.build_info = self._gauge("bridge_build_info", "1; tells the version.", "version")

    # --- what adapters tell ------------------------------------------------------------------

    def argo_answered(
        self, route: str, method: str, code: int | None, seconds: float | None
    ) -> None:
        """One request to Argo: *code* None if nothing was answered, *seconds* None of a stream."""
        self._child(self.argo_requests, route, method, code_label(code)).inc()
        if seconds is not None:
            self._child(self.argo_seconds, route).observe(seconds)

    def watch_heard(self, target: str) -> None:
        """The watch of *target* has said something, be it a keep-alive."""
        self._heard[target] = self._clock()

    def silence(self, target: str) -> float:
        """For how many seconds the watch of *target* has said nothing."""
        return self._clock() - self._heard.get(target, self._begun)

    def store_done(self, operation: str, seconds: float) -> None:
        """One operation of the run store."""
        self._child(self.store_seconds, operation).observe(seconds)

    def http_answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """One answer of the bridge, which began after *seconds*."""
        self._child(self.http_requests, route, method, code_label(code)).inc()
        self._child(self.http_seconds, route).observe(seconds)

    def _child(self, metric: M, *values: str) -> M:
        """``metric.labels(*values)``, which costs as much as a small request if asked each time."""
        found = self._children.get((metric, values))
        if found is None:
            found = self._children[metric, values] = metric.labels(*values)
        return cast("M", found)

    # --- what is shown -----------------------------------------------------------------------

    def text(self) -> bytes:
        """Everything in Prometheus' text format; may be called in a thread."""
        return generate_latest(_Shown(self.registry))

    def described(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        """Name, type, labels and description of every metric, those of the process too."""
        for metric in self.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            shown = next((tuple(sample.labels) for sample in metric.samples), ())
            yield name, metric.type, self.labels.get(name, shown), metric.documentation

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        self.labels[name] = labels
        return Counter(name, what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        self.labels[name] = labels
        return Gauge(name, what, labels, registry=self.registry)

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        self.labels[name] = labels
        return Histogram(name, what, labels, buckets=buckets, registry=self.registry)


class _Shown(Collector):
    """The registry without the times at which series began: as many again, and nobody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        for metric in self._registry.collect():
            created = f"{metric.name}_created"
            metric.samples = [sample for sample in metric.samples if sample.name != created]
            yield metric


def code_label(code: int | None) -> str:
    """An HTTP status as a label: a known one, ``other`` or ``none``."""
    if code is None:
        return "none"
    return str(code) if code in _CODES else "other"
