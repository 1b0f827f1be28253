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

_ROUNDING_SECONDS = 1e-6
"""By how much the difference of two times may be wrong when the clock has run for years."""


class Rates:
    """A token bucket for each caller: how many seconds it was short of full, and when."""

    def __init__(
        self, *, clock: Clock, per_second: float, most_callers: int = MOST_CALLERS
    ) -> None:
        self._clock = clock
        self._each = 1 / per_second
        # A bucket that holds less than one request would let nothing through.
        self._burst = max(BURST_SECONDS, self._each)
        self._most = most_callers
        self._owing: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._owing)

    def take(self, caller: str) -> float:
        """Count one request, unless it is one too many: then the seconds to wait, else 0."""
        now = self._clock.monotonic()
        owed, then = self._owing.pop(caller, (0.0, now))
        owed = max(owed - (now - then), 0.0)
        wait = owed + self._each - self._burst
        if wait <= _ROUNDING_SECONDS:
            owed, wait = owed + self._each, 0.0
        self._owing[caller] = owed, now  # last, because it asked last
        if len(self._owing) > self._most:
            del self._owing[next(iter(self._owing))]
        return wait
