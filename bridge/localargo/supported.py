"""Which fields of a Workflow or WorkflowTemplate are carried out, and which are refused.

A field is either carried out, or has no meaning where there are no pods (`_POD_ONLY`), or is
refused by name. Nothing is dropped in silence, because a template that runs here must mean the
same on a cluster. Knows shapes only. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.localargo.encoding import type_name

_Shape = Mapping[str, Any]
_ANY = "any"
_STRINGS = "strings"  # a map of strings

# Where and as whom a pod runs says nothing about a local process.
_POD_ONLY: _Shape = dict.fromkeys(
    (
        "automountServiceAccountToken",
        "executor",
        "nodeSelector",
        "securityContext",
        "serviceAccountName",
        "tolerations",
    ),
    _ANY,
)
_PARAMETER: _Shape = {
    "name": _ANY,
    "value": _ANY,
    "default": _ANY,
    "enum": _ANY,
    "description": _ANY,
    "globalName": _ANY,
    "valueFrom": dict.fromkeys(
        ("path", "jsonPath", "jqFilter", "parameter", "expression", "supplied", "default"), _ANY
    ),
}
_PARAMETERS: _Shape = {"parameters": [_PARAMETER]}
_SECRET_KEY: _Shape = {"secretKeyRef": dict.fromkeys(("name", "key", "optional"), _ANY)}
_ENV: _Shape = {"name": _ANY, "value": _ANY, "valueFrom": _SECRET_KEY}
_CONTAINER: _Shape = {
    **dict.fromkeys(
        ("name", "image", "imagePullPolicy", "command", "args", "resources", "securityContext"),
        _ANY,
    ),
    "env": [_ENV],
}
_BACKOFF: _Shape = dict.fromkeys(("duration", "factor", "maxDuration", "cap"), _ANY)
_RETRY: _Shape = {
    "limit": _ANY,
    "retryPolicy": _ANY,
    "expression": _ANY,
    "backoff": _BACKOFF,
}
_STEP: _Shape = {
    **dict.fromkeys(("name", "template", "when", "withItems", "withParam"), _ANY),
    "arguments": _PARAMETERS,
    "continueOn": {"failed": _ANY, "error": _ANY},
}
_TASK: _Shape = {**_STEP, "depends": _ANY, "dependencies": _ANY}
_HTTP: _Shape = {
    **dict.fromkeys(
        ("url", "method", "body", "timeoutSeconds", "successCondition", "insecureSkipVerify"), _ANY
    ),
    "headers": [_ENV],
}
_RESOURCE: _Shape = dict.fromkeys(
    ("action", "manifest", "flags", "mergeStrategy", "successCondition", "failureCondition"), _ANY
)
_TEMPLATE: _Shape = {
    **_POD_ONLY,
    "name": _ANY,
    "metadata": {"labels": _STRINGS, "annotations": _STRINGS},
    "inputs": _PARAMETERS,
    "outputs": _PARAMETERS,
    "steps": [[_STEP]],
    "dag": {"tasks": [_TASK], "target": _ANY, "failFast": _ANY},
    "script": {**_CONTAINER, "source": _ANY},
    "container": _CONTAINER,
    "resource": _RESOURCE,
    "http": _HTTP,
    "suspend": {"duration": _ANY},
    "retryStrategy": _RETRY,
    "activeDeadlineSeconds": _ANY,
    "timeout": _ANY,
}
_SPEC: _Shape = {
    **_POD_ONLY,
    **dict.fromkeys(
        ("entrypoint", "onExit", "activeDeadlineSeconds", "suspend", "shutdown", "priority"), _ANY
    ),
    **dict.fromkeys(("archiveLogs", "imagePullSecrets", "podMetadata"), _ANY),
    "arguments": _PARAMETERS,
    "templates": [_TEMPLATE],
    "workflowTemplateRef": {"name": _ANY},
    "synchronization": {"mutexes": [{"name": _ANY}]},
    "ttlStrategy": dict.fromkeys(
        ("secondsAfterCompletion", "secondsAfterSuccess", "secondsAfterFailure"), _ANY
    ),
    "podGC": {"strategy": _ANY, "deleteDelayDuration": _ANY},
    "workflowMetadata": {
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "labelsFrom": _ANY,
    },
}
_METADATA: _Shape = {
    **dict.fromkeys(
        ("name", "generateName", "namespace", "uid", "resourceVersion", "generation"), _ANY
    ),
    **dict.fromkeys(("creationTimestamp", "managedFields"), _ANY),
    "labels": _STRINGS,
    "annotations": _STRINGS,
}
_OBJECT: _Shape = {
    "apiVersion": _ANY,
    "kind": _ANY,
    "metadata": _METADATA,
    "spec": _SPEC,
    "status": _ANY,
}


def complaint(document: Any) -> str | None:
    """Why a Workflow or WorkflowTemplate cannot be taken; None if all of it is supported.

    The sentence names the first field at fault by its path, such as
    `spec.templates[2].container.volumeMounts is not supported by the embedded Argo`.
    """
    return _check(document, _OBJECT, "")


def _check(value: Any, shape: Any, path: str) -> str | None:
    if shape == _ANY or value is None:
        return None
    if isinstance(shape, list):
        return _check_list(value, shape[0], path)
    if not isinstance(value, dict):
        return f"{path or 'the document'} must be an object, not {type_name(type(value))}"
    if shape == _STRINGS:
        wrong = next((key for key, text in value.items() if not isinstance(text, str)), None)
        return None if wrong is None else f"{path}.{wrong} must be a string"
    return _check_fields(value, shape, path)


def _check_fields(value: Mapping[str, Any], shape: _Shape, path: str) -> str | None:
    for key, part in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in shape and part not in (None, [], {}):
            return f"{where} is not supported by the embedded Argo"
        found = _check(part, shape.get(key, _ANY), where)
        if found is not None:
            return found
    return None


def _check_list(value: Any, shape: Any, path: str) -> str | None:
    if not isinstance(value, list):
        return f"{path} must be an array, not {type_name(type(value))}"
    found = (_check(item, shape, f"{path}[{number}]") for number, item in enumerate(value))
    return next((text for text in found if text is not None), None)
