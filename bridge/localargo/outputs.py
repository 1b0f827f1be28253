"""Outputs: of Steps and DAG templates from their parts, and of workflows by `globalName`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bridge.localargo.expressions import ExpressionError, evaluate
from bridge.localargo.nodes import ERROR, SUCCEEDED, Node
from bridge.localargo.templates import as_text
from bridge.localargo.variables import Values
from bridge.localargo.workflow import Workflow

if TYPE_CHECKING:
    from bridge.localargo.reconcile import Reconciliation


class OutputError(Exception):
    """An output of a template has neither a value nor a default."""


def template_outputs(
    look: Reconciliation, node: Node, template: Mapping[str, Any], values: Values
) -> Node:
    """End a Steps or DAG node: with its outputs as Succeeded, or as Error without them."""
    declared = template.get("outputs", {}).get("parameters", [])
    try:
        resolved = [_resolve(look, parameter, values) for parameter in declared]
    except OutputError as error:
        return look.mark(node, ERROR, str(error))
    if resolved:
        node.outputs = {"parameters": resolved}
        look.publish(node)
    return look.mark(node, SUCCEEDED)


def publish(workflow: Workflow, node: Node) -> bool:
    """Make outputs with a `globalName` outputs of the workflow; True if there is a new one."""
    found = {
        item["globalName"]: item["value"]
        for item in (node.outputs or {}).get("parameters", [])
        if item.get("globalName") and "value" in item
    }
    fresh = {name: value for name, value in found.items() if workflow.outputs.get(name) != value}
    if fresh:
        workflow.outputs = {**workflow.outputs, **fresh}
    return bool(fresh)


def _resolve(look: Reconciliation, parameter: Mapping[str, Any], values: Values) -> dict[str, Any]:
    source = parameter.get("valueFrom") or {}
    value: str | None = None
    if source.get("expression"):
        try:
            found = evaluate(source["expression"], look.scope(values).env())
        except ExpressionError as error:
            raise OutputError(str(error)) from error
        value = None if found is None else as_text(found)
    elif source.get("parameter"):
        name = source["parameter"].removeprefix("{{").removesuffix("}}").strip()
        value = look.scope(values).values.get(name)
    if value is None and "default" in source:
        value = as_text(source["default"])
    if value is None:
        raise OutputError(f"Unable to resolve: {source.get('parameter') or parameter['name']}")
    rest = {key: item for key, item in parameter.items() if key not in {"valueFrom", "value"}}
    return {"name": rest.pop("name"), "value": value, **rest}
