"""The outside world of one process: from the settings to the adapters.

Knows every adapter and its settings, and opens them. A part of the composition root; must not
know the services.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, Unpack

from pydantic import SecretStr

from bridge import __version__
from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.backstage import BackstageCatalog
from bridge.adapters.http import Lane, Lanes, client, tls_context, token_source
from bridge.adapters.keys import keys_of_backstage
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from bridge.adapters.system import SystemChance, SystemClock
from bridge.domain.runs import INSTANCE_LABEL
from bridge.identity import Issuers, open_issuers
from bridge.metrics import Metrics
from bridge.ports import Catalog, Chance, Clock, KeySource, RunStore, Tracer, WorkflowEngine
from bridge.settings import Settings
from bridge.tracing import open_tracer

CONTROL_CONNECTIONS = 12
CATALOG_SECONDS = 15.0
TARGET = "default"


@dataclass(frozen=True, slots=True)
class Adapters:
    """The outside world."""

    store: RunStore
    engines: Mapping[str, WorkflowEngine]
    catalog: Catalog | None
    keys: KeySource | None
    clock: Clock
    chance: Chance
    metrics: Metrics
    issuers: Issuers = ()
    tracer: Tracer | None = None


class Given(TypedDict, total=False):
    """Adapters in place of those that the settings name."""

    store: RunStore
    engine: WorkflowEngine
    catalog: Catalog | None
    clock: Clock
    chance: Chance
    tracer: Tracer


@asynccontextmanager
async def open_adapters(settings: Settings, **given: Unpack[Given]) -> AsyncIterator[Adapters]:
    """Open what the settings name, except what is given."""
    async with AsyncExitStack() as stack:
        clock = given.get("clock") or SystemClock()
        metrics = Metrics(version=__version__, clock=clock.monotonic)
        catalog = given.get("catalog")
        keys: KeySource | None = None
        if settings.backstage_url is not None:
            http = await stack.enter_async_context(
                client(
                    settings.backstage_url,
                    timeout=CATALOG_SECONDS,
                    connections=16,
                    verify=tls_context(ca_file=settings.ca_file),
                )
            )
            keys = keys_of_backstage(http, clock=clock)
            token = token_source(
                value=_secret(settings.backstage_token), file=settings.backstage_token_file
            )
            catalog = catalog or BackstageCatalog(http=http, token=token, public_url=settings.url)
        store = given.get("store")
        if store is None:
            own = store_of(settings)
            own.on_done = metrics.store_done
            opened: AbstractAsyncContextManager[RunStore] = own
            store = await stack.enter_async_context(opened)
        engine = given.get("engine") or await _open_engine(settings, stack, metrics)
        yield Adapters(
            store=store,
            engines={TARGET: engine},
            catalog=catalog,
            keys=keys,
            clock=clock,
            chance=given.get("chance") or SystemChance(),
            issuers=await open_issuers(settings, stack, clock=clock),
            metrics=metrics,
            tracer=given.get("tracer") or await stack.enter_async_context(open_tracer(os.environ)),
        )


def store_of(settings: Settings) -> PostgresStore | SqliteStore:
    """The store that the settings name, not yet open."""
    replica = f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
    address = settings.postgres()
    if address is not None:
        return PostgresStore(address, replica=replica)
    return SqliteStore(settings.database, replica=replica)


async def _open_engine(settings: Settings, stack: AsyncExitStack, metrics: Metrics) -> ArgoEngine:
    url, timeout = settings.argo_url, settings.argo_timeout / 1_000
    verify = tls_context(verify=settings.argo_verify_tls, ca_file=settings.ca_file)
    lanes = [
        await stack.enter_async_context(Lane(url, timeout=timeout, verify=verify))
        for _ in range(CONTROL_CONNECTIONS)
    ]
    target = ArgoTarget(
        namespace=settings.argo_namespace,
        label_selector=f"{INSTANCE_LABEL}={settings.instance}",
        ui_url=settings.argo_ui_url,
    )
    token = token_source(value=_secret(settings.argo_token), file=settings.argo_token_file)
    return ArgoEngine(
        target,
        control=Lanes(lanes),
        streams=partial(client, url, timeout=timeout, verify=verify, connections=1),
        token=token,
        on_answer=metrics.argo_answered,
        on_heard=partial(metrics.watch_heard, TARGET),
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
