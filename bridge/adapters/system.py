"""The machine's own clock and chance.

Knows the standard library's time and randomness, and ULIDs. Must not know who asks.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from hashlib import blake2b

from ulid import ULID


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(seconds)


_RANDOM_BYTES = 10
"""Of a ULID's 16; the rest is the time in milliseconds."""
_SHARE_BYTES = 4


class SystemChance:
    """ULIDs, and what nobody can foretell."""

    def __init__(self) -> None:
        self._last = 0
        # The system is asked once: for every id it would hand the interpreter to another thread.
        self._key, self._drawn = secrets.token_bytes(), 0

    def run_id(self) -> str:
        """See Chance; within a millisecond ids still grow, so that lists keep their order."""
        milliseconds = time.time_ns() // 1_000_000
        drawn = milliseconds.to_bytes(6, "big") + self._draw(_RANDOM_BYTES)
        self._last = max(int.from_bytes(drawn, "big"), self._last + 1)
        return str(ULID.from_int(self._last)).lower()

    def request_id(self) -> str:
        """See Chance."""
        return self._draw(16).hex()

    def _draw(self, size: int) -> bytes:
        self._drawn += 1
        return blake2b(self._drawn.to_bytes(8, "big"), key=self._key, digest_size=size).digest()

    def jitter(self, seconds: float) -> float:
        """See Chance."""
        share = int.from_bytes(self._draw(_SHARE_BYTES), "big") / (1 << 8 * _SHARE_BYTES)
        return seconds * (0.5 + share / 2)
