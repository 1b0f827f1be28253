"""A workflow as Argo shows it: one snapshot of its status.

Knows the JSON of ``status`` (research/argo section 2). Must not know how it arrived. Snapshots are
views over the decoded JSON: with thousands of open runs, only what changed is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

SUCCEEDED, FAILED, ERROR = "Succeeded", "Failed", "Error"
TERMINAL_PHASES = frozenset({SUCCEEDED, FAILED, ERROR})
NODE_ENDS = TERMINAL_PHASES | {"Skipped", "Omitted"}
LEAF_TYPES = frozenset({"Pod", "HTTP", "Suspend", "Plugin", "Skipped"})

_INDEX = re.compile(r"\[\d+\]")
_ITEM = re.compile(r"\(\d+:")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a workflow's tree."""

    raw: Mapping[str, Any]

    @property
    def number(self) -> str:
        """The end of the id, which alone tells it from the workflow's other nodes."""
        return number_of(self.id)

    @property
    def id(self) -> str:
        """Unique in the workflow: ``<workflow>-<fnv32a(name)>``, or its name for the root."""
        return str(self.raw.get("id", ""))

    @property
    def type(self) -> str:
        """Pod, Steps, StepGroup, DAG, TaskGroup, Retry, Suspend, Skipped, HTTP or Plugin."""
        return str(self.raw.get("type", ""))

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Skipped, Failed, Error or Omitted."""
        return str(self.raw.get("phase", ""))

    @property
    def name(self) -> str:
        """The unique path, such as ``wf[5].feature(0:monitoring)[0].backup``."""
        return str(self.raw.get("name", ""))

    @property
    def display_name(self) -> str:
        """Not unique: ``monitoring``, ``[0]``."""
        return str(self.raw.get("displayName", ""))

    @property
    def template(self) -> str:
        """The template that the node runs."""
        reference = self.raw.get("templateRef") or {}
        return str(self.raw.get("templateName") or reference.get("template", ""))

    @property
    def message(self) -> str:
        """Argo's word on the node, often empty."""
        return str(self.raw.get("message", ""))

    @property
    def children(self) -> tuple[str, ...]:
        """The ids of the nodes below or after this one."""
        return tuple(self.raw.get("children") or ())

    @property
    def started(self) -> str | None:
        """RFC 3339, seconds."""
        return self.raw.get("startedAt")

    @property
    def finished(self) -> str | None:
        """RFC 3339, seconds."""
        return self.raw.get("finishedAt")

    @property
    def retried(self) -> bool:
        """Whether this is one try of a Retry node."""
        return bool((self.raw.get("nodeFlag") or {}).get("retried"))

    @property
    def ended(self) -> bool:
        """Whether its phase is final."""
        return self.phase in NODE_ENDS

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self.phase in {FAILED, ERROR}

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it runs, or when Argo's times cannot be read."""
        started, finished = moment(self.started), moment(self.finished)
        return (finished - started).total_seconds() if started and finished else None

    def label(self, workflow_name: str) -> str:
        """A short name for people: the path without the workflow and the step indices.

        ``wf[4].rbac.role`` → ``rbac/role``; ``wf.onExit[0].rollback`` → ``rollback``;
        ``wf[5].feature(0:backup)`` → ``feature(backup)``.
        """
        path = self.name.removeprefix(workflow_name).removeprefix(".onExit")
        parts = [part for part in _INDEX.sub(".", _ITEM.sub("(", path)).split(".") if part]
        return "/".join(parts) or self.template or self.display_name

    @property
    def in_exit_handler(self) -> bool:
        """Whether it belongs to the workflow's exit handler."""
        return ".onExit" in self.name

    @property
    def supplied(self) -> tuple[tuple[str, str | None], ...]:
        """Outputs that whoever opens this gate fills in, each with its default."""
        outputs = (self.raw.get("outputs") or {}).get("parameters") or ()
        return tuple(
            (str(output["name"]), (output.get("valueFrom") or {}).get("default"))
            for output in outputs
            if "supplied" in (output.get("valueFrom") or {})
        )


@dataclass(frozen=True)
class Snapshot:
    """One state of one workflow."""

    raw: Mapping[str, Any]

    @cached_property
    def _metadata(self) -> Mapping[str, Any]:
        return self.raw.get("metadata") or {}

    @cached_property
    def _status(self) -> Mapping[str, Any]:
        return self.raw.get("status") or {}

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self._metadata.get("name", ""))

    @property
    def uid(self) -> str:
        """``metadata.uid``: another uid under the same name is somebody else's workflow."""
        return str(self._metadata.get("uid", ""))

    @property
    def resource_version(self) -> str:
        """Opaque."""
        return str(self._metadata.get("resourceVersion", ""))

    @property
    def labels(self) -> Mapping[str, str]:
        """``metadata.labels``."""
        return self._metadata.get("labels") or {}

    @property
    def phase(self) -> str:
        """Empty until the controller has looked at the workflow."""
        return str(self._status.get("phase") or "")

    @property
    def message(self) -> str:
        """Empty for a DAG root, even if it failed."""
        return str(self._status.get("message") or "")

    @property
    def progress(self) -> str | None:
        """``N/M`` pods; M grows, N may stay below M."""
        return self._status.get("progress") or None

    @property
    def started(self) -> str:
        """When it began, RFC 3339; empty before; a retry in Argo moves it (retry)."""
        return str(self._status.get("startedAt") or "")

    @property
    def finished(self) -> str:
        """When it ended, RFC 3339; empty before."""
        return str(self._status.get("finishedAt") or "")

    @property
    def ended(self) -> bool:
        """Only the phase tells (research/argo, section 2)."""
        return self.phase in TERMINAL_PHASES

    @property
    def template(self) -> str:
        """The WorkflowTemplate that it runs."""
        reference = (self.raw.get("spec") or {}).get("workflowTemplateRef") or {}
        return str(reference.get("name", ""))

    @property
    def shutdown(self) -> str:
        """``Stop`` or ``Terminate`` when somebody asked for it."""
        return str((self.raw.get("spec") or {}).get("shutdown") or "")

    @property
    def raw_nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """Nodes by id, as decoded."""
        return self._status.get("nodes") or {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        return tuple(Node(raw) for raw in self.raw_nodes.values())

    @property
    def gates(self) -> tuple[Node, ...]:
        """The suspended nodes: each waits for somebody."""
        return tuple(
            Node(raw)
            for raw in self.raw_nodes.values()
            if raw.get("type") == "Suspend" and raw.get("phase") == "Running"
        )

    @property
    def suspended(self) -> bool:
        """Whether a gate is open: "suspended" is no phase (research/argo, section 2)."""
        return bool((self.raw.get("spec") or {}).get("suspend")) or bool(self.gates)

    @property
    def outputs(self) -> dict[str, str]:
        """Output parameters: those with a globalName, over those of the root node."""
        root = self.raw_nodes.get(self.name) or {}
        merged: dict[str, str] = {}
        for holder in (root, self._status):
            for parameter in (holder.get("outputs") or {}).get("parameters") or ():
                if "value" in parameter:
                    merged[parameter["name"]] = parameter["value"]
        return merged

    def pod_name(self, node: Node) -> str:
        """The pod of *node* under naming v2 (research/argo, section 2)."""
        if node.id == self.name:
            return self.name
        suffix = node.id.removeprefix(f"{self.name}-")
        return f"{f'{self.name}-{node.template}'[:242]}-{suffix}"


def number_of(node_id: str) -> str:
    """The number of a node that only its id is left of; see :attr:`Node.number`."""
    return node_id.rpartition("-")[2]


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time of Argo; None if there is none, or none that can be read."""
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return read if read.tzinfo is not None else None
