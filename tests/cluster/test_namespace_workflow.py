"""The namespace workflow on a real API server, with the rights of its own account only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import KubectlError
from tests.cluster.stage import Stage, open_stage

PLAIN = {"namespaceName": "plain-dev", "team": "team-a"}
SHARED = {
    "namespaceName": "shared-staging",
    "team": "group:default/team-a",
    "environment": "staging",
    "resourceTier": "medium",
    "networkPolicy": "team-shared",
    "features": ["istio-injection", "monitoring"],
    "description": 'Checkout "services"\nof team A',
}
FULL = {
    "namespaceName": "full-dev",
    "team": "team-b",
    "resourceTier": "large",
    "features": ["monitoring-enhanced", "backup", "ingress"],
}
MADE = ("plain-dev", "shared-staging", "full-dev")
QUOTAS = {
    "plain-dev": ("2", "4Gi", "20Gi", "20"),
    "shared-staging": ("8", "16Gi", "100Gi", "50"),
    "full-dev": ("32", "64Gi", "500Gi", "200"),
}
POLICIES = {
    "plain-dev": {"deny-ingress", "isolated"},
    "shared-staging": {"deny-ingress", "team-shared", "allow-monitoring"},
    "full-dev": {"deny-ingress", "isolated", "allow-monitoring", "allow-ingress"},
}


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A bridge whose Argo works as `platform-provisioner`."""
    cluster.admin.text("create", "namespace", "velero")
    provisioner = cluster.account("argo-workflows", "platform-provisioner")
    with open_stage(tmp_path_factory.mktemp("stage"), provisioner.kubeconfig) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(stage: Stage) -> dict[str, Any]:
    """The outputs of three runs that went well, by namespace."""
    paths = {asked["namespaceName"]: stage.ask(**asked) for asked in (PLAIN, SHARED, FULL)}
    runs = {name: stage.ended(path) for name, path in paths.items()}
    for name, run in runs.items():
        assert run["status"] == "succeeded", (name, stage.lines(paths[name]))
        told = stage.lines(paths[name])
        assert f"register | The Platform API has {name} on record (HTTP 200)" in told, told
    return {name: run["outputs"] for name, run in runs.items()}


def test_namespaces_are_there_and_say_whose_they_are(cluster: Cluster, made: dict[str, Any]):
    """Each run leaves the namespace that was asked for, with team, tier, environment and origin."""
    asked = {"plain-dev": PLAIN, "shared-staging": SHARED, "full-dev": FULL}
    for name in MADE:
        metadata = cluster.admin.json("get", "namespace", name)["metadata"]
        labels = metadata["labels"]
        assert metadata["uid"] == made[name]["uid"]
        assert labels["platform.io/team"] == asked[name]["team"].rpartition("/")[2]
        assert labels["platform.io/tier"] == asked[name].get("resourceTier", "small")
        assert labels["platform.io/environment"] == asked[name].get("environment", "development")
        assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
        assert metadata["annotations"]["platform.io/created-by"] == "argo-workflows"
        assert labels.get("istio-injection") == ("enabled" if name == "shared-staging" else None)
    shown = cluster.admin.json("get", "namespace", "shared-staging")["metadata"]["annotations"]
    assert shown["platform.io/description"] == SHARED["description"]


def test_quotas_and_limits_are_those_of_the_tier(cluster: Cluster, made: dict[str, Any]):
    """A team gets what its tier promises, and the API server holds it to that."""
    for name in MADE:
        cpu, memory, storage, pods = QUOTAS[name]
        hard = cluster.admin.json("get", "quota", "tier-quota", "-n", name)["status"]["hard"]
        assert (hard["requests.cpu"], hard["limits.cpu"]) == (cpu, cpu)
        assert (hard["requests.memory"], hard["limits.memory"]) == (memory, memory)
        assert (hard["requests.storage"], hard["pods"]) == (storage, pods)
        assert cluster.admin.names("limits", name) == {"tier-limits"}
    with pytest.raises(KubectlError, match="maximum cpu usage per Container is 1"):
        cluster.admin.create(_pod("plain-dev", cpu="1500m"), "--dry-run=server")
    cluster.admin.create(_pod("plain-dev", cpu="500m"), "--dry-run=server")


def test_the_team_may_work_in_its_namespace_and_nowhere_else(
    cluster: Cluster, made: dict[str, Any]
):
    """The team's group and its deployer deploy in their namespace; they do not lift its bounds."""
    deployer = "system:serviceaccount:plain-dev:team-a-deployer"
    for who in (("--as=ann", "--as-group=team:team-a"), (f"--as={deployer}",)):
        for verb, resource, allowed in (
            ("create", "deployments.apps", True),
            ("get", "secrets", True),
            ("get", "pods/log", True),
            ("get", "resourcequotas", True),
            ("delete", "resourcequotas", False),
            ("delete", "networkpolicies.networking.k8s.io", False),
            ("create", "rolebindings.rbac.authorization.k8s.io", False),
        ):
            assert cluster.admin.can(verb, resource, "plain-dev", *who) is allowed, (verb, resource)
        assert not cluster.admin.can("create", "deployments.apps", "full-dev", *who)
        assert not cluster.admin.can("create", "deployments.apps", "argo-workflows", *who)


def test_network_policies_and_features_are_those_asked_for(cluster: Cluster, made: dict[str, Any]):
    """Isolation, monitoring, backup and a route are there if they were asked for, and only then."""
    kubectl = cluster.admin
    for name in MADE:
        assert kubectl.names("networkpolicies", name) == POLICIES[name]
        monitored = set() if name == "plain-dev" else {"team-metrics"}
        for kind in ("servicemonitors", "podmonitors"):
            assert kubectl.names(kind, name) == monitored
        assert kubectl.names("ingresses", name) == ({"web"} if name == "full-dev" else set())
    monitor = kubectl.json("get", "servicemonitor", "team-metrics", "-n", "full-dev")
    assert monitor["spec"]["endpoints"][0]["interval"] == "10s"
    shared = kubectl.json("get", "networkpolicy", "team-shared", "-n", "shared-staging")
    peer = shared["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
    assert peer == {"platform.io/team": "team-a"}
    route = kubectl.json("get", "ingress", "web", "-n", "full-dev")["spec"]["rules"][0]["host"]
    assert route == "full-dev.apps.example.com"
    schedule = kubectl.json("get", "schedule", "full-dev", "-n", "velero")["spec"]["template"]
    assert schedule == {"includedNamespaces": ["full-dev"], "ttl": "168h0m0s"}
    assert kubectl.names("schedules", "velero").isdisjoint({"plain-dev", "shared-staging"})


def test_a_run_that_fails_midway_removes_what_it_made_and_only_that(
    cluster: Cluster, stage: Stage, made: dict[str, Any]
):
    """A backup of that name is somebody else's: the run fails, its namespace goes, theirs stays."""
    theirs = {
        "apiVersion": "velero.io/v1",
        "kind": "Schedule",
        "metadata": {"name": "halfway-dev", "namespace": "velero"},
        "spec": {"schedule": "0 3 * * *"},
    }
    cluster.admin.create(theirs)
    before = cluster.admin.names("namespaces", "default")
    path = stage.ask(namespaceName="halfway-dev", team="team-a", features=["backup", "ingress"])
    run, told = stage.ended(path), stage.lines(path)
    assert run["status"] == "failed"
    assert "already exists" in run["error"]["message"], run["error"]
    assert any(line.startswith("✓ create-namespace") for line in told), told
    assert any(line.startswith("✓ remove-namespace") for line in told), told
    assert cluster.admin.names("namespaces", "default") == before
    assert (
        cluster.admin.json("get", "schedule", "halfway-dev", "-n", "velero")["spec"]
        == (theirs["spec"])
    )
    assert cluster.admin.names("schedules", "velero") == {"full-dev", "halfway-dev"}
    for name in MADE:
        assert cluster.admin.names("quota", name) == {"tier-quota"}


def test_a_namespace_that_was_there_is_left_alone(cluster: Cluster, stage: Stage):
    """Asking for a namespace that exists fails, and neither changes nor removes it."""
    cluster.admin.text("create", "namespace", "elders")
    before = cluster.admin.json("get", "namespace", "elders")
    path = stage.ask(namespaceName="elders", team="team-a")
    assert stage.ended(path)["status"] == "failed"
    assert any(line.startswith("✓ remove-namespace") for line in stage.lines(path))
    assert cluster.admin.json("get", "namespace", "elders") == before
    assert cluster.admin.names("quota", "elders") == set()


def _pod(namespace: str, *, cpu: str) -> dict[str, Any]:
    resources = {"limits": {"cpu": cpu, "memory": "64Mi"}}
    container = {"name": "main", "image": "example.com/app:1.0.0", "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [container]},
    }
