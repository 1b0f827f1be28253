"""Every recorded answer of a real Argo Server that the bridge's calls can meet, replayed.

What is expected is worked out here from the recorded text, not with the adapter's own code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from bridge.adapters.argo import ArgoEngine
from bridge.domain.errors import (
    EngineError,
    EngineForbidden,
    EngineUnavailable,
    EngineUnreached,
    GateClosed,
    TemplateMissing,
    WatchExpired,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.ports import WatchEvent
from tests.adapters.argo import approve, engine_at, engine_for
from tests.adapters.replay import RECORDINGS, Exchange, Reply, exchanges

REPLAYED = "replayed"
ONLY_SUBMIT = "only POST …/submit, which the bridge never calls"
ONLY_CASES = "values put into templates and what came of them: no answer of its own"

TABLE: Mapping[str, str] = {
    "archived-workflows": "only /archived-workflows; the bridge asks GET …/{name}?uid= instead",
    "auth": REPLAYED,
    "auth-client-mode-only": REPLAYED,
    "concurrent-requests": "counts of answers; the bridge's own: test_a_conflict_is_tried_again",
    "create-workflow": REPLAYED,
    "enum-not-checked": REPLAYED,
    "events-endpoint": REPLAYED,
    "failures": REPLAYED,
    "fan-out": REPLAYED,
    "get-workflow": REPLAYED,
    "http-template": REPLAYED,
    "injection-manifest": ONLY_CASES,
    "injection-namespace-provisioning": REPLAYED,
    "injection-shell": ONLY_CASES,
    "injection-when": ONLY_CASES,
    "list-workflows": REPLAYED,
    "log-completed": REPLAYED,
    "log-follow": REPLAYED,
    "log-long-lines": REPLAYED,
    "log-pod-gc": REPLAYED,
    "long-running-log": REPLAYED,
    "mutex": REPLAYED,
    "parameter-values": ONLY_CASES,
    "provisioning-failure": REPLAYED,
    "provisioning-ok": REPLAYED,
    "provisioning-production": REPLAYED,
    "rate-limit": REPLAYED,
    "resubmit": REPLAYED,
    "resume-without-output": REPLAYED,
    "retry": REPLAYED,
    "server-info": REPLAYED,
    "stop-terminate": REPLAYED,
    "stream-events": "only /stream/events, which the bridge never calls",
    "stuck-without-phase": REPLAYED,
    "submit-dry-run": REPLAYED,
    "submit-generate-name": ONLY_SUBMIT,
    "submit-invalid-name-or-label": ONLY_SUBMIT,
    "submit-malformed-body": ONLY_SUBMIT,
    "submit-ok": REPLAYED,
    "submit-parameters": ONLY_SUBMIT,
    "submit-same-name-twice": REPLAYED,
    "submit-size": REPLAYED,
    "submit-unknown-template": ONLY_SUBMIT,
    "suspend-duration": REPLAYED,
    "suspend-resume": REPLAYED,
    "suspend-set-outputs": REPLAYED,
    "watch-250-limit": "no answer at all: test_a_server_that_hangs_is_unavailable",
    "watch-accept": REPLAYED,
    "watch-delete": REPLAYED,
    "watch-fieldselector": REPLAYED,
    "watch-idle": REPLAYED,
    "watch-idle-long": REPLAYED,
    "watch-labelselector": REPLAYED,
    "watch-resourceversion": REPLAYED,
    "watch-server-restart": REPLAYED,
    "watch-slow-reader": REPLAYED,
    "watch-ttl-deletion": REPLAYED,
    "workflow-templates": REPLAYED,
}

EVERY = [
    exchange
    for recording, how in TABLE.items()
    if how == REPLAYED
    for exchange in exchanges(recording)
]


@dataclass(frozen=True, slots=True)
class Row:
    """What a failed answer means: the error, or None where it is as good as done."""

    status: int
    fragment: str
    error: type[EngineError] | None
    calls: frozenset[str]


UNARY = frozenset(
    {"create", "get", "list", "stop", "terminate", "set", "retry", "delete", "template"}
)
STREAM = frozenset({"watch", "log"})
CONTROL = frozenset({"stop", "terminate"})
ROWS = (
    Row(401, 'message":"Unauthorized"', EngineForbidden, UNARY | STREAM),
    Row(401, "token not valid", EngineForbidden, UNARY | STREAM),
    Row(403, "is forbidden", EngineForbidden, UNARY | STREAM),
    Row(403, "ermission denied", EngineForbidden, UNARY),
    Row(404, "workflowtemplates.argoproj.io", TemplateMissing, frozenset({"create"})),
    Row(404, "workflowtemplates.argoproj.io", WorkflowGone, frozenset({"template"})),
    Row(404, "workflows.argoproj.io", WorkflowGone, CONTROL | STREAM | {"get", "retry"}),
    Row(404, "workflows.argoproj.io", None, frozenset({"delete"})),
    Row(409, "already exists", WorkflowExists, frozenset({"create"})),
    Row(400, "is required", WorkflowRejected, frozenset({"create"})),
    Row(400, "is invalid", WorkflowRejected, frozenset({"create"})),
    Row(400, "Request entity too large", WorkflowRejected, frozenset({"create"})),
    Row(500, "etcdserver: request is too large", WorkflowRejected, frozenset({"create"})),
    Row(500, "nil pointer dereference", WorkflowGone, frozenset({"get"})),
    Row(500, "cannot shutdown a completed workflow", None, CONTROL),
    Row(500, "no suspend nodes matching", GateClosed, frozenset({"set"})),
    Row(500, "node is not expecting output", WorkflowRejected, frozenset({"set"})),
    # A look at the gate follows, which fails alike here; with a true one further below.
    Row(500, "or it was already set", EngineUnavailable, frozenset({"set"})),
    Row(400, "Cannot retry a workflow in phase", WorkflowRejected, frozenset({"retry"})),
    Row(400, "To retry a succeeded workflow", WorkflowRejected, frozenset({"retry"})),
    Row(500, "malformed workflow template", EngineUnavailable, frozenset({"template"})),
    Row(501, "Not Implemented", EngineUnavailable, frozenset({"get"})),
    Row(503, "connection error", EngineUnreached, frozenset({"get", "watch"})),
    Row(429, "Too Many Requests\n", EngineUnreached, frozenset({"get", "watch"})),
    Row(429, "EOF", None, frozenset({"watch"})),
    Row(400, "too old resource version", WatchExpired, frozenset({"watch"})),
    Row(400, "unable to parse requirement", WorkflowRejected, frozenset({"list", "watch"})),
    Row(400, "data: {}", WorkflowRejected, frozenset({"watch"})),
    Row(200, "<html", EngineUnavailable, frozenset({"get"})),
)


def rows_for(exchange: Exchange) -> list[Row]:
    """The rows that speak of a failed answer."""
    return [
        row
        for row in ROWS
        if row.status == exchange.status
        and exchange.call in row.calls
        and row.fragment in exchange.text
    ]


def failed(exchange: Exchange) -> bool:
    """Whether the recorded answer is no success."""
    html = "html" in exchange.raw["headers"].get("Content-Type", "")
    return exchange.status != 200 or html


def frames_of(exchange: Exchange) -> list[Any]:
    """The JSON objects of a recorded stream, in either framing."""
    lines = [line.removeprefix("data: ") for line in exchange.text.split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


async def perform(engine: ArgoEngine, call: str) -> Any:
    """One unary call of the bridge."""
    match call:
        case "create":
            return (await engine.create({"metadata": {"name": "wf"}})).raw
        case "get":
            return (await engine.get("wf", uid="u")).raw
        case "list":
            found = await engine.listing()
            return [s.raw for s in found.snapshots], found.resource_version
        case "stop" | "terminate":
            return await engine.stop("wf", terminate=call == "terminate")
        case "set":
            return await approve(engine, {"approve": "YES"})
        case "retry":
            return (await engine.retry("wf")).raw
        case "delete":
            return await engine.delete("wf")
        case "template":
            return await engine.silent_templates("t")
        case _:
            raise AssertionError(call)


async def read_stream(engine: ArgoEngine, call: str, *, most: int | None = None) -> list[Any]:
    """What the bridge reads of a stream: watch events, or the texts of log lines."""
    seen: list[Any] = []
    if most == 0:
        return seen
    if call == "watch":
        async with engine.watch(resource_version="1") as events:
            async for event in events:
                seen.append(event)
                if len(seen) == most:
                    break
        return seen
    async with engine.logs("wf", pod="p", follow=True) as batches:
        async for batch in batches:
            seen.extend(line.text for line in batch)
    return seen


def expected_value(exchange: Exchange) -> Any:
    """What a successful unary answer says."""
    body = json.loads(exchange.text)
    match exchange.call:
        case "create" | "get" | "retry":
            return body
        case "list":
            return body["items"] or [], body["metadata"].get("resourceVersion", "")
        case "template":
            templates = body["spec"]["templates"]
            return frozenset(t["name"] for t in templates if "resource" in t)
        case _:
            return None


def expected_items(exchange: Exchange) -> list[Any]:
    """What a recorded stream tells: events as (type, object), or texts of lines."""
    results = [frame["result"] for frame in frames_of(exchange) if "result" in frame]
    if exchange.call == "watch":
        return [(result["type"], result["object"]) for result in results if "type" in result]
    texts = [result.get("content", "") for result in results]
    stamped = "timestamps=true" in exchange.raw["request"]
    return [text.partition(" ")[2] for text in texts] if stamped else texts


def plain(items: list[Any]) -> list[Any]:
    """Watch events as pairs; everything else as it is."""
    return [(i.type, i.snapshot.raw) if isinstance(i, WatchEvent) else i for i in items]


def test_every_recording_is_replayed_or_has_a_reason():
    """No answer of a real server is forgotten: the table and the files agree."""
    kept = {path.stem for path in RECORDINGS.glob("*.json")}
    assert kept == {name for name, how in TABLE.items() if how == REPLAYED}
    assert len(TABLE) == 58


def test_every_failed_answer_has_one_meaning():
    """No recorded failure is left to chance, and no row stands for something never recorded."""
    failures = [exchange for exchange in EVERY if failed(exchange)]
    assert [str(e) for e in failures if len(rows_for(e)) != 1] == []
    used = {row for exchange in failures for row in rows_for(exchange)}
    assert [row for row in ROWS if row not in used] == []


@pytest.mark.parametrize("exchange", [e for e in EVERY if failed(e)], ids=str)
async def test_a_recorded_failure_becomes_the_right_error(exchange: Exchange):
    """The user is told what went wrong, and what can be tried again is tried again."""
    (row,) = rows_for(exchange)
    async with engine_for([exchange.reply]) as rig:
        asked = (
            read_stream(rig.engine, exchange.call)
            if exchange.call in STREAM
            else perform(rig.engine, exchange.call)
        )
        if row.error is None:
            assert not await asked
            return
        with pytest.raises(EngineError) as caught:
            await asked
    assert type(caught.value) is row.error
    message = json.loads(exchange.text).get("message") if exchange.text[0] == "{" else None
    assert (message or "") in caught.value.detail


@pytest.mark.parametrize(
    "exchange", [e for e in EVERY if e.call in UNARY and not failed(e)], ids=str
)
async def test_a_recorded_answer_is_read_as_it_stands(exchange: Exchange):
    """Workflows, lists and templates reach the bridge exactly as Argo told them."""
    async with engine_for([exchange.reply]) as rig:
        assert await perform(rig.engine, exchange.call) == expected_value(exchange)


@pytest.mark.parametrize(
    "exchange", [e for e in EVERY if e.call in STREAM and e.status == 200], ids=str
)
async def test_a_recorded_stream_is_read_to_its_end(exchange: Exchange):
    """Every event and line arrives once and in order, and the end is taken for what it is."""
    expected = expected_items(exchange)
    async with engine_for([exchange.reply]) as rig:
        if exchange.end == "open":
            seen = await read_stream(rig.engine, exchange.call, most=len(expected))
        elif exchange.end == "cut":
            seen = []
            with pytest.raises(EngineUnavailable, match="not reachable"):
                await read_into(seen, rig.engine, exchange.call)
        else:
            seen = await read_stream(rig.engine, exchange.call)
    assert plain(seen) == expected


async def read_into(seen: list[Any], engine: ArgoEngine, call: str) -> None:
    """Like read_stream, keeping what was read before an error."""
    if call == "watch":
        async with engine.watch(resource_version="1") as events:
            async for event in events:
                seen.append(event)  # noqa: PERF401 - what came before an error is wanted
    else:
        async with engine.logs("wf", pod="p", follow=True) as batches:
            async for batch in batches:
                seen.extend(line.text for line in batch)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize(
    "exchange",
    [e for e in EVERY if e.recording in {"watch-accept", "log-follow"} and e.status == 200],
    ids=str,
)
async def test_chunk_boundaries_do_not_matter(exchange: Exchange, size: int):
    """Events come through whatever a proxy does to the chunks of a stream."""
    data = exchange.text.encode()
    chunks = tuple(data[at : at + size] for at in range(0, len(data), size))
    reply = Reply(200, exchange.raw["headers"], chunks=chunks, end="final chunk")
    async with engine_for([reply]) as rig:
        assert plain(await read_stream(rig.engine, exchange.call)) == expected_items(exchange)


async def test_a_silent_stream_is_given_up():
    """A watch that only seems alive is opened again instead of being trusted for ever."""
    idle = next(e for e in exchanges("watch-idle") if e.call == "watch" and e.text == ":\n" * 7)
    async with engine_for([idle.reply], patience=0.2) as rig:
        with pytest.raises(EngineUnavailable, match="ReadTimeout"):
            await read_stream(rig.engine, "watch")


@pytest.mark.parametrize("call", sorted(UNARY))
async def test_a_server_that_hangs_is_unavailable(call: str):
    """With 250 streams open a real server answers nothing at all; the bridge goes on."""
    async with engine_for([Reply(end="silence")], patience=0.2) as rig:
        with pytest.raises(EngineUnavailable, match="ReadTimeout"):
            await perform(rig.engine, call)


async def test_a_refused_connection_is_unreached():
    """While Argo restarts its port is closed; that is no reason to fail a run, nor to doubt it."""
    async with engine_at("http://127.0.0.1:9") as engine:
        with pytest.raises(EngineUnreached, match="not reachable"):
            await engine.ping()
        with pytest.raises(EngineUnreached, match="not reachable"):
            await read_stream(engine, "watch")
