"""Spans by OpenTelemetry, for installations with the extra ``tracing``.

Knows the SDK; imported only when it is asked for. Everything is configured by the standard
``OTEL_*`` variables, which the SDK reads itself. Must not know what a run is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bridge.domain.errors import BridgeError
from bridge.domain.traces import RunSpan

_SERVICE = "argo-bridge"
_SERVER_FAULT = 500
_HEADER = "traceparent"


class OpenTelemetryTracer:
    """A Tracer over the SDK; spans are sent in the background, and dropped when nobody takes them.

    No global of the SDK is set, so that a process may have several.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        """Args: *processor* takes ended spans; default: in batches to the OTLP endpoint."""
        own = Resource.create({SERVICE_NAME: _SERVICE})
        self._provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_SERVICE)
        self._headers = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str, *, parent: str | None) -> Iterator[str | None]:
        """See Tracer."""
        span = self._tracer.start_span(name, context=self._under(parent), kind=SpanKind.SERVER)
        carrier: dict[str, str] = {}
        self._headers.inject(carrier, context=set_span_in_context(span, Context()))
        try:
            yield carrier.get(_HEADER, parent)
        except Exception as error:
            _blame(span, error)
            raise
        finally:
            span.end()

    def ended(self, span: RunSpan) -> None:
        """See Tracer."""
        recorded = self._tracer.start_span(
            span.name,
            context=self._under(span.parent),
            attributes=span.attributes,
            start_time=_nanoseconds(span.start),
        )
        if span.error is not None:
            recorded.set_status(Status(StatusCode.ERROR, span.error))
        within = set_span_in_context(recorded, Context())
        for stage in span.stages:
            part = self._tracer.start_span(
                stage.name, context=within, start_time=_nanoseconds(stage.start)
            )
            part.end(_nanoseconds(stage.end))
        recorded.end(_nanoseconds(span.end))

    def close(self) -> None:
        """Send what is left; blocks for as long as the exporter's own timeouts allow."""
        self._provider.shutdown()

    def _under(self, parent: str | None) -> Context:
        carrier = {_HEADER: parent} if parent is not None else {}
        return self._headers.extract(carrier, context=Context())


def _blame(span: Span, error: Exception) -> None:
    """Mark a span of a request as failed if the bridge is at fault, not its caller."""
    if isinstance(error, BridgeError):
        span.set_attribute("error.type", error.code)
        if error.status < _SERVER_FAULT:
            return
    span.set_status(Status(StatusCode.ERROR))


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1_000
