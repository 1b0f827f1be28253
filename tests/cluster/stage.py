"""The bridge and the embedded Argo as processes, whose workflows work on a real API server.

Knows the command lines of both and the bridge's HTTP API. The Argo has the rights of the account
under which the namespace workflow runs in production, and no others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cli.processes import TOKEN, environment, serving
from tests.cluster.control_plane import free_ports
from tests.cluster.programs import search_path

ACTIONS = Path(__file__).parents[2] / "backstage-actions" / "actions"
_CALLBACK_TOKEN = "a-token-for-callbacks-of-workflows"
_RUN_SECONDS = 240.0
_STOP_SECONDS = 10.0

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """A bridge that is asked for namespaces."""

    http: httpx.Client

    def ask(self, **given: Any) -> str:
        """Ask for a namespace; returns the path of the run."""
        body = {"action": "namespace:create", "input": given}
        answer = self.http.post("/v1/runs", json=body)
        assert answer.status_code == 202, answer.text
        path: str = answer.json()["links"]["self"]
        return path

    def ended(self, path: str) -> Shown:
        """Wait for the end of a run."""
        limit = time.monotonic() + _RUN_SECONDS
        while time.monotonic() < limit:
            run: Shown = self.http.get(path).json()
            if run["finishedAt"]:
                return run
            time.sleep(0.2)
        raise AssertionError(f"the run does not end: {run}\n{self.lines(path)}")

    def lines(self, path: str) -> list[str]:
        """What the run told, line by line."""
        events = self.http.get(f"{path}/events").json()["events"]
        return [str(event.get("message")) for event in events]


@contextmanager
def open_stage(folder: Path, kubeconfig: Path) -> Iterator[Stage]:
    """A bridge on an embedded Argo that works with this kubeconfig; both end with the block."""
    (port,) = free_ports(1)
    with ExitStack() as stack:
        argo = stack.enter_context(_argo(folder, kubeconfig))
        bridge = stack.enter_context(
            serving(
                folder,
                BRIDGE_ARGO_URL=argo,
                BRIDGE_ACTIONS=str(ACTIONS),
                BRIDGE_PORT=str(port),
                BRIDGE_PLATFORM_API_TOKEN=_CALLBACK_TOKEN,
            )
        )
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
        http = httpx.Client(base_url=bridge.url, headers=headers, timeout=30)
        yield Stage(stack.enter_context(http))


@contextmanager
def _argo(folder: Path, kubeconfig: Path) -> Iterator[str]:
    """An embedded Argo; yields its address."""
    command = [sys.executable, "-m", "bridge", "local-argo", "--port", "0"]
    command += ["--templates", str(ACTIONS), "--kubeconfig", str(kubeconfig)]
    command += ["--secret", f"platform-api/token={_CALLBACK_TOKEN}"]
    log = folder / "argo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stderr=output, env={**environment(folder), "PATH": search_path()}
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address in the line that says that it is ready."""
    limit = time.monotonic() + _STOP_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        _, found, rest = log.read_text().partition("ready on ")
        if found and os.linesep in rest:
            return rest.partition(",")[0]
        time.sleep(0.05)
    raise AssertionError(f"the embedded Argo did not start: {log.read_text()}")
