"""What people tried and may not do, in the audit trail, without letting them fill it.

Knows how many refused attempts of one caller are written down one by one. Must not know why they
were refused.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bridge.domain.audit import AuditDraft
from bridge.ports import Clock, RunStore
from bridge.services.redaction import Redaction
from bridge.services.tasks import Tasks

ONE_BY_ONE = 20
"""So many refused attempts of a caller in a window have a record each; the rest have one."""
WINDOW_SECONDS = 60.0
_REMEMBERED = 1_000

Who = tuple[str, str, str | None]


@dataclass(slots=True)
class _Window:
    """The refused attempts of one caller since some moment."""

    until: float
    seen: int = 0


class Refusals:
    """Writes refused attempts; a flood of them becomes one record with their number."""

    def __init__(
        self, *, store: RunStore, clock: Clock, tasks: Tasks, redaction: Redaction | None = None
    ) -> None:
        self._store = store
        self._redaction = redaction or Redaction()
        self._clock = clock
        self._tasks = tasks
        self._windows: OrderedDict[Who, _Window] = OrderedDict()

    async def keep(self, attempt: AuditDraft) -> None:
        """Write *attempt* down, or count it.

        Raises:
            StoreUnavailable: It cannot be written.
        """
        window = self._window((attempt.tenant, attempt.caller, attempt.user))
        window.seen += 1
        if window.seen <= ONE_BY_ONE:
            await self._store.audit(self._redaction.audit(attempt), now=self._clock.now())
        elif window.seen == ONE_BY_ONE + 1:
            self._tasks.spawn(self._sum_up(attempt, window), name="sum up refused attempts")

    def _window(self, who: Who) -> _Window:
        window = self._windows.get(who)
        if window is None or window.until <= self._clock.monotonic():
            window = _Window(until=self._clock.monotonic() + WINDOW_SECONDS)
            self._windows[who] = window
            self._windows.move_to_end(who)
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        return window

    async def _sum_up(self, attempt: AuditDraft, window: _Window) -> None:
        await self._clock.sleep(window.until - self._clock.monotonic())
        record = AuditDraft(
            action="refusals",
            caller=attempt.caller,
            user=attempt.user,
            tenant=attempt.tenant,
            outcome="forbidden",
            data={"more": window.seen - ONE_BY_ONE},
        )
        await self._store.audit(record, now=self._clock.now())
