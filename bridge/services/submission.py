"""From an accepted run to a workflow: created once, however often this is interrupted.

Knows the order that makes it so (design, section 4): commit *submitting*, create under the
deterministic name, commit the uid. Must not know what Argo speaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import (
    BridgeError,
    EngineConflict,
    EngineForbidden,
    EngineUnavailable,
    RunCancelled,
    StoreUnavailable,
    TemplateMissing,
    WorkflowExists,
    WorkflowGone,
)
from bridge.domain.events import status
from bridge.domain.mapping import Site, roots_of, workflow_of
from bridge.domain.runs import RUN_LABEL, Run, RunChanges, RunError, RunStatus
from bridge.domain.workflows import Snapshot
from bridge.ports import Chance, Clock, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.follower import Follower
from bridge.services.journal import Journal

_BEFORE = frozenset({RunStatus.ACCEPTED, RunStatus.SUBMITTING})
_AGAIN = (EngineUnavailable, EngineConflict, EngineForbidden)


class Submitter:
    """Creates the workflows of accepted runs, a bounded number at a time."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        actions: Actions,
        engines: Mapping[str, WorkflowEngine],
        followers: Mapping[str, Follower],
        clock: Clock,
        chance: Chance,
        site: Site,
        at_once: int = 4,
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._engines = engines
        self._followers = followers
        self._clock = clock
        self._chance = chance
        self._site = site
        self._slots = asyncio.Semaphore(at_once)

    async def submit(self, run: Run) -> None:
        """Bring *run* to its workflow, or to its end; waits for as long as Argo is away."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        outage, tried = "", False
        while True:
            try:
                if tried:
                    run = await self._store.run(run.id)
                    if run.status not in _BEFORE:
                        return  # the answer was lost, but the watch has shown the workflow
                tried = True
                snapshot = await self._attempt(run)
                if outage and snapshot is not None:
                    await self._journal.say(run.id, "Argo answers again")
            except StoreUnavailable:
                await backoff.wait()
            except _AGAIN as error:
                outage = await self._warn(run, error, told=outage)
                await backoff.wait(at_least=error.retry_after or 0)
            else:
                if snapshot is not None:
                    self._followers[run.target].created(run, snapshot)
                return

    async def _warn(self, run: Run, error: BridgeError, *, told: str) -> str:
        """Say once why it has to wait; what cannot be stored now is said the next time."""
        reason = _waiting(error)
        try:
            if reason != told:
                await self._journal.say(run.id, reason, level="warn")
        except StoreUnavailable:
            return told
        return reason

    async def _attempt(self, run: Run) -> Snapshot | None:
        """The workflow, or None when the run has ended without one."""
        try:
            definition = await self._actions.definition_of(run)
            async with self._slots:
                return await self._create(run, definition)
        except (StoreUnavailable, *_AGAIN):
            raise
        except BridgeError as error:
            self._followers[run.target].forget(run.id)
            cancelled = isinstance(error, RunCancelled)
            ended = RunStatus.CANCELLED if cancelled else RunStatus.FAILED
            await self._journal.end(run, status=ended, error=RunError.of(error))
            return None

    async def _create(self, run: Run, definition: ActionDefinition) -> Snapshot:
        engine, follower = self._engines[run.target], self._followers[run.target]
        # The watch may show the workflow before the answer to its creation arrives.
        follower.track(run, definition=definition)
        if run.cancelling:
            return await self._already_made(run, engine)
        if run.status is RunStatus.ACCEPTED:
            changes = RunChanges(status=RunStatus.SUBMITTING)
            await self._journal.write(run.id, status(RunStatus.SUBMITTING), changes=changes)
        roots = roots_of(run, definition=definition, site=self._site)
        workflow = workflow_of(run, definition=definition, site=self._site, roots=roots)
        try:
            return await engine.create(workflow)
        except WorkflowExists:
            return await self._adopt(run, engine)
        except TemplateMissing as error:
            raise TemplateMissing(_install_hint(definition, run)) from error

    async def _adopt(self, run: Run, engine: WorkflowEngine) -> Snapshot:
        """An earlier try may have been applied although its answer was lost."""
        try:
            found = await engine.get(run.workflow_name)
        except WorkflowGone as error:
            raise EngineConflict("the workflow was there and is gone again") from error
        if not _is_of(found, run):
            raise WorkflowExists(
                f"Argo has a workflow {run.workflow_name} that belongs to somebody else; "
                "delete it or ask again under a new key."
            )
        return found

    async def _already_made(self, run: Run, engine: WorkflowEngine) -> Snapshot:
        """A cancelled run is not created any more; but an earlier try may have been."""
        message = f"Cancelled by {run.cancel_requested_by} before a workflow was made."
        try:
            found = await engine.get(run.workflow_name)
        except WorkflowGone as error:
            raise RunCancelled(message) from error
        if not _is_of(found, run):
            raise RunCancelled(message)
        return found


def _is_of(snapshot: Snapshot, run: Run) -> bool:
    return snapshot.labels.get(RUN_LABEL) == run.id


def _waiting(error: BridgeError) -> str:
    reason = error.detail.rstrip(".")
    return f"{reason}; the run is kept and goes on when Argo answers"


def _install_hint(definition: ActionDefinition, run: Run) -> str:
    template = definition.spec.workflow.template
    folder = definition.id.replace(":", "-")
    return (
        f"The WorkflowTemplate {template} is not installed in namespace {run.namespace}; ask the "
        f"platform team to install it: kubectl apply -n {run.namespace} -f "
        f"backstage-actions/actions/{folder}/workflow.yaml"
    )
