"""The embedded Argo with its faults, noting when each workflow runs and when it does not.

Knows the embedded Argo only. What it notes is what truly happened to workflows, also to those
that are deleted later; the calls that were carried out are in its own ``/faults/record``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from bridge.localargo import LocalArgoSettings, create_app, serve_app
from bridge.localargo.events import DELETED, Event

LIVES = "lives.jsonl"
_ENDS = frozenset({"Succeeded", "Failed", "Error"})


class Lives:
    """Writes one line each time a workflow begins, begins again, ends or is deleted."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / LIVES, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._open: dict[str, bool] = {}

    def changed(self, event: Event) -> None:
        """Look at one change."""
        metadata = event.snapshot["metadata"]
        phase = (event.snapshot.get("status") or {}).get("phase") or ""
        gone = event.type == DELETED
        is_open = not gone and phase not in _ENDS
        if self._open.get(metadata["uid"], False) is is_open and not gone:
            return
        self._open[metadata["uid"]] = is_open
        line = {
            "at": time.time(),
            "name": metadata["name"],
            "uid": metadata["uid"],
            "run": metadata.get("labels", {}).get("bridge/run", ""),
            "phase": phase,
            "is": "gone" if gone else "open" if is_open else "ended",
        }
        os.write(self._file, (json.dumps(line) + "\n").encode())


async def _serve(folder: Path, *, port: int, templates: Path) -> None:
    settings = LocalArgoSettings(templates=(templates,), faults=True, keepalive_seconds=1.0)
    app = create_app(settings)
    app.state.engine.log.listen(Lives(folder).changed)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve_app(app, port=port):
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM; arguments as environment variables ``CRASH_*``."""
    folder, templates = Path(os.environ["CRASH_FOLDER"]), Path(os.environ["CRASH_TEMPLATES"])
    asyncio.run(_serve(folder, port=int(os.environ["CRASH_PORT"]), templates=templates))
