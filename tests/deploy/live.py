"""A real Prometheus that scrapes a bridge with real runs, and Argo's metrics from files.

Knows how a dashboard asks: with the interval that Grafana would put in, over a range. The files in
``expositions`` grow with every scrape, so that rates can be told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bridge.bootstrap import open_bridge
from bridge.localargo import LocalArgoSettings, serve, serve_app
from bridge.settings import Settings
from tests.crash.catalog import FakeCatalog
from tests.crash.points import drawing
from tests.deploy.monitoring import ROOT, RULES, program
from tests.scenarios.reading import Reader
from tests.scenarios.stage import FastClock

ACTIONS = ROOT / "tests" / "crash" / "actions"
EXPOSITIONS = Path(__file__).parent / "expositions"
JOBS = ("argo-server", "workflow-controller-metrics", "argo-bridge")
"""What ServiceMonitors call the jobs: the names of the Services."""
RATE_INTERVAL = "4s"
"""Grafana's ``$__rate_interval``: four times the interval of scrapes."""
PATIENCE_SECONDS = 30.0
_PUBLIC_URL = "http://bridge.example"
_TOKEN = "token-of-the-runs-behind-dashboards"


class Prometheus:
    """A running Prometheus, asked as Grafana asks it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, path: str, **query: str) -> Any:
        """``GET /api/v1/{path}``: its data; an error of PromQL is told with its sentence."""
        answer = await self._http.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def value(self, expression: str) -> float:
        """The sum of an expression just now; 0 if it has no series."""
        found = (await self.ask("query", query=f"sum({expression})"))["result"]
        return float(found[0]["value"][1]) if found else 0.0

    async def drawn(self, expression: str) -> int:
        """How many series a panel would draw of the last half minute, with at least one number."""
        now = await self.value("vector(time())")
        span = {"start": str(now - 30), "end": str(now), "step": "1"}
        found = (await self.ask("query_range", query=expression, **span))["result"]
        return sum(any(value != "NaN" for _, value in series["values"]) for series in found)

    async def scraped(self, times: int) -> None:
        """Wait until every job was scraped so many times from now on."""
        now = await self.value("vector(time())")
        async with asyncio.timeout(PATIENCE_SECONDS):
            for job in JOBS:
                seen = f'count_over_time((timestamp(up{{job="{job}"}} == 1) > {now})[1m:1s])'
                while True:
                    if await self.value(seen) >= times:
                        break
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def scraped_bridge(folder: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus that has seen a bridge before, while and after it carried out runs."""
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(_bridge(folder))
        files = await stack.enter_async_context(serve_app(_exposing()))
        prometheus = await stack.enter_async_context(_prometheus(folder, bridge, files))
        for scrapes in (1, 2):  # a histogram that is new has no rate yet
            await _run(bridge)
            await prometheus.scraped(scrapes)
        yield prometheus


@asynccontextmanager
async def _bridge(folder: Path) -> AsyncIterator[str]:
    """The address of a bridge with an embedded Argo and a catalog."""
    reach: list[str] = []
    catalog = FakeCatalog(_PUBLIC_URL, lambda: reach, drawing("live"))
    async with AsyncExitStack() as stack:
        backstage = await stack.enter_async_context(serve_app(catalog.app()))
        stack.push_async_callback(catalog.aclose)
        argo = LocalArgoSettings(templates=(ACTIONS,), node_seconds=0.05, keepalive_seconds=0.1)
        settings = Settings(
            actions=ACTIONS,
            database=folder / "bridge.db",
            argo_url=await stack.enter_async_context(serve(argo)),
            tokens=SecretStr(f"tester={_TOKEN}"),
            public_url=_PUBLIC_URL,
            backstage_url=backstage,
        )
        bridge = await stack.enter_async_context(open_bridge(settings, clock=FastClock()))
        url = await stack.enter_async_context(serve_app(bridge.app()))
        reach.append(url)
        yield url


async def _run(url: str) -> None:
    """Runs that succeed, fail, take a lock and register, each read live, and a refused request."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http:
        assert (await http.get("/api/v1/namespaces")).status_code == 401
        http.headers["Authorization"] = f"Bearer {_TOKEN}"
        for action in ("crash:steps", "crash:fail", "crash:queue"):
            body = {"action": action, "input": {"name": "thing"}}
            answer = await http.post("/v1/runs", json=body)
            assert answer.status_code == 202, answer.text
            reader = Reader(http, answer.json()["links"]["self"]).start()
            await reader.end()
            await reader.aclose()


def _exposing() -> Starlette:
    """What Argo, the kubelet and kube-state-metrics would tell; counters grow with every scrape."""
    scrapes: dict[str, int] = {}

    async def show(request: Request) -> PlainTextResponse:
        name = request.path_params["name"]
        scrapes[name] = scrapes.get(name, 0) + 1
        return PlainTextResponse("\n".join(grown(EXPOSITIONS / f"{name}.txt", scrapes[name])))

    return Starlette(routes=[Route("/{name}", show)])


def grown(path: Path, times: int) -> Iterator[str]:
    """The lines of an exposition with counters and histograms that many times as large."""
    grows = False
    for line in path.read_text().splitlines():
        if line.startswith("# TYPE "):
            grows = line.endswith((" counter", " histogram"))
        series, _, value = line.rpartition(" ")
        yield f"{series} {float(value) * times}" if grows and line[0] != "#" else line
    yield ""


@asynccontextmanager
async def _prometheus(folder: Path, bridge: str, files: str) -> AsyncIterator[Prometheus]:
    """A Prometheus with the rules that are deployed; they are worked out every second."""
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump(_config(bridge, files)))
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stderr is not None
    draining: list[asyncio.Task[bytes]] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            address = await _address(process.stderr)
        draining.append(asyncio.ensure_future(process.stderr.read()))
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=10) as http:
            yield Prometheus(http)
    finally:
        process.kill()
        await process.wait()
        await asyncio.gather(*draining)


async def _address(log: asyncio.StreamReader) -> str:
    """Where it listens, which it says when it does."""
    told: list[str] = []
    async for line in log:
        told.append(line.decode())
        said = json.loads(line)
        if said.get("msg") == "Server is ready to receive web requests.":
            break
    listening = [json.loads(line) for line in told]
    return next(str(said["address"]) for said in listening if said.get("msg") == "Listening on")


def _config(bridge: str, files: str) -> dict[str, Any]:
    def job(name: str, target: str, path: str, **more: Any) -> dict[str, Any]:
        # A ServiceMonitor adds the namespace of what it scrapes; Argo's own label gives way.
        labels = {"namespace": "argo-bridge" if name == "argo-bridge" else "argo"}
        static = [{"targets": [target.removeprefix("http://")], "labels": labels}]
        return {"job_name": name, "metrics_path": path, "static_configs": static, **more}

    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [
            job("argo-server", files, "/argo-server"),
            job("workflow-controller-metrics", files, "/workflow-controller"),
            job("argo-bridge", bridge, "/metrics"),
            job("cluster", files, "/cluster", honor_labels=True),
        ],
    }
