"""What the Argo server does in Kubernetes for each call of the bridge, and which calls it makes.

The rights are from Argo's source: server/workflow, server/workflowtemplate, workflow/util and
util/logs/workflow-logger.go (stop and terminate patch; set, retry, and stop with a selector
update; a retry deletes pods; a log gets the workflow, watches and lists its pods).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from bridge.adapters.argo import ArgoEngine
from tests.adapters.argo import engine_for
from tests.adapters.replay import Reply, json_reply

Right = tuple[str, str, str]
"""API group, resource and verb."""

_WORKFLOWS = ("argoproj.io", "workflows")
_NAME = "/api/v1/workflows/argo-workflows/{name}"
RIGHTS: Mapping[str, frozenset[Right]] = {
    "POST /api/v1/workflows/argo-workflows": frozenset(
        {(*_WORKFLOWS, "create"), ("argoproj.io", "workflowtemplates", "get")}
    ),
    "GET /api/v1/workflows/argo-workflows": frozenset({(*_WORKFLOWS, "list")}),
    "GET /api/v1/workflow-events/argo-workflows": frozenset({(*_WORKFLOWS, "watch")}),
    f"GET {_NAME}": frozenset({(*_WORKFLOWS, "get")}),
    f"DELETE {_NAME}": frozenset({(*_WORKFLOWS, "get"), (*_WORKFLOWS, "delete")}),
    f"PUT {_NAME}/stop": frozenset(
        {(*_WORKFLOWS, "get"), (*_WORKFLOWS, "patch"), (*_WORKFLOWS, "update")}
    ),
    f"PUT {_NAME}/terminate": frozenset({(*_WORKFLOWS, "get"), (*_WORKFLOWS, "patch")}),
    f"PUT {_NAME}/set": frozenset({(*_WORKFLOWS, "get"), (*_WORKFLOWS, "update")}),
    f"PUT {_NAME}/retry": frozenset(
        {(*_WORKFLOWS, "get"), (*_WORKFLOWS, "update"), ("", "pods", "delete")}
    ),
    f"GET {_NAME}/log": frozenset(
        {
            (*_WORKFLOWS, "get"),
            (*_WORKFLOWS, "watch"),
            ("", "pods", "list"),
            ("", "pods", "watch"),
            ("", "pods/log", "get"),
        }
    ),
    "GET /api/v1/workflow-templates/argo-workflows/{name}": frozenset(
        {("argoproj.io", "workflowtemplates", "get")}
    ),
}
"""Of each call, what its account must be allowed to do in the namespace of the workflows."""

_OBJECT = json_reply({"metadata": {"name": "w"}})
_STREAM = Reply(headers={"Content-Type": "text/event-stream"}, end="final chunk")
Deed = Callable[[ArgoEngine], Awaitable[Any]]


async def _read(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


async def _watch(engine: ArgoEngine) -> None:
    async with engine.watch(resource_version="7") as events:
        await _read(events)


async def _logs(engine: ArgoEngine) -> None:
    async with engine.logs("w", pod="w-1", follow=True) as lines:
        await _read(lines)


def _decide(*, approved: bool) -> Deed:
    return lambda engine: engine.decide(
        "w", node_id="w-1", approved=approved, message="by ann", outputs={}
    )


DEEDS: Mapping[str, tuple[tuple[Deed, Reply], ...]] = {
    "create": ((lambda engine: engine.create({"metadata": {"name": "w"}}), _OBJECT),),
    "get": ((lambda engine: engine.get("w"), _OBJECT),),
    "listing": ((lambda engine: engine.listing(), json_reply({"items": None})),),
    "watch": ((_watch, _STREAM),),
    "logs": ((_logs, _STREAM),),
    "stop": (
        (lambda engine: engine.stop("w"), _OBJECT),
        (lambda engine: engine.stop("w", terminate=True), _OBJECT),
    ),
    "decide": ((_decide(approved=True), _OBJECT), (_decide(approved=False), _OBJECT)),
    "retry": ((lambda engine: engine.retry("w"), _OBJECT),),
    "delete": ((lambda engine: engine.delete("w"), json_reply({})),),
    "silent_templates": ((lambda engine: engine.silent_templates("t"), json_reply({})),),
    "ping": ((lambda engine: engine.ping(), json_reply({"items": None})),),
}
"""Each method of the engine that speaks to Argo, in each way that it can."""


async def calls_made() -> frozenset[str]:
    """What the engine's methods send, as ``METHOD /path`` with ``{name}`` for a name."""
    made = set()
    for deeds in DEEDS.values():
        for deed, reply in deeds:
            async with engine_for([reply]) as rig:
                await deed(rig.engine)
            made |= {f"{one.method} {_route(one.target)}" for one in rig.received}
    return frozenset(made)


def _route(target: str) -> str:
    path, _, _ = target.partition("?")
    return re.sub(r"(/argo-workflows)/[^/]+", r"\1/{name}", path)
