"""The table of the guide's items holds: each stands where `seed-map.md` says, with that value."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest
import yaml

from tests.deploy.fields import NoSuchField, at, read
from tests.deploy.manifests import ROOT

MAP = ROOT / "docs" / "reference" / "seed-map.md"
COLUMNS = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One row: what the guide says, and the field that holds it."""

    said: str
    file: str
    field: str
    value: str


def _items() -> list[Item]:
    """The rows of all tables, without their heads."""
    rows = [line.strip("|").split("|") for line in MAP.read_text().splitlines() if line[:2] == "| "]
    return [
        Item(*(cell.strip().strip("`") for cell in row[:4]))
        for row in rows
        if len(row) == COLUMNS and row[0].strip() != "The guide"
    ]


ITEMS = _items()
ALERTS = (
    "ArgoServerDown",
    "ArgoWorkflowControllerDown",
    "PlatformAPIWorkflowIntegrationFailure",
    "HighWorkflowFailureRate",
    "LongRunningWorkflows",
    "WorkflowQueueDepthHigh",
)
METRICS = (
    "argo_workflows_count",
    "argo_workflow_duration_seconds",
    "argo_workflows_queue_depth",
    "argo_server_api_requests_total",
)
PANELS = (
    "success rate",
    "active workflows",
    "duration P50",
    "duration P95",
    "duration P99",
    "Platform API integration",
    "resource utilisation",
)

TREE = (
    "README.md",
    "kustomization.yaml",
    "namespace.yaml",
    "serviceaccount.yaml",
    "clusterrole.yaml",
    "clusterrolebinding.yaml",
    "configmap.yaml",
    "workflow-controller-deployment.yaml",
    "argo-server-deployment.yaml",
    "service.yaml",
    "networkpolicy.yaml",
    "poddisruptionbudget.yaml",
    "workflow-templates.yaml",
    "monitoring.yaml",
)
SECRETS = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "PLATFORM_API_TOKEN",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "SSO_CLIENT_ID",
    "SSO_CLIENT_SECRET",
)
SETTINGS = (
    "Parallelism",
    "TTL",
    "Security context",
    "Node selection",
    "Persistence",
    "Artifact repository",
    "Authentication",
    "Authorization",
    "TLS",
    "API access",
    "UI access",
)
FIGURES = tuple(
    f"{part} {figure}"
    for part, cpu, memory in (
        ("Controller", ("100m", "500m"), ("256Mi", "1Gi")),
        ("Server", ("100m", "500m"), ("128Mi", "512Mi")),
        ("Workflow pods", ("50m", "500m"), ("64Mi", "512Mi")),
    )
    for figure in (
        f"CPU request {cpu[0]}",
        f"CPU limit {cpu[1]}",
        f"memory request {memory[0]}",
        f"memory limit {memory[1]}",
    )
)


@pytest.mark.parametrize("item", ITEMS, ids=[item.said for item in ITEMS])
def test_each_item_of_the_guide_is_there(item: Item):
    """What the guide promises is what gets installed, down to the figure."""
    found = read(item.file, item.field)
    if "*" in item.value:
        assert found is not None
        assert fnmatchcase(str(found), item.value.replace("[", "[[]"))
    else:
        assert found == yaml.safe_load(item.value)


@pytest.mark.parametrize(
    "said",
    [
        *TREE,
        *SECRETS,
        *FIGURES,
        *METRICS,
        *(f"Alert {name}" for name in ALERTS),
        *(f"Panel: {name}" for name in PANELS),
    ],
)
def test_no_item_of_the_guide_is_forgotten(said: str):
    """Each file, secret, figure, metric, alert and panel of the guide has exactly one row."""
    assert [item.said for item in ITEMS].count(said) == 1


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_the_guide_is_forgotten(setting: str):
    """Each setting that the guide lists for controller and server has a row."""
    assert any(item.said.startswith(setting) for item in ITEMS)


def test_a_wrong_field_is_seen():
    """A row that names what is not there would fail, rather than be taken for empty."""
    with pytest.raises(NoSuchField, match=r"data\.parallelismm"):
        read(
            "deploy/argo/configmap.yaml",
            "ConfigMap workflow-controller-configmap: data.parallelismm",
        )
    with pytest.raises(NoSuchField, match="Service other"):
        read("deploy/argo/service.yaml", "Service other: spec")
    with pytest.raises(NoSuchField, match="NONE"):
        at([{"name": "ONE"}], "[name=NONE]")
