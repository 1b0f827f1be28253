"""How often a caller may ask.

Knows callers by a key and the clock. Must not know requests.
"""

from __future__ import annotations

from bridge.ports import Clock

BURST_SECONDS = 10.0
"""How much of its rate a caller may use at once after a pause."""

MOST_CALLERS = 10_000
"""Callers that are remembered. Beyond that the one that asked longest ago is forgotten, which
lets it have another burst; a caller takes 200 bytes."""


class Rates:
    """A token bucket for each caller, kept as the time at which it will be full again."""

    def __init__(
        self, *, clock: Clock, per_second: float, most_callers: int = MOST_CALLERS
    ) -> None:
        self._clock = clock
        self._each = 1 / per_second
        # A bucket that holds less than one request would let nothing through.
        self._burst = max(BURST_SECONDS, self._each)
        self._most = most_callers
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str) -> float:
        """Count one request, unless it is one too many: then the seconds to wait, else 0."""
        now = self._clock.monotonic()
        full_at = max(self._full_at.pop(caller, now), now)
        wait = full_at + self._each - now - self._burst
        if wait <= 0:
            full_at += self._each
        self._full_at[caller] = full_at  # last, because it asked last
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return max(wait, 0.0)
