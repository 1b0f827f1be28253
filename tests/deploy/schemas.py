"""Kubernetes' own schemas, and which objects have none because others define their kinds."""

from __future__ import annotations

import kubernetes_validate

from tests.deploy.manifests import Document

KUBERNETES = "1.35"

CUSTOM_GROUPS = {
    "argoproj.io": "Argo Workflows",
    "monitoring.coreos.com": "Prometheus Operator",
    "external-secrets.io": "External Secrets Operator",
    "cert-manager.io": "cert-manager",
    "kustomize.toolkit.fluxcd.io": "Flux",
    "source.toolkit.fluxcd.io": "Flux",
}
"""Groups of custom resources that the manifests use, and whose they are."""


def group_of(document: Document) -> str:
    """The API group of an object; empty for the core group."""
    group, _, _ = str(document["apiVersion"]).rpartition("/")
    return group


def is_custom(document: Document) -> bool:
    """Whether its kind is defined by a CustomResourceDefinition."""
    return group_of(document) in CUSTOM_GROUPS


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
