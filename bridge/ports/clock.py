"""Time, ids and jitter.

Knows nothing else: whatever waits or names something asks here, so that tests decide both.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Chance(Protocol):
    """Ids and jitter."""

    def run_id(self) -> str:
        """A new run id: 26 lower-case characters, sortable by time."""
        ...

    def request_id(self) -> str:
        """A new id for one HTTP request: 32 hexadecimal digits that nobody can foretell."""
        ...

    def jitter(self, seconds: float) -> float:
        """Between half of *seconds* and all of it."""
        ...
