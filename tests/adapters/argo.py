"""An ArgoEngine against a replayed server, with timeouts that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.http import Lane, Lanes, Token, client
from tests.adapters.replay import Received, Reply, replay

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine and what its server received."""

    engine: ArgoEngine
    received: list[Received]


@asynccontextmanager
async def engine_at(
    url: str, *, token: Token = lambda: None, page: int = 500, patience: float = PATIENCE_SECONDS
) -> AsyncIterator[ArgoEngine]:
    """An engine for the server at *url* that waits *patience* seconds for any answer."""
    target = ArgoTarget(
        "argo-workflows",
        "bridge/instance=default",
        ui_url="https://argo.example/ui/",
        silence=patience,
        page=page,
    )
    async with (
        Lane(url, timeout=patience, verify=False) as one,
        Lane(url, timeout=patience, verify=False) as other,
    ):
        streams = partial(client, url, timeout=patience, connections=1, verify=False)
        yield ArgoEngine(target, control=Lanes([one, other]), streams=streams, token=token)


@asynccontextmanager
async def engine_for(
    replies: Iterable[Reply],
    *,
    token: Token = lambda: None,
    page: int = 500,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[Rig]:
    """An engine for a server that plays *replies*."""
    async with (
        replay(replies) as server,
        engine_at(server.url, token=token, page=page, patience=patience) as engine,
    ):
        yield Rig(engine, server.received)


async def approve(engine: ArgoEngine, outputs: Mapping[str, str]) -> None:
    """Open the gate of the recording suspend-set-outputs."""
    await engine.decide(
        "so-1", node_id="so-1-4027464474", approved=True, message="yes", outputs=outputs
    )
