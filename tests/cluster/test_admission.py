"""What a real API server says to everything under `deploy/`."""

from __future__ import annotations

import copy

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import KubectlError
from tests.cluster.pods import configuration, pod_of, workflow_pods
from tests.deploy.manifests import kustomizations
from tests.deploy.schemas import is_custom, title

OURS = ("argo", "argo-workflows", "argo-bridge")


@pytest.mark.parametrize("name", kustomizations())
def test_the_api_server_accepts_every_object(cluster: Cluster, report: list[str], name: str):
    """`kubectl apply -k` of any folder is taken whole, without a warning."""
    documents = [each for each in cluster.built[name].documents if not is_custom(each)]
    said = cluster.admin.apply(documents, "--dry-run=server") if documents else ""
    custom = sorted(title(each) for each in cluster.built[name].documents if is_custom(each))
    report.append(f"{name}: {len(documents)} built-in objects accepted")
    report.extend(f"  not judged, custom: {each}" for each in custom)
    assert said == ""


@pytest.mark.parametrize("namespace", OURS)
def test_our_namespaces_enforce_restricted_pods(cluster: Cluster, namespace: str):
    """Nobody starts a privileged pod beside Argo or the bridge."""
    labels = cluster.admin.json("get", "namespace", namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pod_security_admits_the_pods_of_the_manifests(cluster: Cluster, report: list[str]):
    """Controller, server, bridge and jobs start in namespaces that admit restricted pods only."""
    assert cluster.documents("StatefulSet", "DaemonSet", "CronJob", "Pod") == []
    pods = [pod_of(each) for each in cluster.documents("Deployment", "Job")]
    for pod in pods:
        cluster.admin.create(pod, "--dry-run=server")
    report.append(f"restricted admits: {', '.join(sorted({title(pod) for pod in pods}))}")
    names = {pod["metadata"]["name"].removesuffix("-check") for pod in pods}
    assert names >= {"workflow-controller", "argo-server", "argo-bridge"}


@pytest.mark.parametrize("name", ["deploy/argo", "deploy/overlays/argo-any-cluster"])
def test_pod_security_admits_the_pods_of_workflows(cluster: Cluster, report: list[str], name: str):
    """With the configuration of Argo that is shipped, every step of the workflows can start."""
    argo = cluster.built[name]
    config = configuration(argo)
    templates = list(argo.of_kind("WorkflowTemplate"))
    pods = [pod for each in templates for pod in workflow_pods(each, config)]
    for pod in pods:
        cluster.admin.create(pod, "--dry-run=server")
    report.append(f"{name}: restricted admits {', '.join(sorted({title(pod) for pod in pods}))}")
    assert {"namespace-provisioning"} <= {each["metadata"]["name"] for each in templates}
    assert "workflow-create-namespace" in {pod["metadata"]["name"] for pod in pods}


def test_pod_security_is_in_force(cluster: Cluster):
    """The checks above mean something: a pod that may become root is refused."""
    pod = copy.deepcopy(pod_of(cluster.documents("Deployment")[0]))
    pod["spec"]["containers"][0].pop("securityContext", None)
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        cluster.admin.create(pod, "--dry-run=server")
