"""Execution of `steps`: groups one after the other, what is in a group side by side.

Mirrors Argo's executeSteps, the shape of the tree included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bridge.localargo.calls import Call, NodeError, StuckError
from bridge.localargo.fanout import ItemsError, is_expanded, items_of
from bridge.localargo.govaluate import WhenError, should_execute
from bridge.localargo.nodes import (
    ERROR,
    FAILED,
    FINAL,
    RUNNING,
    SKIPPED,
    SKIPPED_TYPE,
    STEP_GROUP,
    SUCCEEDED,
    Node,
)
from bridge.localargo.outputs import template_outputs
from bridge.localargo.tags import TagError, UnresolvedTagError, substitute
from bridge.localargo.variables import Values, group_values, node_values

if TYPE_CHECKING:
    from bridge.localargo.reconcile import Reconciliation

_STRICT = ("steps",)


def execute(look: Reconciliation, node: Node, template: Mapping[str, Any], call: Call) -> Node:
    """Bring the groups of a Steps node as far as they can go now."""
    values: Values = {}
    for number, group in enumerate(template["steps"]):
        group_node = _open_group(look, node, number)
        if group_node.phase not in FINAL:
            _execute_group(look, group_node, group, values, call)
        if group_node.phase not in FINAL:
            return node
        if group_node.failed:
            _set_outbound(look, node, number)
            return look.mark(node, FAILED, group_node.message)
        for step in group:
            values |= _outputs_of(look, f"{group_node.name}.{step['name']}", step)
    _set_outbound(look, node, len(template["steps"]) - 1)
    return template_outputs(look, node, template, values)


def _open_group(look: Reconciliation, node: Node, number: int) -> Node:
    name = f"{node.name}[{number}]"
    group = look.nodes.named(name)
    if group is not None:
        return group
    group = look.initialize(name, STEP_GROUP, RUNNING, boundary=node.id, flag={})
    if number == 0:
        look.connect(node, group)
        return group
    before = look.nodes.named(f"{node.name}[{number - 1}]")
    for child in look.nodes.children(before) if before else []:
        for id_ in look.nodes.outbound(child):
            look.connect(look.nodes.by_id[id_], group)
    return group


def _set_outbound(look: Reconciliation, node: Node, last: int) -> None:
    group = look.nodes.named(f"{node.name}[{last}]")
    children = look.nodes.children(group) if group else []
    look.set_outbound(node, tuple(id_ for child in children for id_ in look.nodes.outbound(child)))


def _outputs_of(look: Reconciliation, name: str, step: Mapping[str, Any]) -> Values:
    prefix = f"steps.{step['name']}"
    node = look.nodes.named(name)
    if node is not None:
        return node_values(prefix, node, look.template(step["template"]))
    return group_values(
        prefix, [child for child in look.nodes if child.name.startswith(f"{name}(")]
    )


def _execute_group(
    look: Reconciliation,
    group_node: Node,
    group: list[Mapping[str, Any]],
    values: Values,
    call: Call,
) -> None:
    try:
        expanded = [
            item for step in group for item in _resolved(look, group_node, step, values, call)
        ]
    except UnresolvedTagError as error:
        raise StuckError(str(error)) from error
    except (TagError, WhenError) as error:
        look.mark(group_node, ERROR, f"failed to resolve references: {error}")
        return
    except ItemsError as error:
        look.mark(group_node, ERROR, str(error))
        return
    tolerated: dict[str, Mapping[str, Any]] = {}
    for step in expanded:
        child = _execute_step(look, group_node, step, call)
        if child is None:
            return
        look.connect(group_node, child)
        tolerated[child.id] = step.get("continueOn") or {}
    _assess(look, group_node, tolerated)


def _resolved(
    look: Reconciliation, group_node: Node, step: Mapping[str, Any], values: Values, call: Call
) -> list[dict[str, Any]]:
    """The steps that a step stands for, tags replaced; one that is skipped keeps its own."""
    scope = look.scope(values)
    if step.get("when") and not is_expanded(step):
        when = substitute(step["when"], scope, passes=1, strict=_STRICT)
        if not should_execute(when):
            return [{**step, "when": when}]
    resolved: dict[str, Any] = substitute(step, scope, passes=1, strict=_STRICT)
    if not is_expanded(step):
        return [resolved]
    name = f"{group_node.name}.{step['name']}"
    items = items_of(resolved)
    if not items:
        _skip_empty(look, name, step, group_node, call)
        return []
    bare = {key: value for key, value in resolved.items() if key not in {"withItems", "withParam"}}
    return [
        substitute(bare, look.scope({**values, **item.values}), passes=1, strict=_STRICT)
        | {"name": f"{step['name']}({number}:{item.label})"}
        for number, item in enumerate(items)
    ]


def _skip_empty(
    look: Reconciliation, name: str, step: Mapping[str, Any], group: Node, call: Call
) -> None:
    """Note a step whose list is empty."""
    if look.nodes.named(name) is None:
        inner = _call(step, group.boundary_id, call)
        look.connect(
            group,
            look.initialize(
                name,
                SKIPPED_TYPE,
                SKIPPED,
                call=inner,
                boundary=group.boundary_id,
                message="Skipped, empty params",
                flag={},
            ),
        )


def _call(step: Mapping[str, Any], boundary: str, outer: Call) -> Call:
    return Call(
        template=step["template"],
        arguments=step.get("arguments") or {},
        boundary=boundary,
        on_exit=outer.on_exit,
    )


def _execute_step(
    look: Reconciliation, group_node: Node, step: Mapping[str, Any], outer: Call
) -> Node | None:
    """The node of one step; None if the group has failed because of it."""
    name = f"{group_node.name}.{step['name']}"
    call = _call(step, group_node.boundary_id, outer)
    node = look.nodes.named(name)
    if node is None and step.get("when") and not should_execute(step["when"]):
        return look.initialize(
            name,
            SKIPPED_TYPE,
            SKIPPED,
            call=call,
            boundary=group_node.boundary_id,
            message=f"when '{step['when']}' evaluated false",
            flag={},
        )
    try:
        return look.execute(name, call)
    except NodeError as error:
        failed = look.nodes.named(name)
        if failed is not None:
            look.connect(group_node, failed)
        text = f"step group deemed errored due to child {name} error: {error}"
        look.mark(group_node, ERROR, text)
        return None


def _assess(
    look: Reconciliation, group_node: Node, tolerated: Mapping[str, Mapping[str, Any]]
) -> None:
    children = look.nodes.children(group_node)
    if not all(child.fulfilled for child in children):
        return
    for child in children:
        if child.failed and not tolerates(tolerated.get(child.id, {}), child):
            look.mark(group_node, FAILED, f"child '{child.id}' failed")
            return
    look.mark(group_node, SUCCEEDED)


def tolerates(continue_on: Mapping[str, Any], node: Node) -> bool:
    """Whether `continueOn` lets the phase of the node pass."""
    return bool(continue_on.get("error" if node.phase == ERROR else "failed"))
