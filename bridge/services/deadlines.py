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
from bridge.domain.progress import Gate
from bridge.domain.runs import Run
from bridge.domain.workflows import Snapshot, moment
from bridge.ports import Clock, RunStore


@dataclass(frozen=True, slots=True)
class _Due:
    at: datetime
    after: int
    """Seconds that the definition allows."""


class Deadlines:
    """Rejects what has waited too long, for the runs of this replica."""

    def __init__(
        self,
        *,
        store: RunStore,
        clock: Clock,
        expire: Callable[[Run, str, str], Awaitable[object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._expire = expire
        self._due: dict[tuple[str, str], _Due] = {}

    def gate_open(self, run_id: str, gate: Gate, snapshot: Snapshot) -> None:
        """Note how long the approval of a run may still take."""
        if gate.timeout is None:
            return
        for node in snapshot.gates:
            since = moment(node.started)
            if node.display_name == gate.node and since is not None:
                until = since + timedelta(seconds=gate.timeout)
                self._due[run_id, node.id] = _Due(until, gate.timeout)

    async def watch(self, *, every: float) -> None:
        """Look for ever whether something is due."""
        while True:
            await self._clock.sleep(every)
            now = self._clock.now()
            for (run_id, gate), due in tuple(self._due.items()):
                if due.at <= now:
                    await self._run_out(run_id, gate, due)

    async def _run_out(self, run_id: str, gate: str, due: _Due) -> None:
        reason = f"nobody decided within {duration(due.after)}"
        try:
            run = await self._store.run(run_id)
            if not run.finished:
                await self._expire(run, gate, reason)
        except BridgeError:
            return  # the next look tries again
        del self._due[run_id, gate]
