"""The reducer: what we knew, what Argo shows now → the events to tell.

Knows how a workflow's tree moves (research/argo section 2): snapshots are coalesced, may be stale
or repeated, and a node never goes back unless a retry restarts it. Must not know runs' storage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.domain.events import EventDraft, duration
from bridge.domain.workflows import LEAF_TYPES, SUCCEEDED, Node, Snapshot

_RANKS = {"": 0, "Pending": 1, "Running": 2}
_END_RANK = 3
_UNFINISHED = "did not finish"
_STEPS = LEAF_TYPES | {"Retry"}
"""What people care for: real work and gates, not groups, and a Retry in place of its tries."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The approval of a definition: which node, who may open it, and within how many seconds."""

    node: str
    by: tuple[str, ...] = ()
    timeout: int | None = None


NO_PAST = ("", "")


@dataclass(frozen=True, slots=True)
class FollowState:
    """What has been told so far; it is stored with the run, so that no restart tells it twice."""

    nodes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Node id → (phase, startedAt) as last told."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Pod → timestamp of its last line told."""
    read: frozenset[str] = frozenset()
    """The numbers of the nodes whose pods have nothing more to tell."""
    past: tuple[str, str] = NO_PAST
    """When the workflow began and ended as an earlier attempt saw it; see ``is_past``."""

    def is_past(self, snapshot: Snapshot) -> bool:
        """Whether *snapshot* looks like what an earlier attempt has told already.

        Times are whole seconds, so what looks so may still be new.
        """
        if self.past == NO_PAST or snapshot.started != self.past[0]:
            return False
        return not snapshot.ended or snapshot.finished == self.past[1]

    def to_json(self) -> dict[str, Any]:
        """For the store."""
        nodes = {key: list(value) for key, value in self.nodes.items()}
        told = {"nodes": nodes, "logs": self.logs, "read": sorted(self.read)}
        return told if self.past == NO_PAST else {**told, "past": list(self.past)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FollowState:
        """From the store."""
        nodes = {key: (item[0], item[1]) for key, item in value.get("nodes", {}).items()}
        read = frozenset(value.get("read", ()))
        began, ended = value.get("past", NO_PAST)
        logs = dict(value.get("logs", {}))
        return cls(nodes=nodes, logs=logs, read=read, past=(began, ended))


@dataclass(frozen=True, slots=True)
class Advance:
    """The new state and what to tell; ``changed`` lists the nodes behind it.

    ``behind`` says that the snapshot shows less than was told: it is an old picture.
    """

    state: FollowState
    events: tuple[EventDraft, ...] = ()
    changed: tuple[Node, ...] = ()
    behind: bool = False


def advance(state: FollowState, snapshot: Snapshot, *, gate: Gate | None = None) -> Advance:
    """Compare *snapshot* with *state* and tell each node's move once.

    A stale or repeated snapshot tells nothing; a node first seen at its end is told as ended.
    """
    moved = _moved(state, snapshot)
    if snapshot.ended:
        moved = [*(node for node in moved if node.ended), *_abandoned(state, snapshot)]
    behind = _is_behind(state, snapshot)
    if not moved:
        return Advance(state, behind=behind)
    moved.sort(key=_when)
    nodes = dict(state.nodes)
    nodes.update({node.id: (node.phase, node.started or "") for node in moved})
    events = tuple(
        event
        for node in moved
        if (event := _event(node, snapshot, gate=gate, before=state.nodes.get(node.id)))
    )
    # A node that began again, or was open, may have more to tell.
    read = state.read - {node.number for node in moved}
    return Advance(replace(state, nodes=nodes, read=read), events, tuple(moved), behind)


def _moved(state: FollowState, snapshot: Snapshot) -> list[Node]:
    moved = []
    for node_id, raw in snapshot.raw_nodes.items():
        known = state.nodes.get(node_id)
        phase, started = raw.get("phase") or "", raw.get("startedAt") or ""
        if known is not None:
            if known == (phase, started):
                continue
            restarted = known[1] != "" and started > known[1]
            if not restarted and _rank(phase) <= _rank(known[0]):
                continue
        moved.append(Node(raw))
    return moved


def _is_behind(state: FollowState, snapshot: Snapshot) -> bool:
    """Whether a node that was told is further back, or missing though nothing was retried."""
    shown = snapshot.raw_nodes
    if snapshot.ended:
        return False
    if state.past == NO_PAST and any(node_id not in shown for node_id in state.nodes):
        return True
    return any(
        _rank(raw.get("phase") or "") < _rank(told[0]) and (raw.get("startedAt") or "") <= told[1]
        for node_id, told in state.nodes.items()
        if (raw := shown.get(node_id)) is not None
    )


def _abandoned(state: FollowState, snapshot: Snapshot) -> list[Node]:
    """Nodes that Argo leaves open for ever under a workflow that has ended (research/argo, 2)."""
    return [
        Node({**node.raw, "phase": "Omitted", "message": _UNFINISHED})
        for node in snapshot.nodes
        if not node.ended and _rank(state.nodes.get(node.id, ("", ""))[0]) < _END_RANK
    ]


def _rank(phase: str) -> int:
    return _RANKS.get(phase, _END_RANK)


def _when(node: Node) -> tuple[str, str]:
    ended = node.finished if node.ended else None
    return (ended or node.started or "", node.name)


def _event(
    node: Node, snapshot: Snapshot, *, gate: Gate | None, before: tuple[str, str] | None
) -> EventDraft | None:
    name = node.label(snapshot.name)
    if node.retried:
        return _retried_try(node, snapshot)
    if node.type not in _STEPS:
        return None
    data = {
        "step": {
            "id": node.id,
            "name": name,
            "phase": node.phase,
            "startedAt": node.started,
            "finishedAt": node.finished if node.ended else None,
        }
    }
    if node.type == "Suspend" and node.phase == "Running":
        return _gate_event(node, name, gate=gate)
    message, level = _line(node, name, told=before is not None)
    return EventDraft("step", message, level, data)


def _gate_event(node: Node, name: str, *, gate: Gate | None) -> EventDraft:
    by = gate.by if gate is not None and node.display_name == gate.node else ()
    whom = f"approval by {' or '.join(by)}" if by else name
    data = {"step": {"id": node.id, "name": name}, "by": list(by)}
    return EventDraft("approval", f"⏸ waiting for {whom}", data=data)


def _line(node: Node, name: str, *, told: bool) -> tuple[str, Any]:
    took = f" ({duration(node.seconds)})" if node.seconds is not None else ""
    why = f": {spoken_reason(node.message)}" if node.message else ""
    match node.phase:
        case "Running":
            return f"● {name} running", "info"
        case "Succeeded":
            return f"✓ {name}{took}", "info"
        case "Failed" | "Error":
            return f"✗ {name} failed{took}{why}", "error"
        case "Omitted" if told and node.message == _UNFINISHED:
            return f"○ {name} {_UNFINISHED}", "warn"
        case _:
            return "", "debug"


def _retried_try(node: Node, snapshot: Snapshot) -> EventDraft | None:
    if not node.failed or node.type not in LEAF_TYPES:
        return None
    base, _, number = node.label(snapshot.name).rpartition("(")
    attempt = number.rstrip(")")
    tries = f"try {int(attempt) + 1}" if attempt.isdigit() else "a try"
    why = f": {spoken_reason(node.message)}" if node.message else ""
    data = {"step": {"id": node.id, "name": base, "phase": node.phase}}
    return EventDraft("step", f"↻ {base}: {tries} failed{why}", "warn", data)


def failed_leaves(snapshot: Snapshot) -> list[Node]:
    """The nodes that explain a failure, first cause first; exit handler's only if no other.

    A failed try explains nothing if a later one went well.
    """
    recovered = {
        child
        for node in snapshot.nodes
        if node.type == "Retry" and node.phase == SUCCEEDED
        for child in node.children
    }
    leaves = [
        node
        for node in snapshot.nodes
        if node.failed and node.type in LEAF_TYPES and node.id not in recovered
    ]
    leaves = [node for node in leaves if not node.in_exit_handler] or leaves
    final = [node for node in leaves if not node.retried or _is_last_try(node, snapshot)]
    return sorted(final or leaves, key=_when)


def _is_last_try(node: Node, snapshot: Snapshot) -> bool:
    parents = (other for other in snapshot.nodes if other.type == "Retry")
    return any(parent.failed and parent.children[-1:] == (node.id,) for parent in parents)


def failure_sentence(snapshot: Snapshot, *, last_lines: Mapping[str, str]) -> str:
    """Why the workflow failed, in one sentence for the person who filled the form.

    Args:
        snapshot: The ended workflow.
        last_lines: Pod log's last line by node id, where there is one.
    """
    leaves = failed_leaves(snapshot)
    if not leaves:
        return one_line(snapshot.message) or f"the workflow ended as {snapshot.phase}"
    node = leaves[0]
    name = node.label(snapshot.name)
    if node.retried:
        name = name.rpartition("(")[0]
    reason = spoken_reason(node.message) or node.phase
    spoken = last_lines.get(node.id)
    if spoken:
        reason = f"{one_line(spoken)} ({reason.removeprefix('main: ')})"
    others = len(leaves) - 1
    more = f"; {others} more step{'s' if others > 1 else ''} failed too" if others else ""
    return f"{name} failed: {reason}{more}"


_SERVER = re.compile(r"Error from server \(\w+\): ")
_FILE = re.compile(r"""^error when \w+(?: \w+)? "[^"]*": """)


def spoken_reason(text: str) -> str:
    """Argo's word on a node, on one line; of kubectl's only what the API server said.

    ``main: Error (exit code 64): no more retries Error from server (AlreadyExists): error when
    creating "/tmp/manifest.yaml": namespaces "x" already exists`` becomes its last four words.
    """
    said = _SERVER.split(one_line(text))[-1]
    return _FILE.sub("", said)


def one_line(text: str, *, limit: int = 400) -> str:
    """*text* on one line, without trailing dots, cut to *limit* characters."""
    flat = " ".join(text.split()).rstrip(".")
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
