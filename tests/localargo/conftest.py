"""An embedded Argo for each test that asks for one, and a client that waits for its events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.localargo import LocalArgoSettings, create_app, serve_app
from bridge.localargo.engine import Engine
from bridge.localargo.faults import Faults
from bridge.localargo.objects import ObjectStore
from bridge.localargo.selectors import Selector
from tests.localargo.reading import NAMESPACE, WORKFLOWS

HERE = Path(__file__).parent
PATIENCE = 20.0
_VOLATILE = frozenset({"startedAt", "finishedAt", "hostNodeName", "estimatedDuration"})


@dataclass(frozen=True)
class Argo:
    """A running embedded Argo."""

    http: httpx.AsyncClient
    engine: Engine
    objects: ObjectStore
    url: str
    faults: Faults | None = None

    async def create(self, template: str, name: str, **parameters: str) -> dict[str, Any]:
        """Create a workflow of a template; `a_b` stands for the parameter `a-b`."""
        listed = [{"name": k.replace("_", "-"), "value": v} for k, v in parameters.items()]
        spec = {"workflowTemplateRef": {"name": template}, "arguments": {"parameters": listed}}
        body = {"workflow": {"metadata": {"name": name}, "spec": spec}}
        return await self.call("POST", WORKFLOWS, body)

    async def run(self, spec: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Create a workflow that brings its own templates; the workflow at its end."""
        body = {"workflow": {"metadata": {"name": name}, "spec": dict(spec)}}
        await self.call("POST", WORKFLOWS, body)
        return await self.end(name)

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call that must succeed; its body."""
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, int, str]:
        """One call that must fail: HTTP status, gRPC code, message."""
        answer = await self.http.request(method, path, json=body)
        return answer.status_code, answer.json()["code"], answer.json()["message"]

    async def put(self, name: str, action: str, **body: Any) -> dict[str, Any]:
        """One action on a workflow that must succeed."""
        return await self.call("PUT", f"{WORKFLOWS}/{name}/{action}", body)

    async def until(self, name: str, wanted: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
        """Wait for a state of a workflow; that state, as a client sees it."""
        log = self.engine.log
        watcher = log.watch(NAMESPACE, selector=Selector(), name=name, since="0")
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    for _, event in await watcher.take():
                        if wanted(event.snapshot):
                            return json.loads(json.dumps(event.snapshot))
        except TimeoutError:
            latest = self.engine.latest(name).snapshot
            pytest.fail(f"{name} did not get there: {json.dumps(latest['status'])[:3000]}")
        finally:
            log.unwatch(watcher)

    async def end(self, name: str) -> dict[str, Any]:
        """Wait for the end of a workflow."""
        return await self.until(name, lambda w: w["status"].get("phase") in FINAL)

    async def lines(self, name: str) -> list[str]:
        """What the pods of a workflow printed themselves, without the executor's lines."""
        answer = await self.http.get(f"{WORKFLOWS}/{name}/log?logOptions.container=main")
        results = [json.loads(line)["result"] for line in answer.text.splitlines()]
        contents = [result.get("content", "") for result in results]
        return [text for text in contents if "argo=true" not in text]


FINAL = frozenset({"Succeeded", "Failed", "Error"})


def _client(url: str) -> httpx.AsyncClient:
    # Plain HTTP: without the certificates that take long to load.
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=False)  # noqa: S501 - see above


@pytest.fixture
def argo_server() -> Callable[..., contextlib.AbstractAsyncContextManager[Argo]]:
    """Starts an embedded Argo with given settings, for the length of a block."""

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Argo]:
        wanted = {"templates": (HERE / "templates",), "poll_seconds": 0.02, "log_seconds": 0.01}
        app = create_app(LocalArgoSettings(**(wanted | settings)))
        async with (
            serve_app(app) as url,
            _client(url) as http,
        ):
            yield Argo(http, app.state.engine, app.state.objects, url, app.state.faults)

    return start


@pytest.fixture
async def argo(argo_server: Callable[..., Any]) -> AsyncIterator[Argo]:
    """An embedded Argo with the templates of the recordings."""
    async with argo_server() as started:
        yield started


@pytest.fixture
async def faulty(argo_server: Callable[..., Any]) -> AsyncIterator[Argo]:
    """The same with the routes of faults."""
    async with argo_server(faults=True) as started:
        yield started


@pytest.fixture
async def quick(argo_server: Callable[..., Any]) -> AsyncIterator[Argo]:
    """The same with short keep-alives: streams that show nothing yet have their status line."""
    async with argo_server(faults=True, keepalive_seconds=0.05) as started:
        yield started


@pytest.fixture(scope="session")
def trees() -> Mapping[str, Any]:
    """Final states that a real Argo wrote, without times and machine names."""
    return json.loads((HERE / "recordings" / "trees.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def stable() -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Makes a state comparable to a recorded one."""

    def normalise(workflow: Mapping[str, Any]) -> dict[str, Any]:
        status = workflow["status"]
        nodes = {
            id_: {key: value for key, value in node.items() if key not in _VOLATILE}
            for id_, node in status["nodes"].items()
        }
        shown = {"phase": status.get("phase"), "message": status.get("message", "")}
        return {**shown, "progress": status["progress"], "nodes": nodes}

    return normalise
