"""The status tree of a workflow: its nodes, how they hang together, progress.

Knows `status.nodes` as Argo writes it (argo-recordings/provisioning-ok). Knows nothing of
templates, of what a node does, or of HTTP. `render` is the only way out; what it returns is
never changed afterwards, so lists here are replaced, not appended to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bridge.localargo.encoding import timestamp
from bridge.localargo.names import node_id

POD, STEPS, STEP_GROUP, DAG, TASK_GROUP = "Pod", "Steps", "StepGroup", "DAG", "TaskGroup"
RETRY, SUSPEND, SKIPPED_TYPE, HTTP = "Retry", "Suspend", "Skipped", "HTTP"
PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
ERROR, SKIPPED, OMITTED = "Error", "Skipped", "Omitted"
UNSUCCESSFUL = frozenset({FAILED, ERROR})
COMPLETED = frozenset({SUCCEEDED, FAILED, ERROR})
FINAL = COMPLETED | {SKIPPED, OMITTED}
_EXECUTABLE = frozenset({POD, HTTP, SUSPEND})
_DONE = frozenset({SUCCEEDED, SKIPPED, OMITTED})


@dataclass(slots=True)
class Node:
    """One node. `flag` is `nodeFlag` ({} is shown, None is not); times are Unix seconds."""

    id: str
    name: str
    display_name: str
    type: str
    phase: str
    started_at: float
    template_name: str = ""
    boundary_id: str = ""
    message: str = ""
    finished_at: float | None = None
    flag: dict[str, bool] | None = None
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    children: tuple[str, ...] = ()
    outbound: tuple[str, ...] = ()
    host: str = ""
    synced: bool | None = None
    done: int = 0
    total: int = 0

    @property
    def fulfilled(self) -> bool:
        """Final, and the results of its pod have arrived (`taskResultSynced`)."""
        return self.phase in FINAL and self.synced is not False

    @property
    def failed(self) -> bool:
        """Failed or Error."""
        return self.phase in UNSUCCESSFUL

    @property
    def waits(self) -> bool:
        """An active suspend node: what resume, set and stop with a selector can reach."""
        return self.type == SUSPEND and self.phase == RUNNING

    def render(self) -> dict[str, Any]:
        """The node as JSON, keys in Argo's order, empty ones left out."""
        progress = f"{self.done}/{self.total}" if self.total else None
        optional = {
            "boundaryID": self.boundary_id,
            "message": self.message,
            "startedAt": timestamp(self.started_at),
            "finishedAt": timestamp(self.finished_at),
            "progress": progress,
            "nodeFlag": self.flag,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "children": list(self.children) or None,
            "outboundNodes": list(self.outbound) or None,
            "hostNodeName": self.host,
            "taskResultSynced": self.synced,
        }
        shown = {
            "id": self.id,
            "name": self.name,
            "displayName": self.display_name,
            "type": self.type,
            "templateName": self.template_name,
            "templateScope": "local/",
            "phase": self.phase,
        }
        if not self.template_name:
            del shown["templateName"]
        return shown | {
            key: value
            for key, value in optional.items()
            if key in {"startedAt", "finishedAt"} or (value is not None and value != "")
        }


@dataclass(slots=True)
class NodeTree:
    """All nodes of one workflow by id."""

    workflow: str
    by_id: dict[str, Node] = field(default_factory=dict)
    _rendered: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.by_id.values())

    def named(self, name: str) -> Node | None:
        """The node with this full name."""
        return self.by_id.get(node_id(self.workflow, name))

    def add(self, node: Node) -> Node:
        """Put a new node into the tree."""
        self.by_id[node.id] = node
        return node

    def connect(self, parent: Node, child: Node) -> bool:
        """Make `child` a child of `parent`; False if it was one."""
        if child.id in parent.children:
            return False
        parent.children = (*parent.children, child.id)
        return True

    def children(self, node: Node) -> list[Node]:
        """The children that exist."""
        return [self.by_id[id_] for id_ in node.children if id_ in self.by_id]

    def outbound(self, node: Node) -> tuple[str, ...]:
        """The ids at which whatever follows the node is attached."""
        if node.type == RETRY and node.children:
            return (node.children[-1],)
        if node.type == TASK_GROUP and node.children:
            return tuple(id_ for child in self.children(node) for id_ in self.outbound(child))
        if node.type in {POD, SKIPPED_TYPE, SUSPEND, HTTP, TASK_GROUP}:
            return (node.id,)
        found = (self.by_id[id_] for id_ in node.outbound if id_ in self.by_id)
        return tuple(id_ for child in found for id_ in self.outbound(child))

    def count(self) -> tuple[int, int]:
        """Update the progress of every node; return that of the workflow as (done, total)."""
        for node in self:
            if node.type in _EXECUTABLE:
                node.done, node.total = int(node.phase in _DONE), 1
        for node in self:
            if node.type not in _EXECUTABLE:
                node.done, node.total = self._sum(node)
        own = [node for node in self if node.type in _EXECUTABLE]
        return sum(node.done for node in own), len(own)

    def _sum(self, root: Node) -> tuple[int, int]:
        """Progress of everything below a node, each descendant counted once."""
        done = total = 0
        seen = {root.id}
        waiting = list(root.children)
        while waiting:
            id_ = waiting.pop()
            node = self.by_id.get(id_)
            if id_ in seen or node is None:
                continue
            seen.add(id_)
            if node.type in _EXECUTABLE:
                done, total = done + node.done, total + node.total
            waiting.extend(node.children)
        return done, total

    def render(self) -> dict[str, Any]:
        """`status.nodes`: sorted by id, as Go writes a map.

        A node that has not changed is the same object as last time: past events share it.
        """
        fresh = {id_: self.by_id[id_].render() for id_ in sorted(self.by_id)}
        for id_, node in self._rendered.items():
            if fresh.get(id_) == node:
                fresh[id_] = node
        self._rendered = fresh
        return dict(fresh)
