"""``bridge serve``: how it starts, what it logs, and how it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from bridge.adapters.http import client
from tests.cli.processes import NOWHERE, TOKEN, Process, environment, serving
from tests.web.tokens import Backstage

THING = {"action": "thing:make", "input": {"name": "one"}}
STREAMS = 50
LIMIT_SECONDS = 2.0


def opened(process: Process) -> httpx.AsyncClient:
    """An authorized client of a running bridge."""
    http = client(process.url, timeout=10, connections=STREAMS + 2)
    http.headers["Authorization"] = f"Bearer {TOKEN}"
    return http


async def read(http: httpx.AsyncClient, path: str, *, begun: asyncio.Semaphore) -> str:
    """A stream up to its end; *begun* is released when its first event is there."""
    text = ""
    async with http.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        async for part in answer.aiter_text():
            if "id: 1" in part:
                begun.release()
            text += part
    return text


async def test_a_rollout_ends_open_streams_within_two_seconds(tmp_path: Path):
    """Updating the bridge takes seconds; readers go on at the next instance without a loss."""
    with serving(tmp_path) as process:
        async with opened(process) as http:
            run = (await http.post("/v1/runs", json=THING)).json()
            begun = asyncio.Semaphore(0)
            path = f"/v1/runs/{run['id']}/events"
            reading = [asyncio.ensure_future(read(http, path, begun=begun)) for _ in range(STREAMS)]
            for _ in range(STREAMS):
                await begun.acquire()
            before = time.monotonic()
            process.terminate()
            texts = await asyncio.gather(*reading)
        await asyncio.to_thread(process.popen.wait, 10)
        took = time.monotonic() - before
    assert took < LIMIT_SECONDS
    assert process.popen.returncode == 0
    left = sorted(os.listdir(tmp_path))  # noqa: PTH208 - names are all that is asked for
    assert left == ["bridge.db", "bridge.db.lock"]  # closed: no write-ahead log
    assert all("event: done" not in text for text in texts)
    assert all(text.endswith("\n\n") for text in texts)


async def test_a_load_balancer_has_time_to_notice(tmp_path: Path):
    """With a drain time, requests are still answered while readiness already says no."""
    with serving(tmp_path, BRIDGE_DRAIN_SECONDS="1.5") as process:
        async with opened(process) as http:
            assert (await http.get("/readyz")).status_code == 200
            process.terminate()
            async with asyncio.timeout(10):  # another process: there is no event to wait for
                while (ready := await http.get("/readyz")).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            shown = await http.get("/v1/actions")
        await asyncio.to_thread(process.popen.wait, 10)
    assert (ready.status_code, ready.json()["checks"]["draining"]) == (503, "yes")
    assert shown.status_code == 200
    assert process.popen.returncode == 0


async def test_a_bridge_for_a_backstage_starts_without_any_secret(tmp_path: Path):
    """With plugin tokens nothing has to be shared; while Backstage is away, tokens wait."""
    changed = {"BRIDGE_TOKENS": "", "BRIDGE_BACKSTAGE_URL": NOWHERE}
    token = Backstage().plugin_token()
    with serving(tmp_path, **changed) as process:
        async with opened(process) as http:
            ready = await http.get("/readyz")
            forged = await http.get("/v1/actions")
            http.headers["Authorization"] = f"Bearer {token}"
            waiting = await http.get("/v1/actions")
    assert ready.status_code == 200
    assert forged.status_code == 401
    assert (waiting.status_code, waiting.json()["code"]) == (503, "issuer_unavailable")


async def test_a_run_outlives_the_process(tmp_path: Path):
    """What was accepted before a restart is there after it, with every line."""
    with serving(tmp_path) as process:
        async with opened(process) as http:
            run_id = (await http.post("/v1/runs", json=THING)).json()["id"]
        process.terminate()
        await asyncio.to_thread(process.popen.wait, 10)
    with serving(tmp_path) as process:
        async with opened(process) as http:
            events = (await http.get(f"/v1/runs/{run_id}/events")).json()["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert run_id in events[0]["message"]


async def test_the_log_is_json_and_tells_no_secret(tmp_path: Path):
    """Logs can be shipped and searched as they are, and hold no token."""
    with serving(tmp_path, BRIDGE_LOG_LEVEL="debug", ARGO_TOKEN="x") as process:
        async with opened(process) as http:
            await http.post("/v1/runs", json=THING)
            await http.get("/v1/runs", headers={"Authorization": "Bearer wrong-token-here"})
        process.terminate()
        await asyncio.to_thread(process.popen.wait, 10)
    entries = process.entries()
    assert all({"event", "level", "timestamp", "logger"} <= set(entry) for entry in entries)
    text = "".join(process.log)
    assert TOKEN not in text
    assert "wrong-token-here" not in text


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"BRIDGE_TOKENS": ""}, "Nobody could be let in"),
        ({"BRIDGE_DEMO": "true", "BRIDGE_HOST": "0.0.0.0"}, "needs a loopback BRIDGE_HOST"),
        ({"BRIDGE_PORT": "eighty"}, "port"),
        ({"BRIDGE_DATABASE": "{folder}/text"}, "text cannot be opened"),
        ({"BRIDGE_DATABASE": "{folder}/text/bridge.db"}, "bridge.db cannot be opened"),
        ({"BRIDGE_DATABASE_URL_FILE": "{folder}/none"}, "DATABASE_URL_FILE cannot be read"),
        ({"BRIDGE_DATABASE_URL_FILE": "{folder}/empty"}, "empty is empty"),
    ],
)
def test_a_bridge_that_cannot_run_says_why(tmp_path: Path, changed: dict[str, str], sentence: str):
    """A wrong setting is one sentence and exit code 1, not a stack trace."""
    (tmp_path / "text").write_text("this is no database\n" * 100)
    (tmp_path / "empty").write_text("\n")
    placed = {name: value.replace("{folder}", str(tmp_path)) for name, value in changed.items()}
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "serve"],
        env=environment(tmp_path, **placed),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
