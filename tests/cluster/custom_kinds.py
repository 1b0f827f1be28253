"""Kinds that operators bring along, as far as a cluster must know them to store such objects.

Their schemas take anything: what is in the objects is for the operators to judge.
"""

from __future__ import annotations

from tests.deploy.manifests import Document

_KINDS = (
    ("argoproj.io", "v1alpha1", "Workflow", "workflows"),
    ("argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates"),
    ("argoproj.io", "v1alpha1", "CronWorkflow", "cronworkflows"),
    ("argoproj.io", "v1alpha1", "ClusterWorkflowTemplate", "clusterworkflowtemplates"),
    ("argoproj.io", "v1alpha1", "WorkflowTaskResult", "workflowtaskresults"),
    ("argoproj.io", "v1alpha1", "WorkflowTaskSet", "workflowtasksets"),
    ("argoproj.io", "v1alpha1", "WorkflowArtifactGCTask", "workflowartifactgctasks"),
    ("argoproj.io", "v1alpha1", "WorkflowEventBinding", "workfloweventbindings"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    ("velero.io", "v1", "Schedule", "schedules"),
)
_CLUSTER_SCOPED = ("ClusterWorkflowTemplate",)


def definitions() -> list[Document]:
    """The CustomResourceDefinitions."""
    return [_definition(*kind) for kind in _KINDS]


def _definition(group: str, version: str, kind: str, plural: str) -> Document:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster" if kind in _CLUSTER_SCOPED else "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }
