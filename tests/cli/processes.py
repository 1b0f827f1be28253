"""``bridge serve`` as a process of its own, on a port that the system chose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ACTIONS = Path(__file__).parent.parent / "web" / "actions"
TOKEN = "a-token-of-24-characters"
NOWHERE = "http://127.0.0.1:9"


@dataclass(slots=True)
class Process:
    """A running bridge and its log lines."""

    popen: subprocess.Popen[str]
    url: str = ""
    log: list[str] = field(default_factory=list)

    def entries(self) -> list[dict[str, object]]:
        """The log lines, decoded."""
        return [json.loads(line) for line in self.log]

    def terminate(self) -> None:
        """Ask it to end, as Kubernetes does."""
        self.popen.send_signal(signal.SIGTERM)


def environment(folder: Path, **changed: str) -> dict[str, str]:
    """An environment with the least that a bridge needs, and no setting from outside."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRIDGE_", "ARGO_")) and name != "PLATFORM_API_TOKEN"
    }
    return {
        **kept,
        "BRIDGE_PORT": "0",
        "BRIDGE_TOKENS": f"tester={TOKEN}",
        "BRIDGE_ACTIONS": str(ACTIONS),
        "BRIDGE_DATABASE": str(folder / "bridge.db"),
        "BRIDGE_ARGO_URL": NOWHERE,
        **changed,
    }


@contextmanager
def serving(folder: Path, **changed: str) -> Iterator[Process]:
    """A bridge that listens; it is killed at the end if it still runs."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "bridge", "serve"],
        env=environment(folder, **changed),
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    try:
        assert popen.stderr is not None
        for line in popen.stderr:
            process.log.append(line)
            address = line.partition("running on ")[2].partition(" ")[0]
            if address:
                process.url = address
                break
        assert process.url, f"it did not start: {process.log}"
        reader = threading.Thread(target=process.log.extend, args=(popen.stderr,), daemon=True)
        reader.start()
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        if process.url:
            reader.join()
        popen.stderr.close()
