"""One replica of the bridge that can be killed anywhere: ``bridge serve`` with kill points.

Knows the product's composition and how to stand in it. Must not know what the others do. Its
arguments come as environment variables: ``CRASH_POINT``, ``CRASH_HITS``, ``CRASH_FOLDER`` (where
notes go), ``CRASH_MUTATION``; the bridge's own are ``BRIDGE_*`` as always.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from httpx._transports import default as transports

from bridge import bootstrap, cli, opening
from bridge.adapters import http
from bridge.adapters.argo import ArgoEngine
from bridge.adapters.backstage import BackstageCatalog
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.postgres_session import PostgresSession
from bridge.adapters.sqlite import SqliteSession, SqliteStore
from bridge.domain.errors import BridgeError
from bridge.telemetry import configure_logging
from bridge.web import openapi
from bridge.web.server import run
from tests.crash.mutations import mutate
from tests.crash.points import CATALOG, ENGINE, STORE, Aim, Surroundings, Trigger

WRITES, KILLS = "writes.jsonl", "kills.txt"
CONSTANTS = {"STUCK_CHECK_SECONDS": 0.5, "DEADLINE_CHECK_SECONDS": 0.5, "KEEP_ALIVE_SECONDS": 2.0}
"""Intervals of the bridge that are short here, because its lives are."""
PUBLIC_URL = "http://bridge.test"
_LATE = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore._backends.anyio",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What is otherwise imported when it is first needed."""


def prepare() -> None:
    """Do once, before any fork, what costs a start most and is the same each time."""
    for module in _LATE:
        importlib.import_module(module)
    document = openapi.document
    openapi.document = cache(lambda server: document(server=server))
    openapi.document(server=PUBLIC_URL)
    contexts = cache(httpx.create_ssl_context)
    contexts(verify=True, cert=None, trust_env=False)
    vars(transports)["create_ssl_context"] = contexts
    tls = cache(http.tls_context)
    tls(verify=True)
    vars(opening)["tls_context"] = tls


class Notes:
    """Files that several processes append to; a line is one write, so it is whole or missing."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY
        self._writes = os.open(folder / WRITES, flags, 0o600)
        self._kills = os.open(folder / KILLS, flags, 0o600)

    def killed(self, point: str) -> None:
        """This process is about to die at *point*."""
        os.write(self._kills, f"{point}\n".encode())

    def seen(self, call: str, args: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
        """Note which fence every acknowledged write and every claim had."""
        if call == "store.append" and result is not None and named.get("fence") is not None:
            self._write(args[1], named["fence"], result.run.last_seq, len(result.events))
        elif call == "store.claim":
            for claimed in result:
                self._write(claimed.id, claimed.fence, claimed.last_seq, None)

    def _write(self, run_id: str, fence: int, last_seq: int, events: int | None) -> None:
        line = {"run": run_id, "fence": fence, "last": last_seq, "events": events}
        os.write(self._writes, (json.dumps(line) + "\n").encode())


def main() -> None:
    """Serve until a kill point or a signal."""
    notes = Notes(Path(os.environ["CRASH_FOLDER"]))
    aim = Aim(os.environ.get("CRASH_POINT", ""), int(os.environ.get("CRASH_HITS", "1")))
    around = Surroundings(Trigger(aim, notes.killed), notes.seen)
    mutate(os.environ.get("CRASH_MUTATION", ""))
    around.surround(ENGINE, ArgoEngine)
    around.surround(CATALOG, BackstageCatalog)
    around.surround(STORE, PostgresStore)
    around.surround(STORE, SqliteStore)
    around.surround_commit(PostgresSession)
    around.surround_commit(SqliteSession)
    for name, value in CONSTANTS.items():
        assert hasattr(bootstrap, name), name
        setattr(bootstrap, name, value)
    settings = cli.read_settings()
    configure_logging(level=settings.log_level, style=settings.log_format)
    try:
        run(cli._serve(settings))
    except BridgeError as error:
        raise SystemExit(error.detail) from error
