"""What tags can read: the names and values that a workflow and its nodes put into scope. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.localargo.encoding import encode, timestamp
from bridge.localargo.names import pod_name
from bridge.localargo.nodes import COMPLETED, SKIPPED_TYPE, Node
from bridge.localargo.workflow import Workflow

Values = dict[str, str | None]


def workflow_values(workflow: Workflow) -> Values:
    """`workflow.*` for every template of a workflow."""
    plan = workflow.plan
    listed = plan.get("arguments", {}).get("parameters", [])
    values: Values = {
        "workflow.name": workflow.name,
        "workflow.namespace": workflow.namespace,
        "workflow.uid": workflow.uid,
        "workflow.mainEntrypoint": str(plan.get("entrypoint", "")),
        "workflow.serviceAccountName": str(plan.get("serviceAccountName", "")),
        "workflow.creationTimestamp": timestamp(workflow.created_at),
        "workflow.parameters": encode(listed).decode(),
    }
    values |= {f"workflow.parameters.{name}": v for name, v in workflow.parameters().items()}
    for kind in ("labels", "annotations"):
        pairs = workflow.metadata.get(kind, {}).items()
        values |= {f"workflow.{kind}.{key}": value for key, value in pairs}
    values |= {f"workflow.outputs.parameters.{k}": v for k, v in workflow.outputs.items()}
    return values


def exit_values(workflow: Workflow, status: str, now: float) -> Values:
    """What only an exit handler can read: how the workflow has ended, and why."""
    failed = sorted((node for node in workflow.nodes if node.failed), key=lambda n: n.display_name)
    failures = [
        {
            "displayName": node.display_name,
            "message": node.message,
            "templateName": node.template_name,
            "phase": node.phase,
            "podName": pod_name(workflow.name, node.name, node.template_name),
            "finishedAt": timestamp(node.finished_at),
        }
        for node in failed
    ]
    text = encode(failures).decode() if failures else "null"
    return {
        "workflow.status": status,
        "workflow.failures": json.dumps(text, ensure_ascii=False),
        "workflow.duration": f"{now - (workflow.started_at or now):.6f}",
    }


def node_values(prefix: str, node: Node, template: Mapping[str, Any]) -> Values:
    """`steps.<name>.*` or `tasks.<name>.*` for one node.

    The outputs of a skipped node are their defaults, or nothing that an expression can see as nil.
    """
    values: Values = {f"{prefix}.id": node.id}
    if node.started_at:
        values[f"{prefix}.startedAt"] = timestamp(node.started_at)
    if node.finished_at:
        values[f"{prefix}.finishedAt"] = timestamp(node.finished_at)
    if node.phase in COMPLETED or node.type == SKIPPED_TYPE:
        values[f"{prefix}.status"] = node.phase
    outputs = node.outputs or {}
    for key in ("result", "exitCode"):
        if key in outputs:
            values[f"{prefix}.outputs.{key}"] = outputs[key]
    if node.type == SKIPPED_TYPE:
        return values | _skipped_outputs(prefix, template)
    for parameter in outputs.get("parameters", []):
        if "value" in parameter:
            values[f"{prefix}.outputs.parameters.{parameter['name']}"] = parameter["value"]
    return values


def _skipped_outputs(prefix: str, template: Mapping[str, Any]) -> Values:
    declared = template.get("outputs", {}).get("parameters", [])
    return {
        f"{prefix}.outputs.parameters.{item['name']}": item.get("valueFrom", {}).get("default")
        for item in declared
    }


def group_values(prefix: str, nodes: Iterable[Node]) -> Values:
    """The same for a step that ran once for each item: lists of the items' outputs, as JSON."""
    outputs = [node.outputs or {} for node in nodes]
    values: Values = {}
    results = [item["result"] for item in outputs if "result" in item]
    if results:
        values[f"{prefix}.outputs.result"] = encode(results).decode()
    sets = [
        {item["name"]: item["value"] for item in output.get("parameters", []) if "value" in item}
        for output in outputs
    ]
    if any(sets):
        values[f"{prefix}.outputs.parameters"] = encode(sets).decode()
    for name in dict.fromkeys(name for item in sets for name in item):
        listed = [item[name] for item in sets if name in item]
        values[f"{prefix}.outputs.parameters.{name}"] = encode(listed).decode()
    return values


def retry_values(attempts: list[Node]) -> Values:
    """`retries` and `lastRetry.*` for the next attempt."""
    values: Values = {
        "retries": str(len(attempts)),
        "lastRetry.exitCode": "0",
        "lastRetry.status": "",
        "lastRetry.duration": "0",
        "lastRetry.message": "",
    }
    if attempts:
        last = attempts[-1]
        values["lastRetry.exitCode"] = str((last.outputs or {}).get("exitCode", "-1"))
        values["lastRetry.status"] = last.phase
        values["lastRetry.duration"] = str(int((last.finished_at or 0) - last.started_at))
        values["lastRetry.message"] = last.message
    return values
