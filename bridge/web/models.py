"""The bodies of the API, as docs/reference/http-api.md shows them.

Knows JSON shapes; the OpenAPI document is made from these models. Must not know how they are
filled beyond plain mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue
from bridge.domain.mapping import timestamp
from bridge.domain.runs import Run

Short = Annotated[str, Field(max_length=300)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ContextBody(_Body):
    """Which Backstage task asks."""

    task_id: Short | None = None
    step_id: Short | None = None
    template: Short | None = None
    dry_run: bool = False


class RunRequest(_Body):
    """Body of ``POST /v1/runs``."""

    model_config = ConfigDict(extra="forbid")

    action: Annotated[str, Field(min_length=1, max_length=100)]
    input: dict[str, Any] = Field(default_factory=dict)
    context: ContextBody = Field(default_factory=ContextBody)


class WorkflowView(_Body):
    """Where a run's workflow is."""

    target: str
    namespace: str
    name: str
    uid: str | None
    phase: str | None
    url: str | None


class ErrorView(_Body):
    """Why a run did not succeed."""

    code: str
    message: str


class RunContextView(_Body):
    """Which Backstage task asked."""

    task_id: str | None
    step_id: str | None
    template: str | None


class RunLinks(_Body):
    """Where to go from a run."""

    self_: str = Field(alias="self")
    events: str
    cancel: str


class RunView(_Body):
    """A run."""

    id: str
    action: str
    status: str
    attempt: int
    input: dict[str, Any]
    requested_by: str | None
    context: RunContextView
    workflow: WorkflowView
    progress: str | None
    outputs: dict[str, Any]
    entity_ref: str | None
    error: ErrorView | None
    last_seq: int
    created_at: str
    updated_at: str
    finished_at: str | None
    links: RunLinks


class RunPage(_Body):
    """Runs, newest first, and the cursor of the next page."""

    runs: list[RunView]
    next: str | None


class PreviewView(_Body):
    """What a dry run would have done."""

    dry_run: bool
    action: str
    input: dict[str, Any]
    workflow: dict[str, Any]
    outputs: dict[str, Any]


class EventPage(_Body):
    """Stored events of a run."""

    events: list[dict[str, Any]]
    last_seq: int
    done: bool


class NamespaceRecord(_Body):
    """What a workflow tells the Platform API of a namespace."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    status: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    team: Short = ""
    environment: Short = ""
    workflow: Short = ""
    request_id: Short = ""


class NamespacePage(_Body):
    """All namespaces that were reported."""

    namespaces: list[NamespaceRecord]


class HealthView(_Body):
    """Whether the process should get requests."""

    status: str
    checks: dict[str, str]


class FieldProblem(_Body):
    """One field that is wrong."""

    pointer: str
    message: str


class Problem(_Body):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[FieldProblem] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)


def run_view(run: Run, *, workflow_url: str | None) -> dict[str, Any]:
    """A run as the API shows it."""
    here = f"/v1/runs/{run.id}"
    view = RunView(
        id=run.id,
        action=run.action,
        status=str(run.status),
        attempt=run.attempt,
        input=dict(run.input),
        requested_by=run.user or run.caller,
        context=RunContextView(
            task_id=run.context.task_id, step_id=run.context.step_id, template=run.context.template
        ),
        workflow=WorkflowView(
            target=run.target,
            namespace=run.namespace,
            name=run.workflow_name,
            uid=run.workflow_uid,
            phase=run.phase,
            url=workflow_url,
        ),
        progress=run.progress,
        outputs=dict(run.outputs),
        entity_ref=run.entity_ref,
        error=ErrorView(code=run.error.code, message=run.error.message) if run.error else None,
        last_seq=run.last_seq,
        created_at=timestamp(run.created_at),
        updated_at=timestamp(run.updated_at),
        finished_at=timestamp(run.finished_at) if run.finished_at else None,
        links=RunLinks.model_validate(
            {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"}
        ),
    )
    return view.model_dump(by_alias=True)


def action_view(action: ActionDefinition) -> dict[str, Any]:
    """An action as the API shows it; the scaffolder module registers it from this."""
    spec = action.spec
    return {
        "id": action.id,
        "title": action.metadata.title,
        "description": action.metadata.description,
        "owner": action.metadata.owner,
        "schema": {"input": dict(spec.input), "output": dict(spec.output)},
        "examples": [example.model_dump() for example in spec.examples],
        "workflow": {"target": spec.workflow.target, "template": spec.workflow.template},
        "wait": spec.wait,
        "maxWaitSeconds": spec.max_wait,
        "supportsDryRun": True,
    }


def catalogue_view(catalogue: Catalogue) -> Mapping[str, Any]:
    """All actions, and the files that are not in use with the reason."""
    return {
        "actions": [action_view(action) for action in catalogue.actions.values()],
        "problems": [
            {"file": problem.file, "line": problem.line, "message": problem.message}
            for problem in catalogue.problems
        ],
    }
