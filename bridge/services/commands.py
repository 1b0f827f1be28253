"""Carrying commands to Argo, until they are there.

Knows what each verb asks of Argo, that an answer of 200 does not prove it was done, and that the
workflow may not exist yet. Must not know who may give a command, nor how the end of a run is
noticed: the follower does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command, Settlement, Verb
from bridge.domain.errors import (
    EngineError,
    GateClosed,
    RunUnknown,
    StoreUnavailable,
    WorkflowGone,
)
from bridge.domain.events import EventDraft, log
from bridge.domain.runs import Run, RunStatus
from bridge.ports import Chance, Clock, Entry, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal
from bridge.services.tasks import Tasks

_DECISIONS = frozenset({Verb.APPROVE, Verb.REJECT})
_CALLER = "bridge"


class Commander:
    """Carries out the commands on the runs of this replica, each once at a time."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        actions: Actions,
        engines: Mapping[str, WorkflowEngine],
        clock: Clock,
        chance: Chance,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._engines = engines
        self._clock = clock
        self._chance = chance
        self._tasks = tasks
        self._under_way: set[tuple[str, str]] = set()

    def take(self, command: Command) -> None:
        """Begin with a command, unless it is another replica's or under way."""
        place = (command.run_id, command.slot)
        if place in self._under_way or not self._journal.owns(command.run_id):
            return
        task = self._tasks.spawn(self.carry_out(command), name=f"{command.verb} {command.run_id}")
        if task is not None:
            self._under_way.add(place)
            task.add_done_callback(lambda _task: self._under_way.discard(place))

    async def carry_out(self, command: Command) -> None:
        """Ask Argo until it has done it, or the run has ended otherwise."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=10.0)
        act = self._decide if command.verb in _DECISIONS else self._end
        while True:
            try:
                run = await self._store.run(command.run_id)
                if run.finished or await act(run, command):
                    return
            except (WorkflowGone, RunUnknown):
                return  # the follower tells how it ended
            except (EngineError, StoreUnavailable):
                pass
            await backoff.wait()

    async def _end(self, run: Run, command: Command) -> bool:
        """Stop or terminate; whether there is nothing more to do."""
        if run.status is RunStatus.REGISTERING:
            told = log("too late to cancel: the workflow has succeeded", level="warn")
            await self._settle(run, command, "too late", told)
            return True
        if run.workflow_uid is None:  # it may never be made, or be somebody else's
            return False
        definition = await self._actions.definition_of(run)
        terminate = command.verb is Verb.TERMINATE or definition.spec.cancel == "terminate"
        if not await self._is_stopped(run, terminate=terminate):
            await self._engines[run.target].stop(run.workflow_name, terminate=terminate)
            if not await self._is_stopped(run, terminate=terminate):
                return False  # an answer of 200 is not proof
        what = "terminated; nothing is rolled back" if terminate else "stopped; it rolls back"
        outcome = "terminated" if terminate else "stopped"
        await self._settle(run, command, outcome, log(f"the workflow is being {what}"))
        return True

    async def _is_stopped(self, run: Run, *, terminate: bool) -> bool:
        engine = self._engines[run.target]
        snapshot = await engine.get(run.workflow_name, uid=run.workflow_uid)
        enough = {"Terminate"} if terminate else {"Stop", "Terminate"}
        return snapshot.ended or snapshot.shutdown in enough

    async def _decide(self, run: Run, command: Command) -> bool:
        """Open or close the gate, and look whether it is so (argo-recordings, 1.11 and 1.12)."""
        engine = self._engines[run.target]
        approved = command.verb is Verb.APPROVE
        phase = await self._gate_phase(engine, run, command)
        if phase == "Running":
            with suppress(GateClosed):  # decided meanwhile: the next look tells how
                await engine.decide(
                    run.workflow_name,
                    node_id=command.gate,
                    approved=approved,
                    message=command.line,
                    outputs=command.outputs,
                )
            phase = await self._gate_phase(engine, run, command)
        if phase == "Running":
            return False
        if (phase == "Succeeded") is approved:
            await self._settle(run, command, "done")
        else:
            told = log("the approval was decided otherwise in Argo before", level="warn")
            await self._settle(run, command, "decided otherwise in Argo", told)
        return True

    async def _gate_phase(self, engine: WorkflowEngine, run: Run, command: Command) -> str:
        snapshot = await engine.get(run.workflow_name, uid=run.workflow_uid)
        node = snapshot.raw_nodes.get(command.gate) or {}
        return str(node.get("phase") or "")

    async def _settle(self, run: Run, command: Command, outcome: str, *events: EventDraft) -> None:
        record = AuditDraft(
            action=f"run.{command.verb}.settled",
            caller=_CALLER,
            run_id=run.id,
            reason=f"asked by {command.by}",
            outcome=outcome,
        )
        entry = Entry(events=events, audit=(record,), settles=Settlement(command.slot, outcome))
        await self._journal.write(run.id, entry=entry)
