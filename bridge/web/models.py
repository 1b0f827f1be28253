"""The answers of the API, as docs/reference/http-api.md shows them.

Knows JSON shapes; the OpenAPI document is made from these models. Must not know how they are
filled: ``views`` does.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from bridge.web.bodies import NamespaceRecord


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class WorkflowView(_Answer):
    """Where a run's workflow is."""

    target: str
    namespace: str
    name: str
    uid: str | None
    phase: str | None
    url: str | None


class ErrorView(_Answer):
    """Why a run did not succeed."""

    code: str
    message: str


class RunContextView(_Answer):
    """Which Backstage task asked."""

    task_id: str | None
    step_id: str | None
    template: str | None


class RunLinks(_Answer):
    """Where to go from a run."""

    self_: str = Field(alias="self")
    events: str
    cancel: str
    terminate: str
    approve: str
    reject: str
    retry: str


class LockView(_Answer):
    """What only one run at a time works on, and whether this run is that one."""

    key: str
    held: bool


class CommandView(_Answer):
    """What somebody asked of a run; ``outcome`` is null until it has been carried out."""

    verb: str
    by: str
    at: str
    reason: str
    outcome: str | None


class RunView(_Answer):
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
    lock: LockView | None
    takes_over: str | None
    superseded_by: str | None
    created_at: str
    updated_at: str
    finished_at: str | None
    links: RunLinks


class RunDetails(RunView):
    """A run with what was asked of it, oldest first."""

    commands: list[CommandView]


class RunPage(_Answer):
    """Runs, newest first, and the cursor of the next page."""

    runs: list[RunView]
    next: str | None


class PreviewView(_Answer):
    """What a dry run would have done."""

    dry_run: bool
    action: str
    input: dict[str, Any]
    workflow: dict[str, Any]
    outputs: dict[str, Any]


class EventPage(_Answer):
    """Stored events of a run."""

    events: list[dict[str, Any]]
    last_seq: int
    done: bool


class ReaderView(_Answer):
    """How far a reader of a run's events has come; 0 if it never said."""

    reader: str
    seq: int


class SourceView(_Answer):
    """Where a request came from."""

    address: str | None
    request: str | None


class AuditRecordView(_Answer):
    """Who did what, when, from where, why, and what came of it; ``hash`` covers all the rest."""

    number: int
    time: str
    tenant: str
    action: str
    run: str | None
    caller: str
    user: str | None
    source: SourceView
    reason: str
    outcome: str
    data: dict[str, Any]
    previous: str
    hash: str


class AuditPage(_Answer):
    """Audit records, newest first, and the cursor of the next page."""

    records: list[AuditRecordView]
    next: str | None


class NamespacePage(_Answer):
    """All namespaces that were reported."""

    namespaces: list[NamespaceRecord]


class HealthView(_Answer):
    """Whether the process should get requests."""

    status: str
    checks: dict[str, str]


class FieldProblem(_Answer):
    """One field that is wrong."""

    pointer: str
    message: str


class ProblemLinks(_Answer):
    """Where to look further."""

    run: str


class Problem(_Answer):
    """RFC 9457; ``run`` and ``links`` are there when another run is in the way."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[FieldProblem] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    run: str | None = None
    links: ProblemLinks | None = None
