"""What must not be told now: the bridge's own secrets, and those that a single run was given.

Knows whose secrets are known and for how long. Must not know where they come from, nor how they
are found in text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command
from bridge.domain.events import EventDraft
from bridge.domain.redaction import Redactor
from bridge.domain.runs import WORKFLOW_OUTPUTS, RunChanges, RunError
from bridge.ports import Entry


class Redaction:
    """Hides secrets in everything that is written of a run."""

    def __init__(self, known: Callable[[], frozenset[str]] = frozenset) -> None:
        """Args: *known* gives the secrets of the bridge itself, as they are now."""
        self._known = known
        self._secrets = known()
        self._redactor = Redactor(self._secrets)
        self._of_runs: dict[str, Redactor] = {}

    # --- what is known ---------------------------------------------------------------------

    def redactor(self) -> Redactor:
        """What hides the secrets of the bridge itself."""
        secrets = self._known()
        if secrets is not self._secrets:
            self._secrets, self._redactor = secrets, Redactor(secrets)
        return self._redactor

    def learn(self, run_id: str, secrets: Iterable[str]) -> None:
        """Hide *secrets* in what is written of a run, until it is forgotten."""
        self._of_runs[run_id] = Redactor(secrets)

    def forget(self, run_id: str) -> None:
        """The run has ended: nothing is written of it any more."""
        self._of_runs.pop(run_id, None)

    # --- what is hidden --------------------------------------------------------------------

    def text(self, run_id: str, text: str) -> str:
        """*text* as it may be told of a run."""
        of_run = self._of_runs.get(run_id)
        return self.redactor().text(of_run.text(text) if of_run is not None else text)

    def value(self, run_id: str, value: Any) -> Any:
        """A JSON value as it may be told of a run."""
        of_run = self._of_runs.get(run_id)
        return self.redactor().value(of_run.value(value) if of_run is not None else value)

    def error(self, run_id: str, error: RunError) -> RunError:
        """Why a run ended badly."""
        return RunError(error.code, self.text(run_id, error.message))

    def event(self, run_id: str, draft: EventDraft) -> EventDraft:
        """One event."""
        message, data = self.text(run_id, draft.message), self.value(run_id, draft.data)
        if message is draft.message and data is draft.data:
            return draft
        return replace(draft, message=message, data=data)

    def audit(self, draft: AuditDraft) -> AuditDraft:
        """One record of the audit trail."""
        run_id = draft.run_id or ""
        reason, data = self.text(run_id, draft.reason), self.value(run_id, draft.data)
        if reason is draft.reason and data is draft.data:
            return draft
        return replace(draft, reason=reason, data=data)

    def command(self, command: Command) -> Command:
        """What somebody asked; what is supplied to Argo stays as it is."""
        return replace(command, reason=self.text(command.run_id, command.reason))

    def changes(self, run_id: str, changes: RunChanges) -> RunChanges:
        """What becomes of a run; how it is followed has no words of a workflow in it."""
        error, outputs, state = changes.error, changes.outputs, changes.state
        if error is None and outputs is None and WORKFLOW_OUTPUTS not in (state or {}):
            return changes
        return replace(
            changes,
            error=self.error(run_id, error) if error is not None else None,
            outputs=self.value(run_id, outputs) if outputs is not None else None,
            state=self._state(run_id, state) if state is not None else None,
        )

    def _state(self, run_id: str, state: Mapping[str, Any]) -> Mapping[str, Any]:
        if WORKFLOW_OUTPUTS not in state:
            return state
        return {**state, WORKFLOW_OUTPUTS: self.value(run_id, state[WORKFLOW_OUTPUTS])}

    def entry(self, run_id: str, entry: Entry) -> Entry:
        """All that a commit says."""
        changes = self.changes(run_id, entry.changes)
        events = tuple(self.event(run_id, draft) for draft in entry.events)
        if entry.audit or entry.keeps is not None:
            keeps = entry.keeps
            if keeps is not None:
                keeps = replace(keeps, document=self.value(run_id, keeps.document))
            audit = tuple(self.audit(replace(draft, run_id=run_id)) for draft in entry.audit)
            return replace(entry, changes=changes, events=events, audit=audit, keeps=keeps)
        told = zip(events, entry.events, strict=True)
        if changes is entry.changes and all(new is old for new, old in told):
            return entry  # as nearly always
        return replace(entry, changes=changes, events=events)
