"""A bridge to throw requests at: processes of its own, an embedded Argo, the shipped actions.

Knows how the product is started from outside, and which limits would end such a test early. Must
not know what is thrown.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bridge.web.auth import is_open
from tests.cli.processes import TOKEN, Process, serving
from tests.web.identities import PLATFORM_SECRET, platform

ACTIONS = Path(__file__).parents[2] / "backstage-actions" / "actions"
CALLBACK_TOKEN = "callback-token-of-more-than-32-characters"
_NODE_TIME = "1s"
"""Runs take their time, so that they do not take the processors."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running bridge and who gets in."""

    process: Process

    def callers(self) -> dict[str, dict[str, str]]:
        """The headers of everybody who asks."""
        approver = platform().token(sub="bob", groups=["platform-admins"])
        return {
            "a service that is an admin": _bearer(TOKEN),
            "a person who may approve": _bearer(approver),
            "a workflow": _bearer(CALLBACK_TOKEN),
            "nobody": {},
        }

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.process.url

    def faults(self) -> list[str]:
        """What the bridge itself logged as its own fault, and whether it ended."""
        ended = ["the bridge ended"] if self.process.popen.poll() is not None else []
        errors = [line for line in self.process.log if '"level": "error"' in line]
        return [*ended, *errors]

    def closed(self, operation: str) -> bool:
        """Whether an operation, such as ``GET /v1/runs``, needs a token."""
        return not is_open(operation.partition(" ")[2])

    def document(self) -> dict[str, Any]:
        """The OpenAPI document as it is served."""
        return self._get("/openapi.json")

    def actions(self) -> list[dict[str, Any]]:
        """The catalogue."""
        found: list[dict[str, Any]] = self._get("/v1/actions")["actions"]
        return found

    def run_ids(self, *names: str) -> list[str]:
        """Ids of runs that exist: one for each namespace of *names*, and others."""
        for name in names:
            given = {"namespaceName": name, "team": "team-a", "environment": "production"}
            body = {"action": "namespace:create", "input": given}
            httpx.post(f"{self.url}/v1/runs", json=body, headers=_bearer(TOKEN), timeout=10)
        return [run["id"] for run in self._get("/v1/runs")["runs"]]

    def _get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}{path}", headers=_bearer(TOKEN), timeout=10)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """A bridge on loopback with an empty store in *folder*."""
    port = _free_port()
    with (
        _argo() as argo_url,
        serving(
            folder,
            BRIDGE_PORT=str(port),
            BRIDGE_ACTIONS=str(ACTIONS),
            BRIDGE_ARGO_URL=argo_url,
            BRIDGE_PLATFORM_API_TOKEN=CALLBACK_TOKEN,
            BRIDGE_ADMINS="service:tester",
            BRIDGE_PLATFORM_SECRET=PLATFORM_SECRET,
        ) as bridge,
    ):
        yield Target(bridge)


@contextmanager
def _argo() -> Iterator[str]:
    port = _free_port()
    arguments = [
        *("--port", str(port), "--templates", str(ACTIONS), "--node-time", _NODE_TIME),
        *("--secret", f"platform-api/token={CALLBACK_TOKEN}"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.localargo", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        ready = process.stderr.readline()
        assert ready.startswith("embedded Argo ready"), ready
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
