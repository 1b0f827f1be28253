"""What the end of a workflow means for its run.

Knows how an ended, lost or stuck workflow becomes an ended run. Must not know how it was followed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from bridge.domain.errors import (
    BridgeError,
    DefinitionInvalid,
    EngineError,
    RunCancelled,
    StoreUnavailable,
    WorkflowFailed,
    WorkflowLost,
    WorkflowStuck,
)
from bridge.domain.events import EventDraft
from bridge.domain.mapping import Site, WorkflowFacts, entity_of, outputs_of, roots_of
from bridge.domain.progress import FollowState, failure_sentence
from bridge.domain.runs import WORKFLOW_OUTPUTS, Run, RunChanges, RunError, RunStatus
from bridge.domain.workflows import SUCCEEDED, Snapshot
from bridge.ports import Chance, Clock, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.follower import Follower
from bridge.services.journal import Journal
from bridge.services.pods import PodLogs
from bridge.services.registration import Registrar

_log = logging.getLogger(__name__)

_DELETED = "Argo has not looked at the workflow; it is deleted"


class Endings:
    """Ends the runs of one Argo target."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        actions: Actions,
        engine: WorkflowEngine,
        follower: Follower,
        pods: PodLogs,
        registrar: Registrar,
        clock: Clock,
        chance: Chance,
        site: Site,
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._engine = engine
        self._follower = follower
        self._pods = pods
        self._registrar = registrar
        self._clock = clock
        self._chance = chance
        self._site = site

    async def ended(self, run_id: str, snapshot: Snapshot) -> None:
        """The workflow has a final phase."""
        last_lines = await self._pods.drain(run_id)
        await self._until_stored(run_id, lambda run: self._conclude(run, snapshot, last_lines))

    async def lost(self, run_id: str) -> None:
        """The workflow is neither live nor archived."""
        error = WorkflowLost(
            "The workflow was deleted before its end was seen; look in Argo for what it did."
        )
        await self._pods.drain(run_id)

        async def end(run: Run) -> None:
            if await self._journal.said(run, _DELETED):  # by an owner who did not live to tell
                await self._fail(run, _stuck(), RunStatus.FAILED)
            else:
                await self._fail(run, error, RunStatus.LOST)

        await self._until_stored(run_id, end)

    async def stuck(self, run_id: str) -> None:
        """Argo never looked at the workflow: only deletion ends that (argo-recordings, 1.10)."""

        async def end(run: Run) -> None:
            await self._journal.say_once(run, _DELETED, level="warn")
            await self._engine.delete(run.workflow_name)
            await self._fail(run, _stuck(), RunStatus.FAILED)

        await self._until_stored(run_id, end)

    async def _until_stored(self, run_id: str, end: Callable[[Run], Awaitable[None]]) -> None:
        await self._follower.flush(run_id)
        self._follower.forget(run_id)
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        while True:
            try:
                run = await self._store.run(run_id)
                if not run.finished:
                    await end(run)
            except (StoreUnavailable, EngineError) as error:
                _log.warning("cannot end the run yet", extra={"run": run_id, "code": error.code})
                await backoff.wait()
            else:
                return

    async def _conclude(self, run: Run, snapshot: Snapshot, last_lines: Mapping[str, str]) -> None:
        if snapshot.phase == SUCCEEDED:
            try:
                await self._succeed(run, snapshot)
            except (DefinitionInvalid, ValueError) as error:
                sentence = f"The work is done, but its result cannot be shown: {error}"
                await self._fail(run, DefinitionInvalid(sentence), RunStatus.FAILED)
        elif run.cancelling and snapshot.shutdown:
            message = f"Cancelled by {run.cancel_requested_by}."
            cancelled = _with_past(run, snapshot)
            await self._fail(cancelled, RunCancelled(message), RunStatus.CANCELLED)
        else:
            sentence = failure_sentence(snapshot, last_lines=last_lines)
            await self._fail(_with_past(run, snapshot), WorkflowFailed(sentence), RunStatus.FAILED)

    async def _fail(self, run: Run, error: BridgeError, status: RunStatus) -> None:
        await self._journal.end(run, status=status, error=RunError.of(error))

    async def _succeed(self, run: Run, snapshot: Snapshot) -> None:
        if run.status is not RunStatus.REGISTERING:
            outputs = await self._outputs(run, snapshot)
            event = EventDraft("output", data={"outputs": outputs})
            # What follows needs the workflow's own outputs; what was told of its nodes is over.
            state = {WORKFLOW_OUTPUTS: snapshot.outputs}
            changes = RunChanges(status=RunStatus.REGISTERING, outputs=outputs, state=state)
            await self._journal.write(run.id, event, changes=changes)
        await self._registrar.register(run.id)

    async def _outputs(self, run: Run, snapshot: Snapshot) -> dict[str, Any]:
        definition = await self._actions.definition_of(run)
        facts = WorkflowFacts(
            url=self._engine.url(snapshot.name, uid=snapshot.uid), outputs=snapshot.outputs
        )
        roots = roots_of(run, definition=definition, site=self._site, workflow=facts)
        entity = entity_of(definition, roots=roots, run_id=run.id)
        ref = str(entity.ref) if entity else None
        return outputs_of(definition, roots={**roots, "entity": {"ref": ref}})


def _stuck() -> WorkflowStuck:
    return WorkflowStuck(
        "Argo accepted the workflow and never started it, so it was deleted; "
        "ask the platform team whether the workflow-controller is running."
    )


def _with_past(run: Run, snapshot: Snapshot) -> Run:
    """The run with a note of this end: who goes on with the workflow knows it again."""
    told = FollowState.from_json(run.state)
    state = replace(told, past=(snapshot.started, snapshot.finished))
    return replace(run, state=state.to_json())
