"""Where Argo's manifests are, and what is read of them: configuration, containers, selectors.

Knows the names of the folders and how Argo keeps its configuration; judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tests.deploy.manifests import ROOT, Built, Document

ARGO = "deploy/argo"
INGRESS = "deploy/overlays/argo-ingress"
INSTALLS = (ARGO, INGRESS, "deploy/overlays/argo-any-cluster")
FLUX = "deploy/argo/flux"
VERSION = "v4.1.2"
ACTIONS = ROOT / "backstage-actions" / "actions"


def config_of(built: Built) -> dict[str, Any]:
    """The controller's configuration, each key read as YAML."""
    data = built.named("ConfigMap", "workflow-controller-configmap")["data"]
    return {key: yaml.safe_load(text) for key, text in data.items()}


def container_of(deployment: Document) -> dict[str, Any]:
    """The one container of a Deployment."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def selects(selector: Mapping[str, str], deployment: Document) -> bool:
    """Whether a selector matches the pods of a Deployment."""
    return selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
