"""Use cases of people on runs that are under way: cancel, terminate, approve, reject, retry.

Knows what has to be allowed for each, that a second decision is an answer and not an effect, and
that everything asked leaves a record. Must not know who may (``policy`` does), nor how a command
reaches Argo: its owner carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.domain.actions import ActionDefinition, Approval
from bridge.domain.audit import AuditDraft
from bridge.domain.callers import Caller
from bridge.domain.commands import Command, Verb
from bridge.domain.errors import (
    AlreadyDecided,
    BridgeError,
    FieldError,
    Forbidden,
    InputInvalid,
    NotRetryable,
    NotWaiting,
)
from bridge.domain.events import log
from bridge.domain.inputs import InputSchema, forbidden_text
from bridge.domain.policy import Permission
from bridge.domain.references import FILTERS
from bridge.domain.runs import Acceptance, Run, RunChanges, RunStatus
from bridge.domain.workflows import Node
from bridge.ports import Clock, Commanded, Entry, RunStore, WorkflowEngine
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.journal import Journal
from bridge.services.refusals import Refusals
from bridge.services.runs import Runs, attempt_of

RetryMode = Literal["attempt", "workflow"]
_BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of a run, with the reason given."""

    run_id: str
    caller: Caller
    reason: str = ""


class Control:
    """Takes commands for any run; whichever replica owns it carries them out."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        runs: Runs,
        actions: Actions,
        access: Access,
        refusals: Refusals,
        engines: Mapping[str, WorkflowEngine],
        clock: Clock,
        on_command: Callable[[Command], object],
    ) -> None:
        self._store = store
        self._journal = journal
        self._runs = runs
        self._actions = actions
        self._access = access
        self._refusals = refusals
        self._engines = engines
        self._clock = clock
        self._on_command = on_command

    # --- ending ----------------------------------------------------------------------------

    async def cancel(self, wish: Wish) -> Run:
        """Ask for the end of a run; asking again, or after its end, changes nothing.

        Raises:
            RunUnknown: There is no such run, or none that the caller may see.
            Forbidden: The caller may not.
        """
        return await self._end(wish, Verb.CANCEL, Permission.CANCEL)

    async def terminate(self, wish: Wish) -> Run:
        """Like :meth:`cancel`, but at once and without the workflow's exit handler."""
        return await self._end(wish, Verb.TERMINATE, Permission.TERMINATE)

    async def _end(self, wish: Wish, verb: Verb, permission: Permission) -> Run:
        run = await self._store.run(wish.run_id)
        attempt = _record(wish, verb, outcome="")
        await self._access.check(permission, run, wish.caller, attempt=attempt)
        if run.finished:
            return run
        changes = RunChanges()
        if not run.cancelling:
            changes = RunChanges(
                cancel_requested_by=wish.caller.name, cancel_requested_at=self._clock.now()
            )
        commanded = await self._give(wish, verb, changes=changes)
        return commanded.run

    # --- deciding --------------------------------------------------------------------------

    async def decide(
        self, wish: Wish, verb: Literal[Verb.APPROVE, Verb.REJECT], inputs: Mapping[str, Any]
    ) -> Run:
        """Approve or reject what a run waits for; the same decision again changes nothing.

        Raises:
            RunUnknown: There is no such run, or none that the caller may see.
            NotWaiting: No approval is open.
            AlreadyDecided: Somebody has decided, or this person otherwise.
            Forbidden: This person may not decide.
            InputInvalid: *inputs* do not fit what the approval asks for.
            EngineUnavailable: Argo cannot be asked what is open.
        """
        run = await self._store.run(wish.run_id)
        attempt = _record(wish, verb, outcome="")
        await self._access.check(Permission.SEE, run, wish.caller, attempt=attempt)
        definition = await self._actions.definition_of(run)
        gate = await self._open_gate(run, definition)
        if gate is None:
            decisions = [command for command in await self._store.commands(run.id) if command.gate]
            return await self._decided_before(run, wish, verb, decisions[-1] if decisions else None)
        try:
            approval = _approval_at(gate, definition)
            await self._access.check(Permission.DECIDE, run, wish.caller)
            outputs = _outputs(gate, approval, inputs) if verb is Verb.APPROVE else {}
        except BridgeError as error:
            await self._refusals.keep(_record(wish, verb, outcome=error.code))
            raise
        commanded = await self._give(wish, verb, gate=gate.id, outputs=outputs)
        if not commanded.fresh:
            return await self._decided_before(commanded.run, wish, verb, commanded.command)
        return commanded.run

    async def expire(self, run: Run, gate: str, reason: str) -> None:
        """Reject a gate that nobody decided in time."""
        definition = await self._actions.definition_of(run)
        found = await self._open_gate(run, definition)
        if found is not None and found.id == gate:
            wish = Wish(run.id, Caller(_BRIDGE, tenant=run.tenant), reason)
            await self._give(wish, Verb.REJECT, gate=gate, told=f"rejected: {reason}")

    async def _open_gate(self, run: Run, definition: ActionDefinition) -> Node | None:
        """The gate that the definition names, or the only one, if Argo shows it open now."""
        if run.finished or run.workflow_uid is None:
            return None
        engine = self._engines[run.target]
        gates = (await engine.get(run.workflow_name, uid=run.workflow_uid)).gates
        approval = definition.spec.approval
        named = [gate for gate in gates if approval and gate.display_name == approval.node]
        return next(iter((*named, *gates)), None)

    async def _decided_before(
        self, run: Run, wish: Wish, verb: Verb, decision: Command | None
    ) -> Run:
        """The answer to who comes after *decision*, or asks where there is none to make."""
        refusal: BridgeError
        if decision is None:
            refusal = NotWaiting(f"Run {run.id} is {run.status} and waits for nobody's approval.")
        elif decision.verb is verb and decision.by == wish.caller.name:
            return run
        else:
            words = f"{decision.verb.asked} by {decision.by} already{decision.because}"
            refusal = AlreadyDecided(f"It was {words}.")
        await self._refusals.keep(_record(wish, verb, outcome=refusal.code))
        raise refusal

    # --- trying again ----------------------------------------------------------------------

    async def retry(self, wish: Wish, mode: RetryMode) -> Acceptance:
        """Try a run again that ended badly: the next attempt, which may be there already.

        ``attempt`` makes a workflow anew; ``workflow`` lets Argo run the failed steps of the
        same one again.

        Raises:
            RunUnknown: There is no such run, or none that the caller may see.
            Forbidden: The caller may not retry it, or not ask for such a run.
            NotRetryable: It is open or went well, or has no workflow to go on with.
            InputInvalid: The action has changed and does not take the input any more.
            LockHeld: Another run works on the same thing now.
        """
        run = await self._store.run(wish.run_id)
        record = attempt_of("run.retry", wish.caller, reason=wish.reason)
        attempt = replace(record, run_id=run.id)
        await self._access.check(Permission.RETRY, run, wish.caller, attempt=attempt)
        if run.superseded_by is not None:
            return Acceptance(await self._store.run(run.superseded_by), replayed=True)
        if not run.finished or run.status is RunStatus.SUCCEEDED:
            raise NotRetryable(f"Run {run.id} is {run.status}; only what ended badly is retried.")
        if mode == "workflow" and run.workflow_uid is None:
            raise NotRetryable(f"Run {run.id} never had a workflow; ask for a new attempt.")
        return await self._runs.again(
            run,
            record=replace(record, data={"of": run.id, "mode": mode}),
            by=wish.caller,
            takes_over=mode == "workflow",
        )

    # --- what all share --------------------------------------------------------------------

    async def _give(
        self,
        wish: Wish,
        verb: Verb,
        *,
        gate: str = "",
        outputs: Mapping[str, str] | None = None,
        changes: RunChanges | None = None,
        told: str | None = None,
    ) -> Commanded:
        command = Command(
            run_id=wish.run_id,
            verb=verb,
            by=wish.caller.name,
            at=self._clock.now(),
            gate=gate,
            reason=wish.reason,
            outputs=outputs or {},
        )
        entry = Entry(
            changes=changes or RunChanges(),
            events=(log(told or command.line, level="warn"),),
            audit=(_record(wish, verb, outcome="asked"),),
        )
        commanded = await self._journal.command(command, entry=entry)
        if commanded.command is not None and commanded.command.settled_at is None:
            self._on_command(commanded.command)
        return commanded


def _record(wish: Wish, verb: Verb, *, outcome: str) -> AuditDraft:
    return attempt_of(
        f"run.{verb}", wish.caller, run_id=wish.run_id, reason=wish.reason, outcome=outcome
    )


def _approval_at(gate: Node, definition: ActionDefinition) -> Approval:
    approval = definition.spec.approval
    if approval is None or gate.display_name != approval.node:
        raise Forbidden(
            "The action names nobody who may decide here; add spec.approval to its "
            "definition, or go on in Argo."
        )
    return approval


def _outputs(gate: Node, approval: Approval, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Every output that the gate supplies: given, or its default (argo-recordings, 1.12).

    Raises:
        InputInvalid: A value is missing, not asked for, or would be expanded by Argo.
    """
    given = InputSchema.compile({"type": "object", **approval.inputs}).check(inputs)
    outputs: dict[str, str] = {}
    for name, default in gate.supplied:
        value = given.get(name, default)
        text = FILTERS["string"](value)
        reason = "is needed" if value is None else forbidden_text(text, braces=True)
        if reason is not None:
            problem = FieldError(f"/{name}", reason)
            raise InputInvalid(f"inputs.{name} {reason}", errors=(problem,))
        outputs[name] = text
    return outputs
