"""Values for tests: definitions, runs, nodes and snapshots with plain defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.domain.actions import ActionDefinition
from bridge.domain.runs import RUN_LABEL, NewRun, Run, RunContext, RunStatus
from bridge.domain.workflows import Snapshot

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
RUN_ID = "01kagw9zq6x3v5t7y8r2m4n6p8"
RECORDINGS = Path(__file__).parent / "recordings"

DOCUMENT: Mapping[str, Any] = {
    "apiVersion": "bridge/v1",
    "kind": "Action",
    "metadata": {"id": "thing:make", "title": "Make a thing"},
    "spec": {
        "input": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$", "maxLength": 40},
                "team": {"type": "string", "default": "team-a", "maxLength": 40},
                "environment": {"enum": ["development", "production"], "default": "development"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        },
        "output": {"type": "object", "properties": {"thing": {"examples": ["a-thing"]}}},
        "workflow": {
            "template": "make-thing",
            "parameters": {
                "name": {"from": "input.name"},
                "team": {"from": "input.team", "as": "entityName"},
                "tags": {"from": "input.tags", "as": "json", "default": []},
                "by": {"from": "user.ref"},
                "approval": {"from": "approval.required"},
            },
        },
        "approval": {
            "node": "approve",
            "when": {"properties": {"environment": {"const": "production"}}},
            "by": ["group:default/admins"],
        },
        "outputs": {"thing": {"from": "workflow.outputs.thing"}, "ref": {"from": "entity.ref"}},
        "catalog": {
            "entity": {
                "apiVersion": "backstage.io/v1alpha1",
                "kind": "Resource",
                "metadata": {"name": "{input.name}"},
                "spec": {"type": "thing", "owner": "{input.team}"},
            }
        },
    },
}
"""A definition that uses every part of the language."""


def document(**spec: Any) -> dict[str, Any]:
    """DOCUMENT with other parts of ``spec``; None takes a part away."""
    made = copy.deepcopy(dict(DOCUMENT))
    made["spec"] = {name: part for name, part in {**made["spec"], **spec}.items() if part}
    return made


def definition(**spec: Any) -> ActionDefinition:
    """The definition of :func:`document`."""
    return ActionDefinition.model_validate(document(**spec))


def new_run(run_id: str = RUN_ID, **fields: Any) -> NewRun:
    """A run at the moment it is accepted."""
    defaults: dict[str, Any] = {
        "action": "thing:make",
        "definition": definition().document,
        "definition_digest": definition().digest,
        "caller": "plugin:scaffolder",
        "user": "user:default/ann",
        "key": "key-1",
        "input": {"name": "a-thing", "team": "team-a", "environment": "development"},
        "context": RunContext("task-1", "make", "template:default/thing"),
        "target": "default",
        "namespace": "argo",
        "created_at": NOW,
    }
    return NewRun(id=run_id, **{**defaults, **fields})


def a_run(status: RunStatus = RunStatus.ACCEPTED, **fields: Any) -> Run:
    """A run's record in some state."""
    return replace(Run.accepted(new_run(), attempt=1), status=status, **fields)


def at(second: int) -> str:
    """An Argo time *second* seconds into the workflow."""
    return f"2026-11-22T10:{second // 60:02}:{second % 60:02}Z"


def node(
    path: str,
    kind: str = "Pod",
    phase: str = "Running",
    *,
    started: int | None = 0,
    ended: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A node as Argo shows it; *path* is its name below the workflow ``wf``."""
    raw: dict[str, Any] = {
        "id": f"wf-{path}",
        "name": f"wf{path}" if path.startswith((".", "[")) else f"wf.{path}",
        "displayName": path.rpartition(".")[2],
        "templateName": path.rpartition(".")[2].partition("(")[0],
        "type": kind,
        "phase": phase,
        "startedAt": None if started is None else at(started),
        "finishedAt": None if ended is None else at(ended),
    }
    return {**raw, **more}


def snapshot(
    *nodes: Mapping[str, Any],
    phase: str | None = "Running",
    uid: str = "uid-1",
    version: str = "1",
    spec: Mapping[str, Any] | None = None,
    **status: Any,
) -> Snapshot:
    """One state of the workflow ``wf``."""
    shown = {"phase": phase} if phase else {}
    return Snapshot(
        {
            "metadata": {
                "name": "wf",
                "uid": uid,
                "resourceVersion": version,
                "labels": {RUN_LABEL: RUN_ID},
            },
            "spec": spec or {},
            "status": {**shown, "nodes": {raw["id"]: raw for raw in nodes}, **status},
        }
    )


def recorded(name: str) -> Iterator[Snapshot]:
    """The snapshots of a recorded watch; each frame has only the nodes that changed."""
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    metadata = {"name": recording["workflow"], "uid": recording["uid"]}
    nodes: dict[str, Any] = {}
    for frame in recording["frames"]:
        for gone in frame.get("gone", ()):
            del nodes[gone]
        nodes.update({raw["id"]: raw for raw in frame["changed"]})
        status = {**frame["status"], "nodes": dict(nodes)}
        yield Snapshot({"metadata": metadata, "spec": frame.get("spec", {}), "status": status})
