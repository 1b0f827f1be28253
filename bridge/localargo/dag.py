"""Execution of `dag`: every task as soon as its `depends` holds.

Mirrors Argo's executeDAG and assessDAGPhase, the shape of the tree included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bridge.localargo.calls import Call, NodeError, StuckError
from bridge.localargo.depends import condition_of, holds, tasks_in
from bridge.localargo.fanout import ItemsError, is_expanded, items_of
from bridge.localargo.govaluate import WhenError, should_execute
from bridge.localargo.names import node_id
from bridge.localargo.nodes import (
    COMPLETED,
    ERROR,
    FAILED,
    OMITTED,
    RETRY,
    RUNNING,
    SKIPPED,
    SKIPPED_TYPE,
    SUCCEEDED,
    TASK_GROUP,
    Node,
)
from bridge.localargo.outputs import template_outputs
from bridge.localargo.steps import tolerates
from bridge.localargo.tags import TagError, UnresolvedTagError, substitute
from bridge.localargo.variables import Values, group_values, node_values

if TYPE_CHECKING:
    from bridge.localargo.reconcile import Reconciliation

_STRICT = ("tasks",)
_Task = Mapping[str, Any]


def execute(look: Reconciliation, node: Node, template: Mapping[str, Any], call: Call) -> Node:
    """Bring the tasks of a DAG node as far as they can go now."""
    return _Dag(look, node, template, call).execute()


class _Dag:
    """One look at one DAG node."""

    def __init__(
        self, look: Reconciliation, node: Node, template: Mapping[str, Any], call: Call
    ) -> None:
        self._look = look
        self._node = node
        self._template = template
        self._call = call
        self._tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        self._visited: set[str] = set()

    def execute(self) -> Node:
        targets = self._targets()
        for name in targets:
            self._visit(name)
        phase = self._assess(targets)
        if phase == RUNNING:
            return self._node
        nodes = [node for name in targets if (node := self._node_of(name)) is not None]
        outbound = [id_ for node in nodes for id_ in self._look.nodes.outbound(node)]
        self._look.set_outbound(self._node, tuple(dict.fromkeys(outbound)))
        if phase != SUCCEEDED:
            return self._look.mark(self._node, phase)
        return template_outputs(self._look, self._node, self._template, self._values(self._tasks))

    def _targets(self) -> list[str]:
        wanted: str | None = self._template["dag"].get("target")
        if wanted:
            return wanted.split()
        needed = {name for task in self._tasks.values() for name in self._needs(task)}
        return sorted(name for name in self._tasks if name not in needed)

    def _needs(self, task: _Task) -> tuple[str, ...]:
        return tasks_in(condition_of(task))

    def _name_of(self, task: str) -> str:
        return f"{self._node.name}.{task}"

    def _node_of(self, task: str) -> Node | None:
        return self._look.nodes.named(self._name_of(task))

    def _values(self, tasks: Any) -> Values:
        values: Values = {}
        for name in tasks:
            node = self._node_of(name)
            if node is None:
                continue
            prefix = f"tasks.{name}"
            values |= node_values(prefix, node, self._look.template(self._tasks[name]["template"]))
            if node.type == TASK_GROUP:
                values |= group_values(prefix, self._look.nodes.children(node))
        return values

    def _visit(self, name: str) -> None:
        if name in self._visited:
            return
        self._visited.add(name)
        task = self._tasks[name]
        node = self._node_of(name)
        if node is not None and node.fulfilled:
            return
        for needed in self._needs(task):
            self._visit(needed)
        if node is None and not self._may_begin(name, task):
            return
        try:
            self._run(name, task)
        except UnresolvedTagError as error:
            raise StuckError(str(error)) from error
        except (TagError, WhenError, ItemsError) as error:
            self._note(name, task, ERROR, str(error))

    def _may_begin(self, name: str, task: _Task) -> bool:
        condition = condition_of(task)
        if not condition:
            return True
        if not all(
            (node := self._node_of(other)) and node.fulfilled for other in self._needs(task)
        ):
            return False
        if not holds(condition, self._has_result):
            self._note(name, task, OMITTED, "omitted: depends condition not met")
            return False
        return True

    def _has_result(self, name: str, result: str) -> bool:
        node = self._look.nodes.by_id[node_id(self._look.workflow.name, self._name_of(name))]
        if not result:
            tolerated = node.failed and tolerates(self._tasks[name].get("continueOn") or {}, node)
            return node.phase in {SUCCEEDED, SKIPPED} or tolerated
        children = self._look.nodes.children(node) if node.type == TASK_GROUP else []
        if result == "AnySucceeded":
            return any(child.phase == SUCCEEDED for child in children)
        if result == "AllFailed":
            return bool(children) and all(child.failed for child in children)
        return node.phase == {"Errored": ERROR}.get(result, result)

    def _note(self, name: str, task: _Task, phase: str, message: str) -> None:
        """Add the node of a task that does not run."""
        full = self._name_of(name)
        if self._look.nodes.named(full) is None:
            node = self._look.initialize(
                full,
                SKIPPED_TYPE,
                phase,
                call=self._task_call(task),
                boundary=self._node.id,
                message=message,
                flag={},
            )
            self._attach(task, node, None)

    def _task_call(self, task: _Task) -> Call:
        return Call(
            template=task["template"],
            arguments=task.get("arguments") or {},
            boundary=self._node.id,
            on_exit=self._call.on_exit,
        )

    def _attach(self, task: _Task, node: Node, group: Node | None) -> None:
        """Make a node the child of what the task depends on, of its group, or of the DAG."""
        look, needed = self._look, self._needs(task)
        if group is not None:
            look.connect(group, node)
        elif not needed:
            look.connect(self._node, node)
        else:
            for other in needed:
                before = self._node_of(other)
                for id_ in look.nodes.outbound(before) if before else ():
                    look.connect(look.nodes.by_id[id_], node)

    def _run(self, name: str, task: _Task) -> None:
        look = self._look
        scope = look.scope(self._values(self._ancestors(task)))
        if not is_expanded(task):
            if self._node_of(name) is None and task.get("when"):
                when = substitute(task["when"], scope, passes=1, strict=_STRICT)
                if not should_execute(when):
                    self._note(name, task, SKIPPED, f"when '{when}' evaluated false")
                    return
            self._execute(substitute(task, scope, passes=1, strict=_STRICT), None)
            return
        resolved: dict[str, Any] = substitute(task, scope, passes=1, strict=_STRICT)
        items = items_of(resolved)
        if not items:
            self._note(name, task, SKIPPED, "Skipped, empty params")
            return
        group = self._group(name, task)
        bare = {k: v for k, v in resolved.items() if k not in {"withItems", "withParam"}}
        for number, item in enumerate(items):
            one = substitute(bare, scope.extended(item.values), passes=1, strict=_STRICT)
            one["name"] = f"{name}({number}:{item.label})"
            is_new = self._node_of(one["name"]) is None
            if is_new and one.get("when") and not should_execute(one["when"]):
                self._skip_item(one, group)
            else:
                self._execute(one, group)
        self._assess_group(group, task)

    def _skip_item(self, task: _Task, group: Node) -> None:
        node = self._look.initialize(
            self._name_of(task["name"]),
            SKIPPED_TYPE,
            SKIPPED,
            call=self._task_call(task),
            boundary=self._node.id,
            message=f"when '{task['when']}' evaluated false",
            flag={},
        )
        self._look.connect(group, node)

    def _group(self, name: str, task: _Task) -> Node:
        group = self._node_of(name)
        if group is None:
            group = self._look.initialize(
                self._name_of(name),
                TASK_GROUP,
                RUNNING,
                call=self._task_call(task),
                boundary=self._node.id,
                flag={},
            )
            self._attach(task, group, None)
        return group

    def _execute(self, task: _Task, group: Node | None) -> None:
        name = self._name_of(task["name"])
        try:
            node: Node | None = self._look.execute(name, self._task_call(task))
        except NodeError:
            node = self._look.nodes.named(name)
        if node is not None:
            self._attach(task, node, group)

    def _assess_group(self, group: Node, task: _Task) -> None:
        children = self._look.nodes.children(group)
        if not all(child.fulfilled for child in children):
            return
        phase = SUCCEEDED
        for child in children:
            if child.failed and not tolerates(task.get("continueOn") or {}, child):
                phase = child.phase
        self._look.mark(group, phase)

    def _ancestors(self, task: _Task) -> list[str]:
        found: dict[str, None] = {}
        waiting = list(self._needs(task))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting.extend(self._needs(self._tasks[name]))
        return list(found)

    def _assess(self, targets: list[str]) -> str:
        """The phase of the DAG: Running while anything in it is; else by its target tasks."""
        ends = self._branch_phases(targets)
        if ends is None:
            return RUNNING
        fail_fast = self._template["dag"].get("failFast") is not False
        result = SUCCEEDED
        for name in targets:
            phase = ends[name]
            if not phase:
                result = RUNNING
                if not fail_fast:
                    break
            elif phase in {FAILED, ERROR}:
                node = self._node_of(name)
                tolerant = self._tasks[name].get("continueOn") or {}
                if node is not None and node.failed and tolerates(tolerant, node):
                    continue
                result = phase
                if fail_fast:
                    break
        return result

    def _branch_phases(self, targets: list[str]) -> dict[str, str] | None:
        """The phase with which the branch of each target ended; None if anything still runs.

        A node that was skipped or omitted passes on the phase of what came before it.
        """
        nodes = self._look.nodes
        by_id = {node.id: name for name in targets if (node := self._node_of(name)) is not None}
        ends = dict.fromkeys(targets, "")
        waiting = deque((id_, SUCCEEDED) for id_ in self._node.children)
        seen: set[tuple[str, str]] = set()
        while waiting:
            id_, phase = waiting.popleft()
            node = nodes.by_id.get(id_)
            if (id_, phase) in seen or node is None:
                continue
            seen.add((id_, phase))
            if not node.fulfilled:
                return None
            if node.phase in COMPLETED:
                phase = node.phase
            if id_ in by_id and ends[by_id[id_]] not in {FAILED, ERROR}:
                ends[by_id[id_]] = phase
            waiting.extend((child, phase) for child in self._after(node))
        return ends

    def _after(self, node: Node) -> list[str]:
        """The nodes to visit behind a node; attempts, items and what is inside are passed over."""
        nodes = self._look.nodes
        ids = nodes.outbound(node)
        if node.type not in {RETRY, TASK_GROUP}:
            ids = (node.id, *ids)
        return [child for id_ in ids for child in nodes.by_id[id_].children if self._is_own(child)]

    def _is_own(self, id_: str) -> bool:
        node = self._look.nodes.by_id.get(id_)
        return node is not None and node.boundary_id == self._node.id
