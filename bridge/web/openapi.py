"""The OpenAPI 3.1 document, made from the models and one table of operations.

Knows what docs/reference/http-api.md promises. Must not know how it is done; a test compares the
table with the routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge import __version__
from bridge.domain.runs import RunStatus
from bridge.web import bodies as b
from bridge.web import models as m
from bridge.web import platform_views as p
from bridge.web.audit import LINES
from bridge.web.readers import MAX_READER


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one path: its answers by status, with the models that a body may have."""

    method: str
    path: str
    summary: str
    answers: Mapping[int, tuple[type[BaseModel], ...]]
    problems: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    body_optional: bool = False
    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    largest: int = 200
    """Of the query's ``limit``."""
    media_type: str = "application/json"
    stream: str | None = None
    """Another type that an answer of 200 has when ``Accept`` asks for it."""
    open: bool = False


_AUTH = (401, 403, 503)
_VISIBLE: Mapping[str, Any] = {"type": "string", "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
_NUMBER: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9]{1,9}$"}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "status": {"type": "string", "enum": list(RunStatus)},
    "after": _NUMBER,
    "Last-Event-ID": _NUMBER,
    "Idempotency-Key": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "reader": {"type": "string", "pattern": f"^[ -~]{{1,{MAX_READER}}}$"},
}
"""What a parameter must look like; any other one is text without control characters."""
_READER = "/v1/runs/{run_id}/readers/{reader}"


def _command(verb: str, summary: str, body: type[BaseModel], *problems: int) -> Operation:
    """What somebody asks of a run: 202 while it is under way, 200 once there is nothing to do."""
    return Operation(
        "post",
        f"/v1/runs/{{run_id}}/{verb}",
        summary,
        {200: (m.RunView,), 202: (m.RunView,)},
        (400, *_AUTH, 404, *problems),
        body=body,
        body_optional=True,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/v1/actions", "All actions", {200: (), 304: ()}, _AUTH),
    Operation(
        "get", "/v1/actions/{action_id}", "One action", {200: (), 304: ()}, (400, *_AUTH, 404)
    ),
    Operation(
        "post",
        "/v1/runs",
        "Accept a run, replay one under its key, or preview one",
        {200: (m.RunView, m.PreviewView), 202: (m.RunView,)},
        (400, *_AUTH, 404, 409, 422),
        body=b.RunRequest,
        headers=("Idempotency-Key",),
    ),
    Operation(
        "get",
        "/v1/runs",
        "Runs, newest first",
        {200: (m.RunPage,)},
        (400, *_AUTH),
        query=("status", "action", "limit", "cursor"),
    ),
    Operation("get", "/v1/runs/{run_id}", "One run", {200: (m.RunDetails,)}, (400, *_AUTH, 404)),
    Operation(
        "get",
        "/v1/runs/{run_id}/events",
        "Events: a live stream with Accept: text/event-stream, else a page",
        {200: (m.EventPage,), 204: ()},
        (400, *_AUTH, 404),
        headers=("Last-Event-ID",),
        query=("after", "limit"),
        largest=1_000,
        stream="text/event-stream",
    ),
    _command("cancel", "End a run; its workflow rolls back", b.ReasonBody),
    _command("terminate", "End a run at once; nothing is rolled back", b.ReasonBody),
    _command("approve", "Let a waiting run go on", b.ApprovalBody, 409, 422, 502),
    _command("reject", "Let a waiting run fail", b.ReasonBody, 409, 502),
    _command("retry", "Try a run again that ended badly", b.RetryBody, 409, 422),
    Operation(
        "get",
        _READER,
        "How far a reader of this caller has come",
        {200: (m.ReaderView,)},
        (400, *_AUTH, 404),
    ),
    Operation(
        "put",
        _READER,
        "Remember how far a reader has come; it never goes back",
        {200: (m.ReaderView,)},
        (400, *_AUTH, 404),
        body=b.ReaderBody,
    ),
    Operation(
        "get",
        "/v1/audit",
        f"Who did what, newest first; everything as JSON lines with Accept: {LINES}",
        {200: (m.AuditPage,)},
        (400, *_AUTH),
        query=("run", "action", "user", "limit", "cursor"),
        stream=LINES,
    ),
    Operation(
        "post",
        "/api/platform/namespaces/request",
        "Ask for a namespace, or for the request under the same key",
        {201: (p.NamespaceRequestView,)},
        (400, *_AUTH, 404, 409, 422),
        body=p.NamespaceRequest,
        headers=("Idempotency-Key",),
    ),
    Operation(
        "get",
        "/api/platform/namespaces/request/{request_id}/status",
        "How a request for a namespace stands",
        {200: (p.NamespaceRequestView,)},
        (400, *_AUTH, 404),
    ),
    Operation(
        "get",
        "/api/v1/workflows",
        "The workflows of runs, newest first",
        {200: (p.WorkflowPage,)},
        (400, *_AUTH),
        query=("action", "limit", "cursor"),
    ),
    Operation(
        "post",
        "/api/v1/namespaces",
        "What a workflow reports of a namespace",
        {200: (b.NamespaceRecord,)},
        (400, *_AUTH),
        body=b.NamespaceRecord,
    ),
    Operation("get", "/api/v1/namespaces", "Reported namespaces", {200: (m.NamespacePage,)}, _AUTH),
    Operation(
        "get",
        "/catalog/all.yaml",
        "All entity documents",
        {200: (), 304: ()},
        (503,),
        media_type="application/yaml",
        open=True,
    ),
    Operation(
        "get",
        "/catalog/{kind}/{file}",
        "One entity document",
        {200: (), 304: ()},
        (400, 404, 503),
        media_type="application/yaml",
        open=True,
    ),
    Operation("get", "/healthz", "The process lives", {200: ()}, open=True),
    Operation(
        "get", "/readyz", "Send requests", {200: (m.HealthView,), 503: (m.HealthView,)}, open=True
    ),
    Operation(
        "get",
        "/metrics",
        "All metrics; with BRIDGE_METRICS_TOKEN for its bearer only",
        {200: ()},
        (401,),
        media_type="text/plain",
        open=True,
    ),
    Operation("get", "/openapi.json", "This document", {200: ()}, open=True),
)


def document(*, server: str) -> dict[str, Any]:
    """The whole document, for the address *server*."""
    bodies = {m.Problem} | {op.body for op in OPERATIONS if op.body}
    bodies |= {model for op in OPERATIONS for models in op.answers.values() for model in models}
    ordered = sorted(bodies, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in ordered],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Backstage Argo bridge", "version": __version__},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answers = {
        str(status): _answer(models, operation.media_type)
        for status, models in operation.answers.items()
    }
    if operation.stream is not None:
        answers["200"]["content"][operation.stream] = {"schema": {"type": "string"}}
    for status in sorted({*operation.problems, *_limits(operation)} - {*operation.answers}):
        answers[str(status)] = _answer((m.Problem,), "application/problem+json")
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": answers,
    }
    if operation.body is not None:
        schema = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": schema}},
        }
    if operation.open:
        described["security"] = []
    return described


def _limits(operation: Operation) -> tuple[int, ...]:
    """What any request can be answered that exceeds a limit."""
    known = () if operation.open else (429,)
    body = (408, 413, 415) if operation.body is not None else ()
    return (414, 431, 503, *known, *body)


def _answer(models: tuple[type[BaseModel], ...], media_type: str) -> dict[str, Any]:
    if not models:
        return {"description": "See the reference"}
    schemas = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    description = " Or: ".join(model.__doc__ or "" for model in models)
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    segments = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    schemas = {**_PARAMETERS, "limit": _whole_number(operation.largest)}
    placed = [
        *((name, "path") for name in segments),
        *((name, "header") for name in operation.headers),
        *((name, "query") for name in operation.query),
    ]
    return [
        {
            "name": name,
            "in": place,
            **({"required": True} if place == "path" else {}),
            "schema": schemas.get(name, _VISIBLE),
        }
        for name, place in placed
    ]


def _whole_number(largest: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": largest}


class OpenApi:
    """``/openapi.json``, made once."""

    def __init__(self, *, server: str) -> None:
        self._document = document(server=server)

    async def show(self, request: Request) -> Response:
        """The document."""
        del request
        return JSONResponse(self._document)
