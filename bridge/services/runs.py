"""Use cases on runs: accept, look, preview, try again.

Knows actions, the store, whom to ask whether somebody may, and whom to hand an accepted run to.
Must not know HTTP or Argo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.domain.actions import ActionDefinition
from bridge.domain.audit import AuditDraft
from bridge.domain.callers import Caller
from bridge.domain.entities import EntityRef
from bridge.domain.errors import (
    EventIdInvalid,
    FieldError,
    InputInvalid,
    LockHeld,
    NotRetryable,
    RequestInvalid,
)
from bridge.domain.events import Event, log, with_gap
from bridge.domain.mapping import (
    Site,
    example_outputs,
    parameters_of,
    roots_of,
    text_of,
    workflow_of,
)
from bridge.domain.references import Roots, render_template
from bridge.domain.runs import Acceptance, NewRun, Run, RunContext
from bridge.domain.secret_inputs import apart
from bridge.ports import Chance, Clock, RunFilter, RunStore
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.journal import Journal
from bridge.services.secret_inputs import SecretInputs

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Request:
    """What a verified caller asks for."""

    action: str
    input: Any
    caller: Caller
    key: str | None = None
    context: RunContext = field(default_factory=RunContext)


class Runs:
    """The runs of this bridge."""

    def __init__(
        self,
        *,
        store: RunStore,
        actions: Actions,
        access: Access,
        journal: Journal,
        clock: Clock,
        chance: Chance,
        site: Site,
        namespaces: Mapping[str, str],
        on_accepted: Callable[[Run], None],
        secrets: SecretInputs | None = None,
    ) -> None:
        self._store = store
        self._actions = actions
        self._access = access
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._site = site
        self._namespaces = namespaces
        self._on_accepted = on_accepted
        self._secrets = secrets or SecretInputs(store=store)

    async def accept(self, request: Request) -> Acceptance:
        """Take a request exactly once; the run is durable when this returns.

        Raises:
            ActionUnknown, InputInvalid, Forbidden, CatalogUnavailable, IdempotencyKeyReused,
            LockHeld, RequestInvalid, SecretsUnreadable, StoreUnavailable.
        """
        new = self._new_run(request)
        caller, act = request.caller, "run.accept"
        await self._check(new, caller, attempt=attempt_of(act, caller, data={"action": new.action}))
        return await self._accept(new, attempt_of(act, caller, data={"by": "request"}), by=caller)

    async def _check(
        self, new: NewRun, caller: Caller, *, attempt: AuditDraft | None = None
    ) -> None:
        action = self._actions.catalogue.get(new.action)
        await self._access.check_request(action, caller, team=new.team, attempt=attempt)

    async def _accept(self, new: NewRun, record: AuditDraft, *, by: Caller | None) -> Acceptance:
        first = log(_first_line(new))
        try:
            acceptance = await self._journal.accept(new, first=first, audit=record)
        except LockHeld as error:
            raise await self._told(error, by) from error
        if not acceptance.replayed:
            self._on_accepted(acceptance.run)
        return acceptance

    async def _told(self, error: LockHeld, caller: Caller | None) -> LockHeld:
        """The same, without the run in the way for who may not see that one."""
        if error.run_id is None or caller is None:
            return error
        if await self._access.sees(await self._store.run(error.run_id), caller):
            return error
        return LockHeld("Another run works on the same thing; wait for its end.")

    async def preview(self, request: Request) -> dict[str, Any]:
        """What a run would do, without doing any of it (dry-run). Raises like :meth:`accept`."""
        new = self._new_run(request, seals=False)
        await self._check(new, request.caller)
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

    def _new_run(self, request: Request, *, seals: bool = True) -> NewRun:
        definition = self._actions.catalogue.get(request.action)
        given = apart(definition.check_input(request.input), definition.secret_fields)
        run_id = self._chance.run_id()
        target = definition.spec.workflow.target
        if target not in self._namespaces:
            raise RequestInvalid(f"the action's Argo target {target!r} is not configured")
        new = NewRun(
            id=run_id,
            action=definition.id,
            definition=definition.document,
            definition_digest=definition.digest,
            caller=request.caller.subject,
            user=request.caller.user,
            tenant=request.caller.tenant,
            key=_checked_key(request.key) or run_id,
            input=given.shown,
            context=request.context,
            target=target,
            namespace=self._namespaces[target],
            created_at=self._clock.now(),
        )
        roots = roots_of(new, definition=definition, site=self._site, secrets=given.secrets)
        parameters_of(definition, roots=roots)  # refused now, not after the caller has gone
        sealed = self._secrets.seal(given, run_id=run_id) if seals else None
        lock = definition.spec.lock
        return replace(
            new,
            team=_team_of(definition, roots=roots),
            sealed=sealed.text if sealed is not None else None,
            mark=sealed.mark if sealed is not None else "",
            lock=render_template(lock.key, roots=roots) if lock is not None else None,
            may_queue=lock is not None and lock.when_held == "queue",
        )

    async def get(self, run_id: str, *, by: Caller) -> Run:
        """One run. Raises RunUnknown, also for one that *by* may not see."""
        run = await self._store.run(run_id)
        await self._access.see(run, by)
        return run

    async def page(self, chosen: RunFilter, *, by: Caller) -> list[Run]:
        """Runs that *by* may see, newest first."""
        return await self._store.runs(replace(chosen, scope=await self._access.scope(by)))

    async def events(self, run: Run, *, after: int, limit: int) -> list[Event]:
        """Stored events of a run that its reader has got from :meth:`get`."""
        return with_gap(await self._store.events(run.id, after=after, limit=limit), after=after)

    async def acknowledge(self, run_id: str, *, by: Caller, reader: str, seq: int) -> int:
        """Remember how far a reader has come; gives where it is. Raises RunUnknown."""
        run = await self.get(run_id, by=by)
        if seq > run.last_seq:
            raise EventIdInvalid(f"Run {run_id} has {run.last_seq} events, not {seq}.")
        return await self._store.acknowledge(run_id, reader=reader, seq=seq)

    async def acknowledged(self, run_id: str, *, by: Caller, reader: str) -> int:
        """How far a reader has come. Raises RunUnknown."""
        await self.get(run_id, by=by)
        return await self._store.acknowledged(run_id, reader=reader)

    async def again(
        self,
        run: Run,
        *,
        record: AuditDraft,
        by: Caller | None,
        takes_over: bool,
        reopened: bool = False,
    ) -> Acceptance:
        """The next attempt of an ended run: a new workflow, or on with the one it had.

        It belongs to whom the run belongs to, but *by* must be allowed to ask for it anew; None
        is the bridge itself. *reopened* says that the workflow runs again already.

        Raises like :meth:`accept`, and:
            NotRetryable: The run was given secrets, which are gone with its end.
        """
        definition = await self._actions.definition_of(run)
        if definition.secret_fields & run.input.keys():
            raise NotRetryable(
                f"Run {run.id} was given secrets, which are not kept after its end: ask for it "
                "again by the form, with its secrets."
            )
        request = Request(
            action=run.action,
            input=run.input,
            caller=Caller(run.caller, run.user, tenant=run.tenant),
            key=run.key,
            context=run.context,
        )
        new = replace(
            self._new_run(request),
            takes_over=run if takes_over else None,
            reopened=reopened,
            another=True,
        )
        if by is not None:
            await self._check(new, by, attempt=replace(record, run_id=run.id, data={}))
        return await self._accept(new, record, by=by)


def attempt_of(action: str, caller: Caller, **known: Any) -> AuditDraft:
    """The record of what *caller* does, as far as it is *known*."""
    return AuditDraft(
        action, caller.subject, caller.user, tenant=caller.tenant, source=caller.source, **known
    )


def _team_of(definition: ActionDefinition, *, roots: Roots) -> str | None:
    """Whose the run is, as a full entity ref in lower case; None if the input names nobody.

    Raises:
        InputInvalid: What it names is no reference.
    """
    source = definition.spec.access.team
    name = text_of(source, roots=roots) if source is not None else None
    if not name:
        return None
    try:
        return str(EntityRef.parse(name)).lower()
    except ValueError as error:
        raise InputInvalid(str(error), errors=(FieldError("", str(error)),)) from error


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
