"""Records of the bridge as the API shows them.

Knows the records and the shapes of ``models``. Must not know requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.domain.actions import ActionDefinition
from bridge.domain.audit import AuditRecord, record_json
from bridge.domain.commands import Command
from bridge.domain.definitions import Catalogue
from bridge.domain.mapping import timestamp
from bridge.domain.runs import Run
from bridge.web import models as m
from bridge.web.addresses import run_address

_ASKED = ("cancel", "terminate", "approve", "reject", "retry")


def run_view(run: Run, *, workflow_url: str | None) -> m.RunView:
    """A run."""
    return m.RunView(**_of_run(run, workflow_url))


def run_details(run: Run, *, workflow_url: str | None, commands: Sequence[Command]) -> m.RunDetails:
    """A run with what was asked of it."""
    asked = [_command(command) for command in commands]
    return m.RunDetails(**_of_run(run, workflow_url), commands=asked)


def _of_run(run: Run, workflow_url: str | None) -> dict[str, Any]:
    here, context, error = run_address(run.id), run.context, run.error
    return {
        "id": run.id,
        "action": run.action,
        "status": str(run.status),
        "attempt": run.attempt,
        "input": run.input,
        "requested_by": run.user or run.caller,
        "context": {
            "task_id": context.task_id,
            "step_id": context.step_id,
            "template": context.template,
        },
        "workflow": {
            "target": run.target,
            "namespace": run.namespace,
            "name": run.workflow_name,
            "uid": run.workflow_uid,
            "phase": run.phase,
            "url": workflow_url,
        },
        "progress": run.progress,
        "outputs": run.outputs,
        "entity_ref": run.entity_ref,
        "error": {"code": error.code, "message": error.message} if error else None,
        "last_seq": run.last_seq,
        "lock": _lock(run),
        "takes_over": run.takes_over,
        "superseded_by": run.superseded_by,
        "created_at": timestamp(run.created_at),
        "updated_at": timestamp(run.updated_at),
        "finished_at": timestamp(run.finished_at) if run.finished_at else None,
        "links": {
            "self": here,
            "events": f"{here}/events",
            **{verb: f"{here}/{verb}" for verb in _ASKED},
        },
    }


def _lock(run: Run) -> m.LockView | None:
    if run.lock is None:
        return None
    return m.LockView(key=run.lock, held=run.holds_lock and not run.finished)


def _command(command: Command) -> m.CommandView:
    return m.CommandView(
        verb=str(command.verb),
        by=command.by,
        at=timestamp(command.at),
        reason=command.reason,
        outcome=command.outcome,
    )


def audit_view(record: AuditRecord) -> dict[str, Any]:
    """One line of the audit trail."""
    return m.AuditRecordView.model_validate(record_json(record)).model_dump(by_alias=True)


def action_view(action: ActionDefinition) -> dict[str, Any]:
    """An action; the scaffolder module registers it from this."""
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
