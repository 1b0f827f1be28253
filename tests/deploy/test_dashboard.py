"""Dashboards: Grafana can read them, and every panel draws what a real Prometheus scraped."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.grafana import complaints
from tests.deploy.live import EXPOSITIONS, JOBS, RATE_INTERVAL, Prometheus, scraped_bridge
from tests.deploy.manifests import Built
from tests.deploy.monitoring import (
    DASHBOARDS,
    MONITORING,
    ROOT,
    dashboards,
    exported,
    named,
    panels,
    rules,
)

SEED = {
    "success rate trending": "Workflow success rate",
    "active workflow count": "Active workflows",
    "duration percentiles": "Workflow duration",
    "Platform API integration metrics": "Platform API requests by code",
    "resource utilization trends": "CPU, share of the limit",
}
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
DOWN = {"ArgoServerDown", "ArgoWorkflowControllerDown", "BridgeDown"}
"""What a scrape that is late on a busy machine looks like, for a moment."""
_OF_VARIABLE = re.compile(r"label_values\((.+), (\w+)\)")


def base(series: str) -> str:
    """The name of the metric that a series belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", series)


def queries(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """Title of the panel and expression of each query."""
    return [
        (panel["title"], target["expr"])
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


async def resolved(prometheus: Prometheus, dashboard: dict[str, Any]) -> dict[str, str]:
    """The dashboard's variables as Grafana would fill them in: "All" where it can be chosen."""
    values = {"__rate_interval": RATE_INTERVAL}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = _OF_VARIABLE.fullmatch(variable["query"])
            assert asked is not None
            found = await prometheus.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]})
            assert found, f"{variable['name']} has no values"
            values[variable["name"]] = variable["allValue"] if variable["includeAll"] else found[0]
    return values


def filled(query: str, values: dict[str, str]) -> str:
    """The query with its variables replaced."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)


async def test_every_panel_draws(tmp_path: Path):
    """Scraped from a bridge that runs, every query shows a number, and no alert is near."""
    async with scraped_bridge(tmp_path) as prometheus:
        for name, dashboard in dashboards().items():
            values = await resolved(prometheus, dashboard)
            for title, query in queries(dashboard):
                asked = filled(query, values)
                assert await prometheus.drawn(asked), f"{name}: {title} draws nothing: {asked}"
        judged = [
            rule for group in (await prometheus.ask("rules"))["groups"] for rule in group["rules"]
        ]
        assert {rule["health"] for rule in judged} == {"ok"}
        assert len(judged) == len(rules("alert") + rules("record"))
        calling = {rule["name"] for rule in judged if rule.get("state", "inactive") != "inactive"}
        assert calling <= DOWN


@pytest.mark.parametrize("name", [path.stem for path in DASHBOARDS])
def test_grafana_knows_every_field(name: str):
    """Nothing in a dashboard is dropped or misread when Grafana loads it."""
    assert complaints(dashboards()[name]) == []


def test_grafana_would_complain():
    """A mistake in a dashboard is seen, be it a name, a type or a value."""
    broken = copy.deepcopy(dashboards()["bridge"])
    panel = next(panel for panel in broken["panels"] if panel["type"] == "timeseries")
    panel["targets"][0]["expression"] = "up"
    panel["gridPos"]["w"] = "8"
    panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "wavy"
    told = complaints(broken)
    for word in ("expression is unknown", "w is '8'", "draw_style is 'wavy'"):
        assert any(word in complaint for complaint in told), (word, told)


@pytest.mark.parametrize("name", [path.stem for path in DASHBOARDS])
def test_panels_ask_for_what_is_exported(name: str):
    """No panel stays empty because nobody has its metric; every variable is defined."""
    dashboard = dashboards()[name]
    known = exported()
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for title, query in queries(dashboard):
        assert named(query), title
        assert named(query) <= known.keys(), (title, named(query) - known.keys())
        assert set(re.findall(r"\$(\w+)", query)) <= variables | {"__rate_interval"}, title
    for panel in panels(dashboard):
        assert panel["datasource"] == DATA_SOURCE
        assert all(target["datasource"] == DATA_SOURCE for target in panel["targets"])


def test_every_metric_of_the_bridge_is_shown():
    """Whatever the bridge measures can be seen without writing a query."""
    shown = {
        name
        for each in dashboards().values()
        for _, asked in queries(each)
        for name in named(asked)
    }
    recorded = [rule["expr"] for rule in rules("record") if rule["record"] in shown]
    shown |= {name for expression in recorded for name in named(expression)}
    seen = {base(name) for name in shown}
    own = {base(name) for name in exported() if name.startswith("bridge_")}
    assert own
    assert own <= seen, own - seen


def test_the_seeds_panels_are_there():
    """What the platform team was promised is on the dashboard of Argo Workflows."""
    titles = {
        title: panel
        for panel in panels(dashboards()["argo-workflows"])
        for title in [panel["title"]]
    }
    for promise, title in SEED.items():
        assert title in titles, promise
    legends = [target["legendFormat"] for target in titles["Workflow duration"]["targets"]]
    assert legends == ["P50", "P95", "P99"]


@pytest.mark.parametrize("name", [path.stem for path in DASHBOARDS])
def test_panels_lie_side_by_side(name: str):
    """No panel covers another or leaves the grid of 24 columns, and each can be linked to."""
    dashboard = dashboards()[name]
    every = dashboard["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        cells = set(itertools.product(columns, rows))
        assert columns.stop <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_links_lead_to_the_other_dashboard():
    """From either dashboard one comes to the other."""
    ids = {f"/d/{dashboard['uid']}" for dashboard in dashboards().values()}
    links = [link["url"] for dashboard in dashboards().values() for link in dashboard["links"]]
    assert set(links) == ids
    assert len(links) == len(ids) == 2


def test_files_stand_for_exactly_what_others_export():
    """What the panels were drawn from has the names, types and labels that are checked in."""
    listed = yaml.safe_load((MONITORING / "foreign-metrics.yaml").read_text())
    names = {name: fact for part in listed.values() for name, fact in part["names"].items()}
    del names["up"]  # Prometheus' own
    text = "".join(path.read_text() for path in EXPOSITIONS.glob("*.txt"))
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert types == {name: fact["type"] for name, fact in names.items()}
    for name, labels in re.findall(r"^([a-z]\w+)\{(.*)\} ", text, re.MULTILINE):
        found = set(re.findall(r'(\w+)="', labels)) - {"le"}
        metric = name if name in names else base(name)
        assert found == set(names[metric]["labels"]), name


def test_jobs_are_named_after_services():
    """What alerts call a job is the Service that a ServiceMonitor finds."""
    files = [
        *(ROOT / "deploy" / "argo").glob("*.yaml"),
        *(ROOT / "deploy" / "bridge").rglob("*.yaml"),
    ]
    documents = [doc for path in files for doc in yaml.safe_load_all(path.read_text()) if doc]
    services = {doc["metadata"]["name"] for doc in documents if doc.get("kind") == "Service"}
    assert set(JOBS) <= services
    used = {
        job
        for text in [rule["expr"] for rule in rules("alert")]
        + [query for dashboard in dashboards().values() for _, query in queries(dashboard)]
        for job in re.findall(r'job="([^"]+)"', text)
    }
    assert used == set(JOBS)


def test_kustomize_makes_what_grafana_and_prometheus_find(built: dict[str, Built]):
    """One ``kubectl apply -k`` brings the rules and both dashboards, as Grafana's sidecar asks."""
    documents = built["deploy/monitoring"].documents
    objects = {(doc["kind"], doc["metadata"]["name"]): doc for doc in documents}
    maps = {key: doc for key, doc in objects.items() if key[0] == "ConfigMap"}
    assert objects.keys() - maps.keys() == {("PrometheusRule", "argo-bridge")}
    held = {name: text for doc in maps.values() for name, text in doc["data"].items()}
    assert {name: json.loads(text) for name, text in held.items()} == {
        f"{name}.json": dashboard for name, dashboard in dashboards().items()
    }
    assert all(doc["metadata"]["labels"]["grafana_dashboard"] == "1" for doc in maps.values())
