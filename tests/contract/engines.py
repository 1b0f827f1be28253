"""The engines that the contract of WorkflowEngine is run on, and what their tests share.

The embedded Argo may be told to fail (docs/reference/local-argo-faults.md); the fake cannot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.http import Lane, Lanes, client
from bridge.domain.workflows import Node, Snapshot
from bridge.localargo import LocalArgoSettings, serve
from bridge.ports import WatchEvent, WorkflowEngine

TEMPLATES = Path(__file__).parent / "templates"
LABELS = {"bridge/instance": "contract"}
PATIENCE_SECONDS = 20


@asynccontextmanager
async def embedded(
    *,
    token: str | None = None,
    sent: str | None = None,
    fault: dict[str, Any] | None = None,
    **changed: Any,
) -> AsyncIterator[ArgoEngine]:
    """The real adapter on an embedded Argo of its own, which fails as *fault* says."""
    settings = LocalArgoSettings(
        templates=(TEMPLATES,),
        token=token,
        log_seconds=0.01,
        poll_seconds=0.05,
        faults=bool(fault),
        **changed,
    )
    target = ArgoTarget("argo-workflows", "bridge/instance=contract", page=2)
    async with serve(settings) as url, Lane(url, timeout=PATIENCE_SECONDS) as lane:
        if fault:
            async with httpx.AsyncClient(base_url=url) as admin:
                answer = await admin.put("/faults", json={"unary": [fault]})
                answer.raise_for_status()
        streams = partial(client, url, timeout=PATIENCE_SECONDS, connections=1, verify=False)
        yield ArgoEngine(target, control=Lanes([lane]), streams=streams, token=lambda: sent)


def workflow(name: str, *, template: str = "waiting", who: str | None = "you") -> dict[str, Any]:
    """A workflow as the bridge creates it."""
    parameters = [] if who is None else [{"name": "who", "value": who}]
    return {
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "workflowTemplateRef": {"name": template},
            "arguments": {"parameters": parameters},
        },
    }


async def watched(
    engine: WorkflowEngine, version: str, enough: Callable[[WatchEvent], bool]
) -> list[WatchEvent]:
    """The events after *version*, up to the one that is *enough*."""
    seen: list[WatchEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS), engine.watch(resource_version=version) as events:
        async for event in events:
            seen.append(event)
            if enough(event):
                return seen
    raise AssertionError(f"the watch ended early: {seen}")


def node_of(snapshot: Snapshot, name: str) -> Node:
    """The node with a display name."""
    return next(node for node in snapshot.nodes if node.display_name == name)
