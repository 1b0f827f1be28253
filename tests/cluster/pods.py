"""The pods that manifests and workflows lead to, without the controllers that would make them.

Knows where objects keep their pod templates, and how Argo's controller builds the pod of a
template from its configuration (argo-workflows v4, `workflow/controller/workflowpod.go`): init and
wait containers of the executor, defaults for the main container, `workflowDefaults` below what
the workflow says. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from bridge.localargo.cluster import MANIFEST_PATH
from tests.deploy.manifests import Built, Document

EXECUTOR_IMAGE = "quay.io/argoproj/argoexec:v4.1.2"
CONFIGURATION = "workflow-controller-configmap"

_RUN_ARGO = {"name": "var-run-argo", "mountPath": "/var/run/argo"}
_TMP = {"name": "tmp-dir-argo", "mountPath": str(PurePosixPath(MANIFEST_PATH).parent)}
_POD_FIELDS = ("tolerations", "nodeSelector", "affinity", "automountServiceAccountToken")
# What the executor's containers of a resource template get if the configuration says nothing.
_MINIMAL = {
    "capabilities": {"drop": ["ALL"]},
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
}


def pod_of(document: Document) -> Document:
    """The pod that a Deployment or Job makes."""
    metadata, template = document["metadata"], document["spec"]["template"]
    labels = template["metadata"]["labels"]
    return _pod(f"{metadata['name']}-check", metadata["namespace"], template["spec"], labels=labels)


def configuration(argo: Built) -> Document:
    """The configuration of Argo's controller, decoded."""
    data = argo.named("ConfigMap", CONFIGURATION)["data"]
    return {key: yaml.safe_load(value) for key, value in data.items()}


def workflow_pods(template: Document, config: Mapping[str, Any]) -> Iterator[Document]:
    """The pods of a WorkflowTemplate, one for each of its templates that needs one."""
    defaults = (config.get("workflowDefaults") or {}).get("spec") or {}
    spec = merged(defaults, template["spec"])
    for each in spec["templates"]:
        if {"script", "container", "resource"} & each.keys():
            pod = _workflow_pod(each, spec, config)
            yield _pod(f"workflow-{each['name']}", template["metadata"]["namespace"], pod)


def merged(below: Any, above: Any) -> Any:
    """Fields of both; where both say something, the upper one counts. Lists are not mixed."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    shared = {key: merged(below[key], above[key]) for key in below.keys() & above.keys()}
    return {**below, **above, **shared}


def _workflow_pod(template: Document, spec: Document, config: Mapping[str, Any]) -> Document:
    is_resource = "resource" in template
    executor = dict(config.get("executor") or {})
    if is_resource:
        executor.setdefault("securityContext", _MINIMAL)
    helpers = {key: executor[key] for key in ("securityContext", "resources") if key in executor}
    helper = {"image": EXECUTOR_IMAGE, **helpers, "volumeMounts": [_RUN_ARGO, _TMP]}
    own = template.get("script") or template.get("container") or dict(helper)
    own = {key: value for key, value in own.items() if key != "source"}
    main = merged(config.get("mainContainer") or {}, own)
    # Tags are filled in by the controller; for what is admitted their values do not matter.
    main = {**main, "name": "main", "volumeMounts": [_RUN_ARGO]}
    main.pop("env", None)
    waiting = [] if is_resource else [{**helper, "name": "wait", "command": ["argoexec", "wait"]}]
    context = template.get("securityContext") or spec.get("securityContext")
    return {
        "restartPolicy": "Never",
        "serviceAccountName": template.get("serviceAccountName") or spec.get("serviceAccountName"),
        "securityContext": context or {},
        "initContainers": [{**helper, "name": "init", "command": ["argoexec", "init"]}],
        "containers": [*waiting, main],
        "volumes": [{"name": each["name"], "emptyDir": {}} for each in (_RUN_ARGO, _TMP)],
        **{field: spec[field] for field in _POD_FIELDS if field in spec},
    }


def _pod(name: str, namespace: str, spec: Document, *, labels: Document | None = None) -> Document:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
