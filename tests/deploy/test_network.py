"""Connections: what works together reaches each other, and nothing else does."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import Built
from tests.deploy.network import Pod, connects, pods, selects

OUTSIDE = {
    "workflow": Pod("argo-workflows", {"workflows.argoproj.io/workflow": "one"}),
    "backstage": Pod("backstage", {"app": "backstage"}),
    "platform-api": Pod("platform-api", {"app": "platform-api"}),
    "prometheus": Pod("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "ingress": Pod("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}),
    "stranger": Pod("team-a-dev", {"app": "anything"}),
    "dns": Pod("kube-system", {"k8s-app": "kube-dns"}),
    "api-server": Pod(address="10.0.0.1"),
    "database": Pod(address="10.20.0.4"),
    "internet": Pod(address="20.190.128.1"),
    "node-metadata": Pod(address="169.254.169.254"),
}
SELECTING = {
    "Service": "selector",
    "PodDisruptionBudget": "selector",
    "NetworkPolicy": "podSelector",
}


def _everybody(built: dict[str, Built], bridge: str) -> dict[str, Pod]:
    """All ends of connections by name."""
    made = [*pods(built["deploy/argo"].documents), *pods(built[bridge].documents)]
    names = {
        "controller": {"app.kubernetes.io/component": "workflow-controller"},
        "argo-server": {"app.kubernetes.io/component": "argo-server"},
        "bridge": {
            "app.kubernetes.io/name": "argo-bridge",
            "app.kubernetes.io/component": "server",
        },
    }
    found = {
        name: next(pod for pod in made if selects({"matchLabels": labels}, pod.labels))
        for name, labels in names.items()
    }
    return found | OUTSIDE


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        ("bridge", "argo-server", 2746, True),
        ("bridge", "backstage", 7007, True),
        ("backstage", "bridge", 8080, True),
        ("workflow", "bridge", 8080, True),
        ("workflow", "platform-api", 3000, True),
        ("platform-api", "argo-server", 2746, True),
        ("prometheus", "argo-server", 2746, True),
        ("prometheus", "controller", 9090, True),
        ("prometheus", "bridge", 8080, True),
        ("controller", "api-server", 443, True),
        ("argo-server", "api-server", 443, True),
        ("workflow", "api-server", 443, True),
        ("controller", "database", 5432, True),
        ("argo-server", "database", 5432, True),
        ("bridge", "internet", 443, True),
        ("controller", "dns", 53, True),
        ("workflow", "dns", 53, True),
        ("bridge", "dns", 53, True),
        ("stranger", "argo-server", 2746, False),
        ("stranger", "controller", 9090, False),
        ("stranger", "bridge", 8080, False),
        ("stranger", "workflow", 8080, False),
        ("workflow", "argo-server", 2746, False),
        ("workflow", "controller", 9090, False),
        ("workflow", "workflow", 8080, False),
        ("workflow", "database", 5432, False),
        ("workflow", "node-metadata", 80, False),
        ("bridge", "controller", 9090, False),
        ("bridge", "workflow", 8080, False),
        ("bridge", "api-server", 443, False),
        ("bridge", "stranger", 8080, False),
        ("bridge", "node-metadata", 80, False),
        ("prometheus", "workflow", 8080, False),
        ("argo-server", "bridge", 8080, False),
    ],
)
def test_connections_are_open_at_both_ends_or_closed(
    built: dict[str, Built], store: str, source: str, target: str, port: int, *, expected: bool
):
    """What works together reaches each other; strangers reach nothing."""
    bridge = f"deploy/bridge/overlays/{store}"
    ends = _everybody(built, bridge)
    policies = [
        each for name in ("deploy/argo", bridge) for each in built[name].of_kind("NetworkPolicy")
    ]
    assert connects(policies, ends[source], ends[target], port) is expected


def test_only_the_bridge_on_postgresql_reaches_a_database(built: dict[str, Built]):
    """The bridge on SQLite has no way to a database, which it does not need."""
    reached = {}
    for store in ("sqlite", "postgres"):
        name = f"deploy/bridge/overlays/{store}"
        ends = _everybody(built, name)
        policies = list(built[name].of_kind("NetworkPolicy"))
        reached[store] = connects(policies, ends["bridge"], ends["database"], 5432)
    assert reached == {"sqlite": False, "postgres": True}


def test_every_selector_selects_a_pod(built: dict[str, Built]):
    """No service, budget or policy is without pods because a label is misspelt."""
    missed = []
    for made in built.values():
        there = [*pods(made.documents), OUTSIDE["workflow"]]
        for each in made.of_kind(*SELECTING):
            selector = each["spec"][SELECTING[each["kind"]]]
            if each["kind"] == "Service":
                selector = {"matchLabels": selector}
            place = each["metadata"]["namespace"]
            if not any(pod.namespace == place and selects(selector, pod.labels) for pod in there):
                missed.append(f"{made.name}: {each['kind']} {each['metadata']['name']}")
    assert missed == []


def test_what_scales_scales_something(built: dict[str, Built]):
    """The autoscaler names a Deployment that is there."""
    for made in built.values():
        for each in made.of_kind("HorizontalPodAutoscaler"):
            target = each["spec"]["scaleTargetRef"]
            assert made.named(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
    assert list(built["deploy/bridge/overlays/postgres"].of_kind("HorizontalPodAutoscaler"))
