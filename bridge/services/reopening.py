"""Workflows that run again although their run has ended: somebody retried them in Argo.

Knows that the ended run stays as it was told, and that a next attempt goes on with the same
workflow. Must not trust a watch or a list for it: both may show an old state.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from bridge.domain.errors import BridgeError, NotRetryable, RunUnknown
from bridge.domain.runs import RUN_LABEL, Run, RunStatus
from bridge.domain.workflows import Snapshot
from bridge.ports import RunStore, WorkflowEngine

_log = logging.getLogger(__name__)
_REMEMBERED = 20_000


class Reopening:
    """Finds such workflows among those that nobody here follows."""

    def __init__(
        self,
        *,
        store: RunStore,
        engine: WorkflowEngine,
        take_over: Callable[[Run], Awaitable[object]],
    ) -> None:
        self._store = store
        self._engine = engine
        self._take_over = take_over
        self._looked_at: OrderedDict[tuple[str, str], None] = OrderedDict()

    def is_new(self, snapshot: Snapshot) -> bool:
        """Whether this start of the workflow has not been looked at; looking costs calls."""
        place = (snapshot.uid, snapshot.started)
        if place in self._looked_at:
            return False
        self._looked_at[place] = None
        if len(self._looked_at) > _REMEMBERED:
            self._looked_at.popitem(last=False)
        return True

    async def look_at(self, snapshot: Snapshot) -> None:
        """Go on with the workflow if its run has ended and it truly runs."""
        try:
            run = await self._latest(snapshot)
            if run is None or not run.finished or run.status is RunStatus.SUCCEEDED:
                return
            if run.workflow_uid is None and run.status is RunStatus.CANCELLED:
                _log.warning("stopping a workflow made after its cancel", extra={"run": run.id})
                await self._engine.stop(snapshot.name)
                return
            now = await self._engine.get(snapshot.name, uid=run.workflow_uid)
            if now.ended or now.uid != run.workflow_uid:
                return
            _log.info("a workflow was retried in Argo", extra={"run": run.id})
            await self._take_over(run)
        except NotRetryable as error:  # nor will it be at the next look
            _log.info("a workflow is left to Argo", extra={"reason": error.detail})
        except BridgeError as error:
            self._looked_at.pop((snapshot.uid, snapshot.started), None)
            _log.info("cannot look at a workflow", extra={"reason": error.detail})

    async def _latest(self, snapshot: Snapshot) -> Run | None:
        """The last attempt that has this workflow, or None if a later one has another."""
        try:
            run = await self._store.run(snapshot.labels.get(RUN_LABEL, ""))
            while run.superseded_by is not None:
                run = await self._store.run(run.superseded_by)
        except RunUnknown:
            if not snapshot.ended:  # runs are pruned after their workflows, not before
                told = {"workflow": snapshot.name}
                _log.warning("a workflow has no run here; it is left alone", extra=told)
            return None
        return run if run.workflow_name == snapshot.name else None
