"""The whole service with an embedded Argo: a restart in the middle, and the demonstration."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from bridge.adapters.http import client
from bridge.localargo import LocalArgoSettings, serve
from tests.cli.processes import TOKEN, Process, environment, serving

TEMPLATES = Path(__file__).parent / "templates"
THING = {"action": "thing:make", "input": {"name": "one"}}
KEY = {"Idempotency-Key": "task-1"}
PATIENCE_SECONDS = 30


def opened(process: Process) -> httpx.AsyncClient:
    """An authorized client of a running bridge."""
    http = client(process.url, timeout=10, connections=4)
    http.headers["Authorization"] = f"Bearer {TOKEN}"
    return http


async def run_when(http: httpx.AsyncClient, path: str, *statuses: str) -> dict[str, Any]:
    """The run as soon as it has one of the statuses."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            run: dict[str, Any] = (await http.get(path)).json()
            if run["status"] in statuses:
                return run
            await asyncio.sleep(0.02)


async def test_a_run_goes_on_after_a_restart(tmp_path: Path):
    """Updating the bridge in the middle of a run costs no line and makes no second workflow."""
    argo = LocalArgoSettings(templates=(TEMPLATES,), log_seconds=0.01)
    async with serve(argo) as argo_url:
        with serving(tmp_path, BRIDGE_ARGO_URL=argo_url) as process:
            async with opened(process) as http:
                accepted = (await http.post("/v1/runs", json=THING, headers=KEY)).json()
                path = accepted["links"]["self"]
                before = await run_when(http, path, "waiting")
            process.popen.kill()
            await asyncio.to_thread(process.popen.wait, 10)
        with serving(tmp_path, BRIDGE_ARGO_URL=argo_url) as process:
            async with opened(process) as http:
                again = await http.post("/v1/runs", json=THING, headers=KEY)
                after = await run_when(http, path, "succeeded", "failed", "lost")
                events = (await http.get(f"{path}/events")).json()["events"]
        async with client(argo_url, timeout=10, connections=1) as http:
            listed = (await http.get("/api/v1/workflows/argo-workflows")).json()["items"]
    assert (again.status_code, again.json()["id"]) == (200, accepted["id"])
    assert after["status"] == "succeeded"
    assert after["workflow"]["uid"] == before["workflow"]["uid"] == listed[0]["metadata"]["uid"]
    assert len(listed) == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    messages = [event["message"] for event in events]
    assert "say | made one" in messages
    assert len([message for message in messages if message.startswith("✓ wait")]) == 1
    assert [event["type"] for event in events].count("done") == 1


def test_the_demonstration_shows_one_run():
    """Somebody who has just cloned the project sees what it does with one command."""
    shown = demo("--name", "team-a-dev", "--feature", "monitoring")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "✓ validate" in shown.stdout
    assert "namespace:create succeeded" in shown.stdout
    assert "# resource:default/team-a-dev, as the catalog reads it" in shown.stdout
    refused = demo("--name", "Bad_Name")
    assert refused.returncode == 1
    assert "namespaceName" in refused.stdout
    assert "Traceback" not in refused.stderr


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The outcome of ``bridge demo`` without any waiting for the eye."""
    return subprocess.run(
        [sys.executable, "-m", "bridge", "demo", "--pace", "0", *arguments],
        env=environment(Path("unused")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
