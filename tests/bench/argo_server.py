"""The embedded Argo, noting when each node's phase first goes out on its watch.

It counts the calls that it gets; ``GET /bench/calls`` tells how many.

Arguments: port, folder of templates, and optionally a file for the notes (JSON: ``"workflow node
phase"`` → seconds since the epoch), written at the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from bridge.localargo import LocalArgoSettings, create_app, serve_app
from bridge.localargo.events import Event

_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')


class Notes:
    """When each node's phase first left this process, by workflow, node and phase."""

    def __init__(self, app: Starlette) -> None:
        self.sent: dict[str, float] = {}
        self._seen: set[str] = set()
        self._news: dict[bytes, list[str]] = {}
        self._app = app
        app.state.engine.log.listen(self._published)

    def _published(self, event: Event) -> None:
        workflow = event.snapshot["metadata"]["name"]
        nodes = event.snapshot.get("status", {}).get("nodes") or {}
        keys = {f"{workflow} {key} {node['phase']}" for key, node in nodes.items()}
        self._news[str(event.version).encode()] = list(keys - self._seen)
        self._seen |= keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with a look at what its watches send."""
        if not scope.get("path", "").startswith("/api/v1/workflow-events/"):
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            await send(message)
            now = time.time()
            for version in _VERSION.findall(message.get("body", b"")):
                for key in self._news.pop(version, ()):
                    self.sent[key] = now

        await self._app(scope, receive, noted)


class Counting:
    """The application, counting its calls."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the count, or count."""
        if scope.get("path") == "/bench/calls":
            await JSONResponse({"calls": self._calls})(scope, receive, send)
            return
        self._calls += scope["type"] == "http"
        await self._app(scope, receive, send)


async def serve(port: int, templates: Path, record: Path | None) -> None:
    """Serve until SIGTERM, then write the notes."""
    # The source of the load must not stop for a collection and then send what piled up at once.
    gc.set_threshold(50_000, 20, 100)
    app = create_app(LocalArgoSettings(templates=(templates,)))
    notes = Notes(app) if record else None
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve_app(Counting(notes or app), port=port):
        await stop.wait()
    if record and notes:
        await asyncio.to_thread(record.write_text, json.dumps(notes.sent))


if __name__ == "__main__":
    _, given_port, given_templates, *rest = sys.argv
    asyncio.run(serve(int(given_port), Path(given_templates), Path(rest[0]) if rest else None))
