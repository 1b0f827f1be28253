"""Use cases on runs: accept, look, preview, cancel.

Knows actions, the store and whom to hand an accepted run to. Must not know HTTP or Argo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.domain.errors import RequestInvalid
from bridge.domain.events import Event, log
from bridge.domain.mapping import (
    Site,
    example_outputs,
    parameters_of,
    roots_of,
    workflow_of,
)
from bridge.domain.runs import Acceptance, NewRun, Run, RunChanges, RunContext, RunStatus
from bridge.ports import Chance, Clock, RunFilter, RunStore
from bridge.services.actions import Actions
from bridge.services.journal import Journal

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Request:
    """What a verified caller asks for."""

    action: str
    input: Any
    caller: str
    user: str | None
    key: str | None = None
    context: RunContext = field(default_factory=RunContext)


class Runs:
    """The runs of this bridge."""

    def __init__(
        self,
        *,
        store: RunStore,
        actions: Actions,
        journal: Journal,
        clock: Clock,
        chance: Chance,
        site: Site,
        namespaces: Mapping[str, str],
        on_accepted: Callable[[Run], None],
        on_cancel: Callable[[Run], None],
    ) -> None:
        self._store = store
        self._actions = actions
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._site = site
        self._namespaces = namespaces
        self._on_accepted = on_accepted
        self._on_cancel = on_cancel

    async def accept(self, request: Request) -> Acceptance:
        """Take a request exactly once; the run is durable when this returns.

        Raises:
            ActionUnknown, InputInvalid, IdempotencyKeyReused, RequestInvalid, StoreUnavailable.
        """
        new = self._new_run(request)
        acceptance = await self._store.accept(new, first=log(f"accepted {new.action} as {new.id}"))
        if not acceptance.replayed:
            self._on_accepted(acceptance.run)
        return acceptance

    def preview(self, request: Request) -> dict[str, Any]:
        """What a run would do, without doing any of it (dry-run). Raises like :meth:`accept`."""
        new = self._new_run(request)
        definition = self._actions.catalogue.get(new.action)
        run = Run.accepted(new, attempt=1)
        roots = roots_of(run, definition=definition, site=self._site)
        return {
            "dryRun": True,
            "action": new.action,
            "input": new.input,
            "workflow": workflow_of(run, definition=definition, site=self._site, roots=roots),
            "outputs": example_outputs(definition),
        }

    def _new_run(self, request: Request) -> NewRun:
        definition = self._actions.catalogue.get(request.action)
        checked = definition.check_input(request.input)
        run_id = self._chance.run_id()
        target = definition.spec.workflow.target
        if target not in self._namespaces:
            raise RequestInvalid(f"the action's Argo target {target!r} is not configured")
        new = NewRun(
            id=run_id,
            action=definition.id,
            definition=definition.document,
            definition_digest=definition.digest,
            caller=request.caller,
            user=request.user,
            key=_checked_key(request.key) or run_id,
            input=checked,
            context=request.context,
            target=target,
            namespace=self._namespaces[target],
            created_at=self._clock.now(),
        )
        roots = roots_of(Run.accepted(new, attempt=1), definition=definition, site=self._site)
        parameters_of(definition, roots=roots)  # refused now, not after the caller has gone
        return new

    async def get(self, run_id: str) -> Run:
        """One run. Raises RunUnknown."""
        return await self._store.run(run_id)

    async def page(self, chosen: RunFilter) -> list[Run]:
        """Runs, newest first."""
        return await self._store.runs(chosen)

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """Stored events of a run. Raises RunUnknown."""
        await self._store.run(run_id)
        return await self._store.events(run_id, after=after, limit=limit)

    async def cancel(self, run_id: str, *, by: str) -> Run:
        """Ask for the end of a run; asking again, or after its end, changes nothing.

        Raises:
            RunUnknown: There is no such run.
        """
        run = await self._store.run(run_id)
        if run.finished:
            return run
        if not run.cancelling:
            late = run.status is RunStatus.REGISTERING
            why = "too late to cancel: the workflow has succeeded"
            told = why if late else f"cancel requested by {by}"
            changes = RunChanges(cancel_requested_by=by, cancel_requested_at=self._clock.now())
            asked = log(told, level="warn")
            run = await self._journal.write(run_id, asked, changes=changes) or run
        self._on_cancel(run)
        return run


def _checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise RequestInvalid(f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters")
    return key
