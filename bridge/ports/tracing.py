"""Who records spans, if anybody does.

Knows spans in domain terms. Must not know OpenTelemetry.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from bridge.domain.traces import RunSpan


class Tracer(Protocol):
    """Records spans. Nothing here may fail or wait: a trace is worth less than a request."""

    def request(self, name: str, *, parent: str | None) -> AbstractContextManager[str | None]:
        """A span for a request; gives the traceparent that goes on, which is *parent* without one.

        Args:
            name: Of the route.
            parent: A checked traceparent of the caller.
        """
        ...

    def ended(self, span: RunSpan) -> None:
        """Record a run that has ended, under the trace that it was asked for in."""
        ...
