"""One trace: from the header of a request to the annotation of the workflow, and to its spans."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge import tracing
from bridge.adapters.http import client
from bridge.adapters.memory import MemoryStore
from bridge.adapters.opentelemetry import OpenTelemetryTracer
from bridge.bootstrap import open_bridge
from bridge.domain.errors import StoreUnavailable
from bridge.domain.events import Event, EventDraft, done, log
from bridge.domain.runs import RunStatus
from bridge.domain.traces import RunSpan
from bridge.localargo import LocalArgoSettings, serve, serve_app
from bridge.services import spans as run_spans
from bridge.services.spans import RunSpans
from bridge.tracing import Untraced, open_tracer
from tests.domain.making import NOW, a_run
from tests.web.making import AUTHORIZED, settings_for

ACTIONS = Path(__file__).parents[1] / "scenarios" / "actions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01"
ANNOTATION = "bridge/traceparent"


@dataclass(frozen=True, slots=True)
class Traced:
    """A bridge with a real Argo behind it, and the spans that were exported."""

    http: httpx.AsyncClient
    argo: httpx.AsyncClient
    exporter: InMemorySpanExporter

    async def run(self, action: str = "work:entity", **headers: str) -> dict[str, Any]:
        """Ask for a run and wait for its end; the run."""
        body = {"action": action, "input": {"name": "thing"}}
        accepted = await self.http.post("/v1/runs", json=body, headers=headers)
        assert accepted.status_code == 202, accepted.text
        path = accepted.json()["links"]["self"]
        async with asyncio.timeout(20):
            while True:
                run: dict[str, Any] = (await self.http.get(path)).json()
                if run["finishedAt"] is not None:
                    return run
                if run["status"] == "waiting":
                    await self.http.post(f"{path}/cancel", json={})
                await asyncio.sleep(0.01)

    async def annotations(self, run: dict[str, Any]) -> dict[str, str]:
        """Those of the run's workflow in Argo."""
        name = run["workflow"]["name"]
        workflow = (await self.argo.get(f"/api/v1/workflows/argo-workflows/{name}")).json()
        annotations: dict[str, str] = workflow["metadata"]["annotations"]
        return annotations

    def spans(self) -> dict[str, ReadableSpan]:
        """The exported spans by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}


@asynccontextmanager
async def traced(*, recorded: bool = True) -> AsyncIterator[Traced]:
    """The application over HTTP semantics, the embedded Argo over real HTTP."""
    exporter = InMemorySpanExporter()
    tracer = OpenTelemetryTracer(SimpleSpanProcessor(exporter))
    async with serve(LocalArgoSettings(templates=(ACTIONS,), log_seconds=0.01)) as argo_url:
        settings = settings_for(actions=ACTIONS, argo_url=argo_url, secret_key="k" * 32)
        given = {"tracer": tracer} if recorded else {}
        async with open_bridge(settings, store=MemoryStore(), **given) as bridge:
            app = bridge.app()
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(
                    transport=transport, base_url="http://bridge", headers=AUTHORIZED
                ) as http,
                client(argo_url, timeout=10, connections=2) as argo,
            ):
                yield Traced(http, argo, exporter)
    tracer.close()


async def test_one_trace_from_the_request_to_the_workflow():
    """Who opens the trace of a form sees the request, each stage of the run, and the workflow."""
    async with traced() as stage:
        run = await stage.run(traceparent=HEADER)
        annotation = (await stage.annotations(run))[ANNOTATION]
        spans = stage.spans()
    assert set(spans) == {"POST /v1/runs", "run work:entity", "submit", "follow", "register"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    request, whole = spans["POST /v1/runs"], spans["run work:entity"]
    assert (f"{request.parent.span_id:016x}", request.kind) == (PARENT, SpanKind.SERVER)
    assert annotation == f"00-{TRACE}-{request.context.span_id:016x}-01"
    assert whole.parent.span_id == request.context.span_id
    assert whole.attributes["bridge.run"] == run["id"]
    assert whole.attributes["bridge.outcome"] == run["status"] == "succeeded"
    assert whole.status.status_code is StatusCode.UNSET
    stages = [spans[name] for name in ("submit", "follow", "register")]
    assert {stage.parent.span_id for stage in stages} == {whole.context.span_id}
    assert stages[0].start_time == whole.start_time
    assert [stage.end_time for stage in stages[:2]] == [stage.start_time for stage in stages[1:]]
    assert stages[-1].end_time == whole.end_time


async def test_a_trace_that_nobody_records_goes_on_all_the_same():
    """Without the extra, the workflow still names the trace that Backstage began."""
    async with traced(recorded=False) as stage:
        annotations = await stage.annotations(await stage.run(traceparent=HEADER))
        assert stage.spans() == {}
    assert annotations[ANNOTATION] == HEADER


async def test_without_a_trace_one_begins_here():
    """A request without a header is traced from the bridge on."""
    async with traced() as stage:
        annotation = (await stage.annotations(await stage.run()))[ANNOTATION]
        request = stage.spans()["POST /v1/runs"]
    assert request.parent is None
    assert annotation.split("-")[1] == f"{request.context.trace_id:032x}"


@pytest.mark.parametrize(
    "header", ["00-{{workflow.name}}", f"00-{'0' * 32}-{PARENT}-01", "x" * 4_000]
)
async def test_a_hostile_header_is_left_out(header: str):
    """What is no trace reaches nobody, and the run is made all the same."""
    async with traced(recorded=False) as stage:
        annotations = await stage.annotations(await stage.run(traceparent=header))
    assert ANNOTATION not in annotations


async def test_who_does_not_want_to_be_recorded_is_not():
    """A trace that was not sampled where it began is passed on, and costs no export."""
    async with traced() as stage:
        annotation = (await stage.annotations(await stage.run(traceparent=f"{HEADER[:-1]}0")))[
            ANNOTATION
        ]
        assert stage.spans() == {}
    assert (annotation[:35], annotation[-2:]) == (HEADER[:35], "00")


async def test_a_run_that_fails_is_marked_with_its_code():
    """Failed runs are found by their status, without the words of the form."""
    async with traced() as stage:
        run = await stage.run("work:steps")
        whole = stage.spans()["run work:steps"]
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.status.description == run["error"]["code"]


async def test_what_a_caller_gets_wrong_is_not_the_bridges_failure():
    """A refusal is told by its code; only faults of the bridge count as errors."""
    exporter = InMemorySpanExporter()
    tracer = OpenTelemetryTracer(SimpleSpanProcessor(exporter))
    async with traced() as stage:
        await stage.http.post("/v1/runs", json={"action": "none"})
        refused = stage.spans()["POST /v1/runs"]
    for error in (StoreUnavailable("away"), RuntimeError("a bug")):
        with pytest.raises(type(error)), tracer.request("x", parent=None):
            raise error
    assert refused.attributes["error.type"] == "action_unknown"
    assert refused.status.status_code is StatusCode.UNSET
    failed = exporter.get_finished_spans()
    assert [span.status.status_code for span in failed] == [StatusCode.ERROR] * 2
    tracer.close()


def test_stages_that_nobody_saw_are_left_out():
    """After a restart in the middle, a run still has its span, and only what was seen below it."""
    ended: list[RunSpan] = []

    class Noting(Untraced):
        def ended(self, span: RunSpan) -> None:
            ended.append(span)

    spans = RunSpans(Noting())
    run = a_run(RunStatus.WAITING, updated_at=NOW + timedelta(seconds=1))
    spans.published(run, [_event(log("a line"))])
    spans.published(replace(run, status=RunStatus.RUNNING), [_event(log("a line"))])
    over = replace(run, status=RunStatus.SUCCEEDED, updated_at=NOW + timedelta(seconds=9))
    spans.published(over, [_event(done(over, status=over.status, seconds=1, error=None))])
    spans.published(over, [])
    assert [stage.name for span in ended for stage in span.stages] == ["follow"]
    (follow,) = ended[0].stages
    assert (follow.end - follow.start).total_seconds() == 8


def test_runs_whose_ends_are_not_told_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    """Runs that other replicas went on with are forgotten, the oldest first."""
    monkeypatch.setattr(run_spans, "_REMEMBERED", 2)
    spans = RunSpans(Untraced())
    for number in range(5):
        spans.published(replace(a_run(), id=f"run-{number}"), [])
    assert list(spans._under) == ["run-3", "run-4"]


def _event(draft: EventDraft) -> Event:
    return Event("run", 1, NOW, draft)


# --- whether anybody records ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_nothing_is_recorded_unless_it_is_asked_for(environment: dict[str, str]):
    """The standard variables switch spans on and off."""
    async with open_tracer(environment) as tracer:
        assert tracer is None


async def test_spans_reach_the_collector_before_the_process_ends(monkeypatch: pytest.MonkeyPatch):
    """What was recorded last is sent at the end, to the address of the standard variable."""
    arrived: list[tuple[str, bytes]] = []

    async def take(request: Request) -> Response:
        arrived.append((request.url.path, await request.body()))
        return Response(status_code=200)

    app = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
    async with serve_app(app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "bridge-of-the-house")
        async with open_tracer(os.environ) as tracer:
            assert tracer is not None
            with tracer.request("POST /v1/runs", parent=HEADER) as trace:
                assert trace is not None
    ((path, body),) = arrived
    assert path == "/v1/traces"
    assert b"POST /v1/runs" in body
    assert b"bridge-of-the-house" in body
    assert bytes.fromhex(TRACE) in body


async def test_a_collector_that_is_away_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The process ends in time, and says that spans are lost."""
    held = threading.Event()
    monkeypatch.setattr(tracing, "_CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(OpenTelemetryTracer, "close", lambda _: held.wait(10))
    async with open_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}):
        pass
    held.set()
    assert "the last spans could not be sent in time" in caplog.text


async def test_a_missing_extra_is_said_once_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """An installation without the extra starts, and tells why there are no spans."""
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    async with open_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as tracer:
        assert tracer is None
    assert "the extra 'tracing' is not installed" in caplog.text


def test_without_being_asked_for_opentelemetry_is_not_even_loaded():
    """Who does not trace pays no memory for it."""
    script = "import sys, bridge.cli; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
