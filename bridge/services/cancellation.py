"""Carrying a cancellation to Argo, until it is there.

Knows that *stop* lets the exit handler roll back, and that the workflow may not exist yet. Must
not know how the end is noticed: the follower does that.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.domain.errors import EngineError, RunUnknown, StoreUnavailable, WorkflowGone
from bridge.domain.events import log
from bridge.domain.runs import Run, RunStatus
from bridge.ports import Chance, Clock, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal


class Canceller:
    """Stops the workflows of runs that somebody cancelled."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        actions: Actions,
        engines: Mapping[str, WorkflowEngine],
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._engines = engines
        self._clock = clock
        self._chance = chance

    async def carry_out(self, run: Run) -> None:
        """Ask Argo to stop until it has taken it, or the run has ended otherwise."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=10.0)
        while True:
            try:
                run = await self._store.run(run.id)
                if run.finished or run.status is RunStatus.REGISTERING:
                    return
                if run.workflow_uid is None:  # it may never be made, or be somebody else's
                    await backoff.wait()
                    continue
                definition = await self._actions.definition_of(run)
                terminate = definition.spec.cancel == "terminate"
                await self._engines[run.target].stop(run.workflow_name, terminate=terminate)
                what = "terminated" if terminate else "stopped; its exit handler rolls back"
                await self._journal.write(run.id, log(f"the workflow is being {what}"))
            except (WorkflowGone, RunUnknown):
                return  # the follower tells how it ended
            except (EngineError, StoreUnavailable):
                await backoff.wait()
            else:
                return
