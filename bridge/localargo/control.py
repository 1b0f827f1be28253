"""What clients may do to a workflow that runs: stop, resume, set, suspend, retry.

Knows the rules and texts of Argo's workflow/util, its traps included: a resume with a selector
asks for no outputs, and a resume of nothing is a success (argo-recordings/suspend-resume,
resume-without-output). Knows nothing of HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bridge.localargo.encoding import go_json_error, type_name
from bridge.localargo.engine import Engine
from bridge.localargo.errors import internal, invalid
from bridge.localargo.nodes import (
    DAG,
    FAILED,
    POD,
    RETRY,
    RUNNING,
    SKIPPED,
    STEP_GROUP,
    STEPS,
    SUCCEEDED,
    TASK_GROUP,
    Node,
)
from bridge.localargo.reconcile import MissingOutputError, with_defaults
from bridge.localargo.selectors import Selector, parse_fields
from bridge.localargo.workflow import COMPLETED_LABEL, FINAL_PHASES, Workflow

_Answer = Mapping[str, Any]
_CONFLICT_WAIT = "timed out waiting for the condition: "
_GROUPS = frozenset({STEPS, STEP_GROUP, DAG, TASK_GROUP, RETRY})


def _node_selector(text: str) -> Selector:
    return parse_fields(text, error=internal)


def shut_down(engine: Engine, name: str, *, strategy: str, selector: str, message: str) -> _Answer:
    """Stop or terminate a workflow; with a selector: fail these suspend nodes.

    Raises:
        ArgoError: 404; 500 if the workflow has ended, or the selector matches nothing.
    """
    workflow = engine.get(name)
    if selector:
        return _update_waiting(engine, workflow, selector, phase=FAILED, message=message)
    if workflow.completed:
        raise internal(
            f'cannot shutdown a completed workflow: workflow: "{name}", '
            f'namespace: "{workflow.namespace}"'
        )
    workflow.spec["shutdown"] = strategy
    answer = engine.save(workflow)
    engine.notice(workflow)
    return answer


def suspend(engine: Engine, name: str) -> _Answer:
    """Set `spec.suspend`: nothing new begins until a resume.

    Raises:
        ArgoError: 404; 400 if the workflow has ended.
    """
    workflow = engine.get(name)
    if workflow.completed:
        raise invalid(f"{_CONFLICT_WAIT}cannot suspend completed workflows")
    if workflow.spec.get("suspend"):
        return engine.latest(name).snapshot
    workflow.spec["suspend"] = True
    return engine.save(workflow)


def resume(engine: Engine, name: str, *, selector: str) -> _Answer:
    """Let suspend nodes succeed: those selected, else all of them and the workflow itself.

    Raises:
        ArgoError: 404; 500 if the selector matches nothing, or (without one) an output is missing.
    """
    workflow = engine.get(name)
    if selector:
        return _update_waiting(engine, workflow, selector, phase=SUCCEEDED, message="")
    waiting = [node for node in workflow.nodes if node.waits]
    if workflow.completed or not (waiting or workflow.spec.get("suspend")):
        return engine.latest(name).snapshot
    try:
        outputs = [with_defaults(node.outputs) for node in waiting]
    except MissingOutputError as error:
        raise internal(f"{_CONFLICT_WAIT}{error}") from error
    workflow.spec.pop("suspend", None)
    for node, filled in zip(waiting, outputs, strict=True):
        node.outputs = filled
        _end(engine, node, SUCCEEDED, "")
    return _saved(engine, workflow)


def set_outputs(engine: Engine, name: str, request: Mapping[str, Any]) -> _Answer:
    """Supply outputs of suspend nodes, a message, or their end.

    Args:
        engine: the engine.
        name: the workflow.
        request: `nodeFieldSelector`, `outputParameters` (JSON text of strings), `message`, `phase`.

    Raises:
        ArgoError: 404; 400 for parameters that cannot be read or a wrong phase; 500 for an output
            that is not expected or has a value, and for a selector that is missing or matches
            nothing.
    """
    workflow = engine.get(name)
    values = _parse_outputs(request.get("outputParameters") or "")
    phase = request.get("phase") or ""
    if phase not in {"", *FINAL_PHASES}:
        raise invalid(f"{phase} is an invalid phase to set to")
    selector = request.get("nodeFieldSelector") or ""
    if not selector:
        raise internal(
            "'set' currently only targets suspend nodes, use a node field selector to target them"
        )
    return _update_waiting(
        engine,
        workflow,
        selector,
        phase=phase,
        message=request.get("message") or "",
        values=values,
    )


def _parse_outputs(text: str) -> dict[str, str]:
    if not text:
        return {}
    prefix = "unable to parse output parameter set request: "
    try:
        values = json.loads(text)
    except ValueError as error:
        raise invalid(f"{prefix}{go_json_error(text)}") from error
    if not isinstance(values, dict):
        kind = type_name(type(values))
        raise invalid(
            f"{prefix}json: cannot unmarshal {kind} into Go value of type map[string]string"
        )
    for value in values.values():
        if not isinstance(value, str):
            kind = type_name(type(value))
            raise invalid(f"{prefix}json: cannot unmarshal {kind} into Go value of type string")
    return values


def _update_waiting(
    engine: Engine,
    workflow: Workflow,
    selector: str,
    *,
    phase: str,
    message: str,
    values: Mapping[str, str] | None = None,
) -> _Answer:
    """Change the waiting suspend nodes that a selector matches; at least one must match."""
    wanted = _node_selector(selector)
    found = [node for node in workflow.nodes if node.waits and wanted.matches(node_fields(node))]
    if workflow.completed or not found:
        raise internal(
            "currently, set only targets suspend nodes: no suspend nodes matching "
            f"nodeFieldSelector: {selector}"
        )
    outputs = [_supplied(node, values or {}) for node in found]
    for node, filled in zip(found, outputs, strict=True):
        node.outputs = filled
        node.message = message or node.message
        if phase:
            _end(engine, node, phase, node.message)
    return _saved(engine, workflow)


def _supplied(node: Node, values: Mapping[str, str]) -> dict[str, Any] | None:
    declared = (node.outputs or {}).get("parameters", [])
    names = {parameter["name"] for parameter in declared}
    for name in values:
        if name not in names:
            raise internal(f"node is not expecting output parameter '{name}'")
    filled = []
    for parameter in declared:
        name = parameter["name"]
        if name not in values:
            filled.append(parameter)
            continue
        if "value" in parameter or "supplied" not in (parameter.get("valueFrom") or {}):
            raise internal(
                f"cannot set output parameter '{name}' because it does not use valueFrom.raw or "
                "it was already set"
            )
        kept = {key: item for key, item in parameter.items() if key not in {"name", "valueFrom"}}
        filled.append({"name": name, "value": values[name], **kept})
    return {**(node.outputs or {}), "parameters": filled} if declared else node.outputs


def node_fields(node: Node) -> dict[str, str]:
    """The fields of a node that a selector can name."""
    inputs = (node.inputs or {}).get("parameters", [])
    return {
        "id": node.id,
        "name": node.name,
        "displayName": node.display_name,
        "templateName": node.template_name,
        "phase": node.phase,
    } | {f"inputs.parameters.{item['name']}.value": item.get("value", "") for item in inputs}


def _end(engine: Engine, node: Node, phase: str, message: str) -> None:
    node.phase = phase
    node.message = message or node.message
    node.finished_at = engine.now()


def _saved(engine: Engine, workflow: Workflow) -> _Answer:
    answer = engine.save(workflow)
    engine.notice(workflow)
    return answer


def retry(engine: Engine, name: str, request: Mapping[str, Any]) -> _Answer:
    """Run the failed part of a workflow again under the same name and uid.

    Args:
        engine: the engine.
        name: the workflow.
        request: `parameters` (`["name=value"]`) replace values of the arguments.

    Raises:
        ArgoError: 404; 400 if the workflow has not failed, or restarting successful nodes is asked.
    """
    workflow = engine.get(name)
    _check_retry(workflow, request)
    for text in request.get("parameters") or ():
        _replace_parameter(workflow, text)
    removed = _failed_parts(workflow)
    for id_ in removed:
        del workflow.nodes.by_id[id_]
    _reopen(engine, workflow, removed)
    answer = engine.save(workflow)
    engine.look_again(workflow, engine.now())  # as at a new one (argo-recordings/retry)
    return answer


def _check_retry(workflow: Workflow, request: Mapping[str, Any]) -> None:
    if request.get("restartSuccessful"):
        raise invalid("restartSuccessful is not supported by the embedded Argo")
    if request.get("nodeFieldSelector"):
        raise invalid("nodeFieldSelector of a retry is not supported by the embedded Argo")
    if workflow.phase == "Succeeded":
        raise invalid(
            "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector"
        )
    if workflow.phase not in {"Failed", "Error"}:
        raise invalid(f"Cannot retry a workflow in phase {workflow.phase}")


def _replace_parameter(workflow: Workflow, text: str) -> None:
    name, found, value = text.partition("=")
    if not found:
        raise internal(f"expected parameter of the form: NAME=VALUE. Received: {text}")
    for holder in (workflow.spec, workflow.plan):
        listed = (holder.get("arguments") or {}).get("parameters") or []
        changed = [{**item, "value": value} if item["name"] == name else item for item in listed]
        if holder is workflow.spec:
            workflow.spec["arguments"] = {"parameters": changed} if changed else {}
        else:
            workflow.plan = {**holder, "arguments": {"parameters": changed}}


def _failed_parts(workflow: Workflow) -> set[str]:
    """The nodes to forget.

    These are failed and unfinished leaves, failed Retry nodes with their attempts, what was
    omitted because of them, and the whole exit handler.
    """
    tree = workflow.nodes
    removed = {node.id for node in tree if node.name.startswith(f"{workflow.name}.onExit")}
    bad = [
        node
        for node in tree
        if node.phase not in {SUCCEEDED, SKIPPED}
        and node.type not in _GROUPS
        and not (node.flag or {}).get("retried")
    ]
    retried = [node for node in tree if node.type == RETRY and node.phase != SUCCEEDED]
    waiting = [node.id for node in (*bad, *retried)]
    while waiting:
        id_ = waiting.pop()
        if id_ not in removed:
            removed.add(id_)
            node = tree.by_id.get(id_)
            waiting += node.children if node else ()
    return removed


def _reopen(engine: Engine, workflow: Workflow, removed: set[str]) -> None:
    now = engine.now()
    for node in workflow.nodes:
        node.children = tuple(id_ for id_ in node.children if id_ not in removed)
        if node.type != POD and node.failed:
            node.phase, node.message = RUNNING, ""
            node.started_at, node.finished_at = now, None
            node.outbound = ()
    workflow.phase = workflow.message = ""
    workflow.started_at, workflow.finished_at = now, None
    workflow.set_labels({COMPLETED_LABEL: None})
    workflow.conditions = {**workflow.conditions, "Completed": "False"}
    workflow.spec.pop("shutdown", None)
    workflow.stuck = False
