"""From an accepted run to a workflow: created once, however often this is interrupted.

Knows the order that makes it so (design, section 4): take the lock, commit *submitting*, create
under the deterministic name, commit the uid. A creation whose outcome is not known is looked up
before it is repeated, and never repeated once Argo may have removed what it made. Must not know
what Argo speaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import (
    BridgeError,
    EngineConflict,
    EngineForbidden,
    EngineUnavailable,
    EngineUnreached,
    LeaseLost,
    RunCancelled,
    StoreUnavailable,
    TemplateMissing,
    WorkflowExists,
    WorkflowGone,
    WorkflowLost,
)
from bridge.domain.events import status
from bridge.domain.mapping import Site, roots_of, workflow_of
from bridge.domain.progress import NO_PAST, FollowState
from bridge.domain.runs import RUN_LABEL, Run, RunChanges, RunError, RunStatus
from bridge.domain.workflows import Snapshot, moment
from bridge.ports import Chance, Clock, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.follower import Follower
from bridge.services.journal import Journal
from bridge.services.secret_inputs import SecretInputs

_UNDONE = (EngineUnreached, EngineConflict, EngineForbidden)
"""Failures that say that nothing was created."""
_LOOK_SECONDS = 2.0
_TELL_APART = timedelta(seconds=1.2)
"""Argo's times are whole seconds."""
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
        secrets: SecretInputs | None = None,
        at_once: int = 4,
        kept: timedelta = timedelta(hours=1),
        under_way: timedelta = timedelta(seconds=35),
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._engines = engines
        self._followers = followers
        self._clock = clock
        self._chance = chance
        self._site = site
        self._secrets = secrets or SecretInputs(store=store)
        self._slots = asyncio.Semaphore(at_once)
        self._kept = kept
        self._under_way = under_way
        self.on_locked: Callable[[Run], object] = lambda _run: None

    async def submit(self, run: Run) -> None:
        """Bring *run* to its workflow, or to its end; waits for as long as Argo is away."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=15.0)
        outage = ""
        doubt, tried = run.status is RunStatus.SUBMITTING, False
        if doubt:
            await self._look_around(run)
        while True:
            try:
                if tried or doubt:
                    run = await self._store.run(run.id)
                    if not run.status.before_workflow:
                        return  # the answer was lost, but the watch has shown the workflow
                tried = True
                snapshot = await self._attempt(run, doubt=doubt)
                if outage and snapshot is not None:
                    await self._journal.say(run.id, "Argo answers again")
            except StoreUnavailable:
                await backoff.wait()
            except _AGAIN as error:
                doubt = doubt or not isinstance(error, _UNDONE)
                outage = await self._warn(run, error, told=outage)
                await backoff.wait(at_least=error.retry_after or 0)
            else:
                if snapshot is not None:
                    self._followers[run.target].created(run, snapshot)
                return

    async def _look_around(self, run: Run) -> None:
        """Wait for the list of all workflows: what it shows needs no call of its own."""
        follower = self._followers[run.target]
        with suppress(StoreUnavailable):
            definition = await self._actions.definition_of(run)
            await self._secrets.hide(run, definition)
            follower.track(run, definition=definition)
        await follower.listed()
        await follower.flush(run.id)

    async def _warn(self, run: Run, error: BridgeError, *, told: str) -> str:
        """Say once why it has to wait; what cannot be stored now is said the next time."""
        reason = _waiting(error)
        try:
            if reason != told:
                await self._journal.say_once(run, reason, level="warn")
        except StoreUnavailable:
            return told
        return reason

    async def _attempt(self, run: Run, *, doubt: bool) -> Snapshot | None:
        """The workflow, or None when the run has ended without one."""
        try:
            definition = await self._actions.definition_of(run)
            await self._secrets.hide(run, definition)
            # The watch may show the workflow before the answer to its creation arrives.
            self._followers[run.target].track(run, definition=definition)
            run = await self._with_lock(run)
            if run.cancelling and run.takes_over is None:
                raise _cancelled(run)
            async with self._slots:
                return await self._bring(run, definition, doubt=doubt)
        except (StoreUnavailable, LeaseLost, *_AGAIN):
            raise
        except BridgeError as error:
            if doubt and (found := await self._made_late(run)) is not None:
                return found
            self._followers[run.target].forget(run.id)
            await self._journal.end(
                run, status=_END_OF.get(type(error), RunStatus.FAILED), error=RunError.of(error)
            )
            return None

    async def _with_lock(self, run: Run) -> Run:
        """Wait until the run is the one that may work on its thing, or is cancelled."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=5.0)
        told = ""
        while run.lock is not None and not run.holds_lock:
            if run.cancelling:
                break
            if (before := await self._journal.take_lock(run.id)) is None:
                self.on_locked(run)
                break
            if before.id != told:
                told = before.id
                waits = f"⏸ waiting for run {told}, which has {run.lock}"
                await self._journal.say_once(run, waits)
            await backoff.wait()
            run = await self._store.run(run.id)
        return run

    async def _bring(self, run: Run, definition: ActionDefinition, *, doubt: bool) -> Snapshot:
        engine = self._engines[run.target]
        if run.takes_over is not None:
            return await self._open_again(run, engine)
        if doubt and (found := await self._made_before(run, engine)) is not None:
            return found
        run = await self._begin(run)
        if run.cancelling:  # somebody was faster than our last look
            raise _cancelled(run)
        secrets = await self._secrets.of_run(run, definition)
        roots = roots_of(run, definition=definition, site=self._site, secrets=secrets)
        workflow = workflow_of(run, definition=definition, site=self._site, roots=roots)
        try:
            return await engine.create(workflow)
        except WorkflowExists:
            return await self._adopt(run, engine)
        except TemplateMissing as error:
            raise TemplateMissing(_install_hint(definition, run)) from error

    async def _begin(self, run: Run) -> Run:
        """Commit that a creation is about to be tried: who takes over must look for its result.

        Gives the run as it is after that, with whatever was asked of it meanwhile.
        """
        now = self._clock.now()
        if run.status is RunStatus.ACCEPTED:
            changes = RunChanges(status=RunStatus.SUBMITTING, doubt_since=now)
            begun = self._journal.write(run.id, status(RunStatus.SUBMITTING), changes=changes)
        else:
            begun = self._journal.write(run.id, changes=RunChanges(doubt_since=now))
        return await begun or run

    async def _made_before(self, run: Run, engine: WorkflowEngine) -> Snapshot | None:
        """What an earlier try made, if anything; raises when that can no longer be known."""
        try:
            found = await engine.get(run.workflow_name)
        except WorkflowGone as error:
            since = run.doubt_since or run.updated_at
            if self._clock.now() - since < self._kept:
                return None
            raise WorkflowLost(
                "The bridge was interrupted while it created the workflow, so long ago that Argo "
                "would have removed a finished one: look for its effects, then ask again."
            ) from error
        return _checked(found, run)

    async def _open_again(self, run: Run, engine: WorkflowEngine) -> Snapshot:
        """Retry an ended workflow, unless it has been retried already."""
        try:
            found = _checked(await engine.get(run.workflow_name, uid=run.workflow_uid), run)
            if found.ended and not _retried(found, run):
                await self._until_next_second(found)
            # Argo takes a retry without a condition: make sure that the run is ours, look, ask.
            run = await self._begin(run)
            found = _checked(await engine.get(run.workflow_name, uid=run.workflow_uid), run)
            if not found.ended or _retried(found, run):
                return found
            if run.cancelling:
                raise _cancelled(run)
            return await engine.retry(run.workflow_name)
        except WorkflowGone as error:
            raise WorkflowLost(
                "Argo has removed the workflow, so it cannot be tried again there; "
                "ask for a new attempt."
            ) from error

    async def _until_next_second(self, found: Snapshot) -> None:
        """Let a second pass since the workflow began: that is how its next start is told apart."""
        begun = moment(found.started) or self._clock.now()
        wait = (begun + _TELL_APART - self._clock.now()).total_seconds()
        if wait > 0:
            await self._clock.sleep(min(wait, _TELL_APART.total_seconds()))

    async def _adopt(self, run: Run, engine: WorkflowEngine) -> Snapshot:
        """An earlier try may have been applied although its answer was lost."""
        try:
            found = await engine.get(run.workflow_name)
        except WorkflowGone as error:
            raise EngineConflict("the workflow was there and is gone again") from error
        return _checked(found, run)

    async def _made_late(self, run: Run) -> Snapshot | None:
        """What a creation of unknown outcome has made; None once none can be under way any more.

        A workflow that is not there yet proves nothing before.
        """
        engine = self._engines[run.target]
        while True:
            run = await self._store.run(run.id)
            try:
                found = await engine.get(run.workflow_name)
            except WorkflowGone:
                left = (run.doubt_since or run.created_at) + self._under_way - self._clock.now()
                if left <= timedelta(0):
                    return None
                await self._clock.sleep(min(left.total_seconds(), _LOOK_SECONDS))
            else:
                return found if _is_of(found, run) else None


_END_OF: Mapping[type[BridgeError], RunStatus] = {
    RunCancelled: RunStatus.CANCELLED,
    WorkflowLost: RunStatus.LOST,
}


def _is_of(snapshot: Snapshot, run: Run) -> bool:
    if run.takes_over is not None:
        return snapshot.uid == run.workflow_uid
    return snapshot.labels.get(RUN_LABEL) == run.id


def _cancelled(run: Run) -> RunCancelled:
    return RunCancelled(f"Cancelled by {run.cancel_requested_by} before a workflow was made.")


def _checked(found: Snapshot, run: Run) -> Snapshot:
    if not _is_of(found, run):
        raise WorkflowExists(
            f"Argo has a workflow {run.workflow_name} that belongs to somebody else; "
            "delete it or ask again under a new key."
        )
    return found


def _retried(snapshot: Snapshot, run: Run) -> bool:
    """Whether the workflow began again after what the run's predecessor saw of it."""
    state = FollowState.from_json(run.state)
    seen = state.nodes.get(run.workflow_name)
    if state.past == NO_PAST:
        return seen is not None and snapshot.started > seen[1]
    return not (snapshot.ended and state.is_past(snapshot))


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
