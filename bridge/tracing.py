"""Whether anybody records spans: from the ``OTEL_*`` variables to a tracer.

Knows which variables ask for spans. A part of the composition root. Without them, or without the
extra ``tracing``, traces are passed on and nothing is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from importlib.util import find_spec

from bridge.domain.traces import RunSpan
from bridge.ports import Tracer

_log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_CLOSE_SECONDS = 5.0


class Untraced:
    """A Tracer that records nothing."""

    @contextmanager
    def request(self, name: str, *, parent: str | None) -> Iterator[str | None]:
        """See Tracer."""
        del name
        yield parent

    def ended(self, span: RunSpan) -> None:
        """See Tracer."""


@asynccontextmanager
async def open_tracer(environment: Mapping[str, str]) -> AsyncIterator[Tracer | None]:
    """The tracer that the environment asks for, or None; what it holds at the end is sent."""
    if not _asked_for(environment):
        yield None
        return
    tracer = import_module("bridge.adapters.opentelemetry").OpenTelemetryTracer()
    try:
        yield tracer
    finally:
        closing = asyncio.to_thread(tracer.close)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closing
        except TimeoutError:
            _log.warning("the last spans could not be sent in time")


def _asked_for(environment: Mapping[str, str]) -> bool:
    if not any(environment.get(name) for name in _ENDPOINTS):
        return False
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    if find_spec("opentelemetry") is None:
        _log.warning("spans are asked for (OTEL_*), but the extra 'tracing' is not installed")
        return False
    return True
