"""How long to wait before trying again.

Knows waits that grow, and jitter. Must not know what is being tried.
"""

from __future__ import annotations

from bridge.ports import Chance, Clock


class Backoff:
    """Waits that double from *first* to *longest* seconds, each with jitter."""

    def __init__(self, *, clock: Clock, chance: Chance, first: float, longest: float) -> None:
        self._clock = clock
        self._chance = chance
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Start small again: something worked."""
        self._next = self._first

    async def wait(self, *, at_least: float = 0.0) -> None:
        """Wait and double; a server's Retry-After is honoured by *at_least*."""
        seconds = max(self._chance.jitter(self._next), at_least)
        self._next = min(self._next * 2, self._longest)
        await self._clock.sleep(seconds)
