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
        at_once: int = 16,
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
        outage = False
        while True:
            try:
                definition = await self._actions.definition_of(run)
                async with self._slots:
                    snapshot = await self._create(run, definition)
            except _AGAIN as error:
                if not outage:
                    outage = True
                    await self._journal.say(run.id, _waiting(error), level="warn")
                await backoff.wait(at_least=error.retry_after or 0)
                run = await self._store.run(run.id)
            except StoreUnavailable:
                await backoff.wait()
            except BridgeError as error:
                await self._give_up(run, error)
                return
            else:
                if outage:
                    await self._journal.say(run.id, "Argo answers again")
                self._followers[run.target].created(run, snapshot)
                return

    async def _create(self, run: Run, definition: ActionDefinition) -> Snapshot:
        current = run
        if run.status is RunStatus.ACCEPTED:
            changes = RunChanges(status=RunStatus.SUBMITTING)
            written = self._journal.write(run.id, status(RunStatus.SUBMITTING), changes=changes)
            current = await written or run
        if current.cancelling and run.status is RunStatus.ACCEPTED:
            raise RunCancelled(
                f"Cancelled by {current.cancel_requested_by} before it was submitted."
            )
        roots = roots_of(run, definition=definition, site=self._site)
        workflow = workflow_of(run, definition=definition, site=self._site, roots=roots)
        # The watch may show the workflow before the answer to its creation arrives.
        self._followers[run.target].track(run, definition=definition)
        engine = self._engines[run.target]
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
        if found.labels.get(RUN_LABEL) != run.id:
            raise WorkflowExists(
                f"Argo has a workflow {run.workflow_name} that belongs to somebody else; "
                "delete it or ask again under a new key."
            )
        return found

    async def _give_up(self, run: Run, error: BridgeError) -> None:
        self._followers[run.target].forget(run.id)
        ended = RunStatus.CANCELLED if isinstance(error, RunCancelled) else RunStatus.FAILED
        await self._journal.end(run, status=ended, error=RunError.of(error))


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
