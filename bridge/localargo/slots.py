"""How many calls of the workflow service are served at once.

Argo Server's gateway holds one HTTP/2 connection with 250 streams for them; the next call waits
without an answer until one ends (argo-recordings/watch-250-limit).
"""

from __future__ import annotations

import asyncio


class Slots:
    """A counter with an upper limit that may change; None is no limit."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._used = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._waiting)

    def limit(self, limit: int | None) -> None:
        """Set the limit; those who have a slot keep it."""
        self._limit = limit
        self._wake()

    async def take(self) -> None:
        """Wait for a slot. Who is cancelled has taken none."""
        while self._limit is not None and self._used >= self._limit:
            freed = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            try:
                await freed
            finally:
                self._waiting.remove(freed)
        self._used += 1

    def free(self) -> None:
        """Give a slot back."""
        self._used -= 1
        self._wake()

    def _wake(self) -> None:
        for freed in self._waiting:
            if not freed.done():
                freed.set_result(None)
