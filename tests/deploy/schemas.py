"""Kubernetes' own schemas, and which objects have none because others define their kinds."""

from __future__ import annotations

import kubernetes_validate

from tests.deploy.manifests import Document

KUBERNETES = "1.35"

CUSTOM = {
    ("argoproj.io/v1alpha1", "WorkflowTemplate"),
    ("cert-manager.io/v1", "Certificate"),
    ("cert-manager.io/v1", "ClusterIssuer"),
    ("external-secrets.io/v1", "ExternalSecret"),
    ("external-secrets.io/v1", "SecretStore"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
}
"""Kinds that operators define: Argo, cert-manager, External Secrets, Flux, Prometheus Operator."""


def is_custom(document: Document) -> bool:
    """Whether its kind is defined by a CustomResourceDefinition."""
    return (document["apiVersion"], document["kind"]) in CUSTOM


def title(document: Document) -> str:
    """`Kind namespace/name`, for people."""
    metadata = document["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{document['kind']} {place}{metadata['name']}"


def fault(document: Document) -> str | None:
    """What the schema of Kubernetes has against an object; unknown fields count."""
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        return f"{title(document)}: {path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"{title(document)}: Kubernetes has no {document['apiVersion']} {document['kind']}"
    return None
