"""Approvals that nobody decides in time.

Knows since when gates are open and how long a definition waits. Must not know Argo: running out
of time is a rejection like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import BridgeError
from bridge.domain.events import duration
from bridge.domain.runs import Run
from bridge.domain.workflows import Snapshot, moment
from bridge.ports import Clock, RunStore
from bridge.services.actions import Actions


@dataclass(frozen=True, slots=True)
class _Due:
    gate: str
    at: datetime
    after: int
    """Seconds that the definition allows."""


class Deadlines:
    """Rejects what has waited too long, for the runs of this replica."""

    def __init__(
        self,
        *,
        store: RunStore,
        actions: Actions,
        clock: Clock,
        expire: Callable[[Run, str, str], Awaitable[object]],
    ) -> None:
        self._store = store
        self._actions = actions
        self._clock = clock
        self._expire = expire
        self._due: dict[str, _Due] = {}

    async def gates_open(self, run_id: str, snapshot: Snapshot) -> None:
        """Note how long the approval of a run may still take."""
        if run_id in self._due:
            return
        run = await self._store.run(run_id)
        approval = (await self._actions.definition_of(run)).spec.approval
        if approval is None or approval.timeout is None:
            return
        for node in snapshot.gates:
            if node.display_name == approval.node and node.started:
                until = moment(node.started) + timedelta(seconds=approval.timeout)
                self._due[run_id] = _Due(node.id, until, approval.timeout)

    async def watch(self, *, every: float) -> None:
        """Look for ever whether something is due."""
        while True:
            await self._clock.sleep(every)
            now = self._clock.now()
            for run_id, due in tuple(self._due.items()):
                if due.at <= now:
                    await self._run_out(run_id, due)

    async def _run_out(self, run_id: str, due: _Due) -> None:
        reason = f"nobody decided within {duration(due.after)}"
        try:
            run = await self._store.run(run_id)
            if not run.finished:
                await self._expire(run, due.gate, reason)
        except BridgeError:
            return  # the next look tries again
        del self._due[run_id]
