"""What the embedded Argo is told at start.

Knows names and paths; reads nothing itself (`templates.py` opens the files).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KEEPALIVE_SECONDS = 15.0  # Argo Server's own interval (argo-recordings/watch-idle)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalArgoSettings:
    """Settings of one embedded Argo.

    Attributes:
        namespace: the one namespace that is served, as a namespaced install does.
        templates: WorkflowTemplate YAML files, or folders that are searched for them.
        secrets: Kubernetes Secret name -> key -> value, for `secretKeyRef`.
        kubeconfig: apply `resource` templates to this cluster with kubectl; None keeps the
            objects in memory.
        namespaces: what the cluster in memory has from the start, beside `namespace`.
        requeue_seconds: how long the controller waits before it looks at a workflow again
            after a pod ended or a node was resumed. A real one waits 10 s.
        node_seconds: shortest time that a pod takes; makes a demonstration readable.
        keepalive_seconds: interval of the `:` lines on an idle stream.
        log_seconds: how often a followed log is flushed. A real one flushes once a second.
        poll_seconds: how often a `resource` template checks its conditions.
        token: the Bearer token every call must carry; None asks for no token.
        event_window: how many past events a watch can resume from.
        faults: serve the admin routes of `fault_routes.py`, by which clients are tested.
        grace_seconds: time between SIGTERM and SIGKILL for the process of a pod.
    """

    namespace: str = "argo-workflows"
    templates: tuple[Path, ...] = ()
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kubeconfig: Path | None = None
    namespaces: tuple[str, ...] = ("default", "kube-system", "velero")
    requeue_seconds: float = 0.0
    node_seconds: float = 0.0
    keepalive_seconds: float = KEEPALIVE_SECONDS
    log_seconds: float = 0.1
    poll_seconds: float = 5.0
    token: str | None = None
    event_window: int = 20_000
    faults: bool = False
    grace_seconds: float = 30.0
