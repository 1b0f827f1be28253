"""Bodies and answers of the Platform API, and how a run looks in its words.

Knows the shapes that clients of the Platform API send and read: ``requestId``, ``workflowId`` and
five words for where a request stands. Must not know requests, nor what an action takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from bridge.domain.mapping import timestamp
from bridge.domain.runs import Run, RunStatus
from bridge.web.addresses import request_address, run_address

Standing = Literal["pending", "running", "waiting", "completed", "failed"]

_STANDINGS: Mapping[RunStatus, Standing] = {
    RunStatus.ACCEPTED: "pending",
    RunStatus.SUBMITTING: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.WAITING: "waiting",
    RunStatus.REGISTERING: "running",
    RunStatus.SUCCEEDED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "failed",
    RunStatus.LOST: "failed",
}
_TEXT: JsonDict = {"type": "string"}
_FIELDS = ("namespaceName", "team", "environment", "resourceTier", "networkPolicy", "description")


class NamespaceRequest(RootModel[dict[str, Any]]):
    """Input of the action that makes namespaces; the fields are those of the action as shipped."""

    model_config = ConfigDict(
        json_schema_extra={
            "properties": {
                **dict.fromkeys(_FIELDS, _TEXT),
                "features": {"type": "array", "items": _TEXT},
            },
            "examples": [
                {"namespaceName": "team-a-dev", "team": "team-a", "environment": "development"}
            ],
        }
    )


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class NamespaceRequestLinks(_Answer):
    """Where to go from a request; ``workflow`` is the page in Argo, if there is one."""

    status: str
    run: str
    events: str
    workflow: str | None


class NamespaceRequestView(_Answer):
    """A request for a namespace: ``error`` is one sentence, null unless it failed."""

    request_id: str
    workflow_id: str
    status: Standing
    progress: str | None
    error: str | None
    outputs: dict[str, Any]
    requested_by: str
    created_at: str
    updated_at: str
    finished_at: str | None
    links: NamespaceRequestLinks


class RunWorkflowView(_Answer):
    """The workflow of one run, whatever its action is."""

    name: str
    namespace: str
    phase: str | None
    status: Standing
    action: str
    request_id: str
    requested_by: str
    progress: str | None
    error: str | None
    created_at: str
    finished_at: str | None
    url: str | None


class WorkflowPage(_Answer):
    """Workflows, newest first, and the cursor of the next page."""

    workflows: list[RunWorkflowView]
    next: str | None


def request_view(run: Run, *, workflow_url: str | None) -> dict[str, Any]:
    """A run as a request for a namespace."""
    here = run_address(run.id)
    view = NamespaceRequestView(
        request_id=run.id,
        workflow_id=run.workflow_name,
        status=_STANDINGS[run.status],
        progress=run.progress,
        error=_error(run),
        outputs=dict(run.outputs),
        requested_by=run.user or run.caller,
        created_at=timestamp(run.created_at),
        updated_at=timestamp(run.updated_at),
        finished_at=_moment_of_end(run),
        links=NamespaceRequestLinks(
            status=request_address(run.id), run=here, events=f"{here}/events", workflow=workflow_url
        ),
    )
    return view.model_dump(by_alias=True)


def workflow_view(run: Run, *, workflow_url: str | None) -> dict[str, Any]:
    """A run as a workflow."""
    view = RunWorkflowView(
        name=run.workflow_name,
        namespace=run.namespace,
        phase=run.phase,
        status=_STANDINGS[run.status],
        action=run.action,
        request_id=run.id,
        requested_by=run.user or run.caller,
        progress=run.progress,
        error=_error(run),
        created_at=timestamp(run.created_at),
        finished_at=_moment_of_end(run),
        url=workflow_url,
    )
    return view.model_dump(by_alias=True)


def _error(run: Run) -> str | None:
    return run.error.message if run.error is not None else None


def _moment_of_end(run: Run) -> str | None:
    return timestamp(run.finished_at) if run.finished_at is not None else None
