"""One live workflow: what was asked for, and what has become of it.

Knows the shape of a Workflow object. Knows nothing of how its nodes come about (`reconcile.py`),
of its clients' calls (`control.py`), or of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.localargo.encoding import timestamp
from bridge.localargo.nodes import NodeTree

LABEL = "workflows.argoproj.io/"
PHASE_LABEL = LABEL + "phase"
COMPLETED_LABEL = LABEL + "completed"
TEMPLATE_LABEL = LABEL + "workflow-template"
POD_NAME_FORMAT = LABEL + "pod-name-format"
FINAL_PHASES = frozenset({"Succeeded", "Failed", "Error"})


@dataclass(slots=True, eq=False)
class Workflow:
    """A workflow that exists.

    `spec` is what the client sent (plus `shutdown` and `suspend`), `plan` what is executed: the
    spec laid over that of the template. `plan` and `stored_templates` are shared between the
    workflows of a template and never changed. `stuck`: the controller does nothing with it;
    `unseen`: its end and its deletion are one change. Times are Unix seconds.
    """

    metadata: dict[str, Any]
    spec: dict[str, Any]
    plan: Mapping[str, Any]
    stored_templates: Mapping[str, Any] | None
    created_at: float
    nodes: NodeTree
    phase: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    progress: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    synchronization: dict[str, Any] | None = None
    stored_spec: Mapping[str, Any] | None = None
    stuck: bool = False
    unseen: bool = False

    @property
    def name(self) -> str:
        """`metadata.name`."""
        name: str = self.metadata["name"]
        return name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`."""
        namespace: str = self.metadata["namespace"]
        return namespace

    @property
    def key(self) -> str:
        """`<namespace>/<name>`: how a lock names its holder."""
        return f"{self.namespace}/{self.name}"

    @property
    def uid(self) -> str:
        """`metadata.uid`: tells two workflows of one name apart."""
        uid: str = self.metadata["uid"]
        return uid

    @property
    def completed(self) -> bool:
        """The phase is final; it is written only after the exit handler has ended."""
        return self.phase in FINAL_PHASES

    @property
    def shutdown(self) -> str:
        """`Stop`, `Terminate` or the empty string."""
        return str(self.spec.get("shutdown") or "")

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels; changed only by `set_labels`."""
        labels: Mapping[str, str] = self.metadata.get("labels", {})
        return labels

    def set_labels(self, labels: Mapping[str, str | None]) -> None:
        """Set labels; None removes one."""
        merged = {**self.labels, **labels}
        self.metadata["labels"] = {
            key: value for key, value in sorted(merged.items()) if value is not None
        }

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Set annotations."""
        merged = {**self.metadata.get("annotations", {}), **annotations}
        self.metadata["annotations"] = dict(sorted(merged.items()))

    def parameters(self) -> dict[str, str]:
        """The arguments, the client's over the template's; one without a value is left out."""
        listed = self.plan.get("arguments", {}).get("parameters", [])
        return {item["name"]: item["value"] for item in listed if "value" in item}

    def render(self, version: int) -> dict[str, Any]:
        """The whole object as JSON at a resource version. It shares nothing that will change."""
        self.metadata["resourceVersion"] = str(version)
        order = (*_METADATA_ORDER, *(key for key in self.metadata if key not in _METADATA_ORDER))
        metadata = {key: self.metadata[key] for key in order if self.metadata.get(key)}
        return {"metadata": metadata, "spec": dict(self.spec), "status": self._render_status()}

    def _render_status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "phase": self.phase or None,
            "startedAt": timestamp(self.started_at),
            "finishedAt": timestamp(self.finished_at),
            "progress": self.progress or None,
            "message": self.message or None,
            "nodes": self.nodes.render() or None,
            "storedTemplates": self.stored_templates or None,
            "outputs": self._render_outputs(),
            "conditions": [
                {"type": type_, "status": state} for type_, state in self.conditions.items()
            ]
            or None,
            "storedWorkflowTemplateSpec": self.stored_spec,
            "synchronization": self.synchronization,
        }
        if self.phase:
            status["artifactRepositoryRef"] = {"default": True, "artifactRepository": {}}
            status["artifactGCStatus"] = {"notSpecified": True}
        always = {"startedAt", "finishedAt"}
        return {k: v for k, v in status.items() if v is not None or k in always}

    def _render_outputs(self) -> dict[str, Any] | None:
        if not self.outputs:
            return None
        pairs = self.outputs.items()
        return {"parameters": [{"name": name, "value": value} for name, value in pairs]}


_METADATA_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "labels",
    "annotations",
)
