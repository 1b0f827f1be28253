"""The embedded Argo, noting when each node's phase first leaves it.

Arguments: port, folder of templates, and optionally a file for the notes (JSON: ``"workflow node
phase"`` → seconds since the epoch), written at the end.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from bridge.localargo import LocalArgoSettings, create_app, serve_app


def note_frames(app: Starlette) -> dict[str, float]:
    """Wrap the place where frames are published."""
    seen: dict[str, float] = {}
    log = app.state.engine.log
    publish = log.publish

    def noted(kind: str, snapshot: Any) -> Any:
        now = time.time()
        workflow = snapshot["metadata"]["name"]
        for node_id, node in (snapshot.get("status", {}).get("nodes") or {}).items():
            seen.setdefault(f"{workflow} {node_id} {node['phase']}", now)
        return publish(kind, snapshot)

    log.publish = noted
    return seen


async def serve(port: int, templates: Path, record: Path | None) -> None:
    """Serve until SIGTERM, then write the notes."""
    app = create_app(LocalArgoSettings(templates=(templates,)))
    seen = note_frames(app) if record else {}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve_app(app, port=port):
        await stop.wait()
    if record:
        await asyncio.to_thread(record.write_text, json.dumps(seen))


if __name__ == "__main__":
    _, given_port, given_templates, *rest = sys.argv
    asyncio.run(serve(int(given_port), Path(given_templates), Path(rest[0]) if rest else None))
