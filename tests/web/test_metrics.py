"""``GET /metrics``: what it says, who may read it, and that no caller makes it grow."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.routing import Route

from bridge.adapters.http import client
from bridge.adapters.memory import MemoryStore
from bridge.bootstrap import Bridge, open_bridge
from bridge.domain.errors import SettingsInvalid
from bridge.metrics import Metrics, code_label
from bridge.settings import Settings
from bridge.web.server import server_for
from tests.deploy.monitoring import program
from tests.docs.reference import REFERENCE
from tests.scenarios.argo import ACTIONS, embedded_argo
from tests.scenarios.reading import Reader
from tests.scenarios.stage import PUBLIC_URL, _catalog
from tests.services.fakes import FakeClock, FaultyStore
from tests.web.making import (
    AUTHORIZED,
    SERVICE_TOKEN,
    THING,
    Rig,
    bridge_for,
    served,
    settings_for,
)

TOKEN = "token-of-prometheus-of-24-characters"
_ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)

Samples = dict[str, list[dict[str, str]]]


def samples_of(text: str) -> Samples:
    """The labels of each series, by the name of the family with what Prometheus appends."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            found.setdefault(name, []).append(labels)
    return found


def documented() -> dict[str, set[str]]:
    """The labels of each metric in the reference."""
    rows = _ROW.findall((REFERENCE / "metrics.md").read_text())
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows}


async def scrape(http: httpx.AsyncClient) -> str:
    """The text."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    return answer.text


# --- a whole bridge -----------------------------------------------------------------------------


def locked_actions(folder: Path) -> Path:
    """A folder with an action that registers an entity and needs a lock."""
    made = folder / "actions" / "entity"
    made.mkdir(parents=True)
    text = (ACTIONS / "entity" / "action.yaml").read_text()
    lock = 'lock: "thing/{input.name}"'
    (made / "action.yaml").write_text(text.replace("  catalog:", f"  {lock}\n  catalog:"))
    return made.parent


@asynccontextmanager
async def whole_bridge(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Bridge]]:
    """A client of a bridge as it is served, with an Argo, a catalog and a store of its own."""
    reach: list[str] = []
    async with AsyncExitStack() as stack:
        argo = await stack.enter_async_context(embedded_argo())
        backstage, _ = await stack.enter_async_context(_catalog(reach))
        settings = Settings(
            actions=locked_actions(folder),
            tokens=SecretStr(f"tester={SERVICE_TOKEN}"),
            secret_key=SecretStr("key-of-the-scenarios-of-32-bytes"),
            public_url=PUBLIC_URL,
            backstage_url=backstage,
            argo_url=argo.url,
            database=folder / "bridge.db",
        )
        bridge = await stack.enter_async_context(open_bridge(settings))
        server = server_for(bridge.app(), host="127.0.0.1", port=0, drain=bridge.drain)
        serving = asyncio.ensure_future(server.serve())
        try:
            await asyncio.wait_for(server.ready.wait(), 10)
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            reach.append(url)
            http = await stack.enter_async_context(client(url, timeout=10, connections=10))
            http.headers.update(AUTHORIZED)
            await argo.watching()
            yield http, bridge
        finally:
            server.should_exit = True
            await serving


async def test_what_is_documented_is_exported_and_nothing_else(tmp_path: Path):
    """A rule or a dashboard that is written from the reference finds its series."""
    async with whole_bridge(tmp_path) as (http, bridge):
        body = {"action": "work:entity", "input": {"name": "thing"}}
        run = (await http.post("/v1/runs", json=body)).json()
        reader = Reader(http, run["links"]["self"]).start()
        assert (await reader.end())["status"] == "succeeded"
        await reader.aclose()
        text = await scrape(http)
        metrics = bridge._adapters.metrics
        assert metrics._heard["default"] > metrics._begun
    for line in (
        'bridge_runs_total{action="work:entity",outcome="succeeded"} 1.0',
        'bridge_queue_wait_seconds_count{action="work:entity"} 1.0',
        'bridge_argo_requests_total{code="200",method="POST",route="create"} 1.0',
        'bridge_watch_connected{target="default"} 1.0',
        'bridge_registrations_total{outcome="registered"} 1.0',
        'bridge_store_seconds_count{operation="accept"} 1.0',
    ):
        assert line in text.splitlines()
    samples, expected = samples_of(text), documented()
    assert {name for name, found in samples.items() if found} == set(expected)
    labels = {(name, *sorted(found)) for name, every in samples.items() for found in every}
    assert labels == {(name, *sorted(given)) for name, given in expected.items()}


def objections(text: str) -> str:
    """What Prometheus' own tool has to say against a text; nothing if it is well."""
    command = [program("promtool"), "check", "metrics"]
    told = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return told.stdout + told.stderr


async def test_prometheus_reads_it_without_objection():
    """Names, types and units are as Prometheus wants them."""
    async with bridge_for() as rig:
        await rig.accepted()
        text = await scrape(rig.http)
    assert await asyncio.to_thread(objections, text) == ""
    assert await asyncio.to_thread(objections, text.replace("# HELP", "# ")) != ""


# --- who may read it ----------------------------------------------------------------------------


async def test_everybody_may_read_it_by_default():
    """Prometheus needs no secret: the network decides who reaches the bridge."""
    async with bridge_for() as rig:
        del rig.http.headers["Authorization"]
        answer = await rig.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert 'bridge_build_info{version="' in answer.text


@pytest.mark.parametrize("kind", ["value", "file"])
async def test_with_a_token_only_its_bearer_may(kind: str, tmp_path: Path):
    """Who cannot keep others off by the network does it by a secret; no other token does."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    given = {"metrics_token": SecretStr(TOKEN)} if kind == "value" else {"metrics_token_file": file}
    async with bridge_for(settings_for(**given)) as rig:
        del rig.http.headers["Authorization"]
        statuses = []
        for sent in ([], ["Bearer wrong"], [f"Bearer {SERVICE_TOKEN}"], [f"Basic {TOKEN}"]):
            headers = [("Authorization", value) for value in sent]
            answer = await rig.http.get("/metrics", headers=headers)
            assert answer.json()["code"] == "unauthenticated"
            statuses.append(answer.status_code)
        twice = [("Authorization", f"Bearer {TOKEN}")] * 2
        statuses.append((await rig.http.get("/metrics", headers=twice)).status_code)
        right = await rig.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        other = await rig.http.get("/v1/runs", headers={"Authorization": f"Bearer {TOKEN}"})
    assert statuses == [401] * 5
    assert right.status_code == 200
    assert other.status_code == 401


def test_a_weak_token_is_refused():
    """Nobody believes to be safe behind a word that can be guessed."""
    with pytest.raises(SettingsInvalid, match="BRIDGE_METRICS_TOKEN"):
        settings_for(metrics_token=SecretStr("short"))


# --- what callers cannot do ---------------------------------------------------------------------


def hostile() -> Iterator[tuple[str, str]]:
    """Requests that would make series, if their words became labels."""
    for number in range(40):
        yield "GET", f"/v1/runs/{number:026}"
        yield "GET", f"/nope/{number}"
        yield "GET", f"/metrics/{number}"
        yield "GET", f"/v1/actions/no:such-{number}"
        yield "GET", f"/catalog/kind-{number}/name-{number}.yaml"
        yield "PUT", f"/v1/runs/{number}/readers/a/{number}"
        yield f"MAKE{number}", "/v1/runs"
        yield f"MAKE{number}", f"/{number}"


async def test_no_caller_makes_series():
    """Whatever is asked, with a token or without, memory and Prometheus keep their size."""
    async with bridge_for() as rig:
        count = {}
        for turn in ("first", "again"):
            for method, path in hostile():
                await rig.http.request(method, f"{path}{turn}", json={})
                await rig.http.request(method, path, headers={"Authorization": "Bearer no"})
            for number in range(20):
                body = {"action": f"no:{turn}-{number}", "input": {}}
                assert (await rig.http.post("/v1/runs", json=body)).status_code == 404
            text = rig.bridge._adapters.metrics.text().decode()
            count[turn] = len(text.splitlines())
    routes = {route.path for route in rig.app.routes if isinstance(route, Route)}
    samples = samples_of(text)
    seen = {labels["route"] for labels in samples["bridge_http_requests_total"]}
    methods = {labels["method"] for labels in samples["bridge_http_requests_total"]}
    assert count["first"] == count["again"]
    assert seen <= routes | {"other"}
    assert {"other", "/v1/runs/{run_id}", "/catalog/{kind}/{file}"} <= seen
    assert methods == {"GET", "POST", "PUT", "other"}
    assert "no:" not in text


@pytest.mark.parametrize(("code", "label"), [(None, "none"), (404, "404"), (799, "other")])
def test_no_answer_of_another_server_makes_series(code: int | None, label: str):
    """An Argo, or a proxy before it, that answers nonsense is one series more."""
    assert code_label(code) == label


# --- replicas -----------------------------------------------------------------------------------


async def open_runs(rig: Rig) -> list[str]:
    """What is told of open runs, but for the zeros."""
    lines = (await scrape(rig.http)).splitlines()
    return [line for line in lines if line.startswith("bridge_runs_open{") and line[-3:] != "0.0"]


async def test_a_run_is_open_where_it_was_taken_up():
    """A rollout loses no run from the sum over replicas."""
    store = FaultyStore()
    async with bridge_for(store=store) as rig:
        await rig.accepted()
    store.restarted()
    async with bridge_for(store=store) as rig:
        assert await open_runs(rig) == ['bridge_runs_open{status="submitting"} 1.0']


async def test_a_run_that_another_replica_has_is_not_open_here():
    """What was taken over counts once, at its new owner."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        rig.bridge.journal.on_lost(run_id)
        assert await open_runs(rig) == []


# --- requests -----------------------------------------------------------------------------------


class CrashingStore(MemoryStore):
    """A store that fails in a way that nobody foresaw."""

    async def run(self, run_id: str):
        """Fail."""
        raise RuntimeError(run_id)


def requests(metrics: Metrics, route: str, code: str, method: str = "GET") -> float | None:
    """How many answers were counted."""
    labels = {"route": route, "method": method, "code": code}
    return metrics.registry.get_sample_value("bridge_http_requests_total", labels)


async def test_requests_are_counted_by_route_and_answer():
    """What is refused before its handler counts too, and so does what crashed."""
    async with bridge_for(store=CrashingStore()) as rig:
        metrics = rig.bridge._adapters.metrics
        await rig.http.get("/v1/runs")
        await rig.http.get("/v1/runs", headers={"Authorization": "Bearer no"})
        await rig.http.get("/v1/runs/some-run")
        await rig.http.post("/v1/runs", json=THING)
        await rig.http.head("/healthz")
    assert requests(metrics, "/v1/runs", "200") == 1
    assert requests(metrics, "/v1/runs", "401") == 1
    assert requests(metrics, "/v1/runs/{run_id}", "500") == 1
    assert requests(metrics, "/v1/runs", "202", "POST") == 1
    assert requests(metrics, "/healthz", "200", "HEAD") == 1
    name, labels = "bridge_http_request_seconds_count", {"route": "/v1/runs"}
    assert metrics.registry.get_sample_value(name, labels) == 3


async def test_a_stream_is_counted_when_it_begins():
    """A request that lasts for hours does not make the bridge look slow."""
    route = "/v1/runs/{run_id}/events"
    async with served() as rig:
        metrics = rig.bridge._adapters.metrics
        run_id = await rig.accepted()
        headers = {"Accept": "text/event-stream"}
        async with rig.http.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as answer:
            assert answer.status_code == 200
            assert requests(metrics, route, "200") == 1
            text = await scrape(rig.http)
            assert "bridge_streams_open 1.0" in text.splitlines()
            assert 'bridge_runs_open{status="submitting"} 1.0' in text.splitlines()


async def test_a_text_is_made_once_a_second():
    """Anybody may ask, and asking often costs the bridge nothing."""
    async with bridge_for() as rig:
        metrics = rig.bridge._adapters.metrics
        rig.bridge._measured._clock = clock = FakeClock()
        assert "another" not in await scrape(rig.http)
        metrics.build_info.labels("another").set(1)
        clock.time = 0.9
        assert "another" not in await scrape(rig.http)
        clock.time = 1.0
        assert "another" in await scrape(rig.http)


async def test_two_bridges_in_one_process_count_apart():
    """Nothing is kept beside a bridge."""
    async with bridge_for() as one, bridge_for() as two:
        await one.http.get("/v1/runs")
        assert requests(one.bridge._adapters.metrics, "/v1/runs", "200") == 1
        assert requests(two.bridge._adapters.metrics, "/v1/runs", "200") is None
