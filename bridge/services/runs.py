"""Use cases on runs: accept, look, preview, try again.

Knows actions, the store and whom to hand an accepted run to. Must not know HTTP or Argo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.domain.audit import AuditDraft
from bridge.domain.errors import EventIdInvalid, RequestInvalid
from bridge.domain.events import Event, log, with_gap
from bridge.domain.mapping import (
    Site,
    example_outputs,
    parameters_of,
    roots_of,
    workflow_of,
)
from bridge.domain.references import render_template
from bridge.domain.runs import Acceptance, NewRun, Run, RunContext
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
    ) -> None:
        self._store = store
        self._actions = actions
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._site = site
        self._namespaces = namespaces
        self._on_accepted = on_accepted

    async def accept(self, request: Request) -> Acceptance:
        """Take a request exactly once; the run is durable when this returns.

        Raises:
            ActionUnknown, InputInvalid, IdempotencyKeyReused, LockHeld, RequestInvalid,
            StoreUnavailable.
        """
        record = AuditDraft("run.accept", request.caller, request.user, data={"by": "request"})
        return await self._accept(self._new_run(request), record)

    async def _accept(self, new: NewRun, record: AuditDraft) -> Acceptance:
        first = log(_first_line(new))
        acceptance = await self._store.accept(new, first=first, audit=(record,))
        if not acceptance.replayed:
            self._journal.own(acceptance.run)
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
        lock = definition.spec.lock
        if lock is None:
            return new
        key = render_template(lock.key, roots=roots)
        return replace(new, lock=key, may_queue=lock.when_held == "queue")

    async def get(self, run_id: str) -> Run:
        """One run. Raises RunUnknown."""
        return await self._store.run(run_id)

    async def page(self, chosen: RunFilter) -> list[Run]:
        """Runs, newest first."""
        return await self._store.runs(chosen)

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """Stored events of a run. Raises RunUnknown."""
        await self._store.run(run_id)
        return with_gap(await self._store.events(run_id, after=after, limit=limit), after=after)

    async def acknowledge(self, run_id: str, *, reader: str, seq: int) -> int:
        """Remember how far a reader has come; gives where it is. Raises RunUnknown."""
        run = await self._store.run(run_id)
        if seq > run.last_seq:
            raise EventIdInvalid(f"Run {run_id} has {run.last_seq} events, not {seq}.")
        return await self._store.acknowledge(run_id, reader=reader, seq=seq)

    async def acknowledged(self, run_id: str, *, reader: str) -> int:
        """How far a reader has come. Raises RunUnknown."""
        return await self._store.acknowledged(run_id, reader=reader)

    async def again(
        self, run: Run, *, by: AuditDraft, takes_over: bool, reopened: bool = False
    ) -> Acceptance:
        """The next attempt of an ended run: a new workflow, or on with the one it had.

        *reopened* says that the workflow runs again already.

        Raises like :meth:`accept`.
        """
        request = Request(
            action=run.action,
            input=run.input,
            caller=run.caller,
            user=run.user,
            key=run.key,
            context=run.context,
        )
        new = replace(
            self._new_run(request),
            takes_over=run if takes_over else None,
            reopened=reopened,
            another=True,
        )
        return await self._accept(new, by)


def _first_line(new: NewRun) -> str:
    if new.takes_over is None:
        return f"accepted {new.action} as {new.id}"
    return f"accepted {new.action} as {new.id}: Argo goes on with the workflow of run " + (
        new.takes_over.id
    )


def _checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise RequestInvalid(f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters")
    return key
