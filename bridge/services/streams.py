"""Live streams: the stored past of a run, then its present, without a gap between.

Knows subscriptions and encoded frames. Must not know sockets: the web layer sends the bytes.
A slow reader never holds up the writer; it is cut and can resume.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from bridge.domain.events import Event
from bridge.domain.frames import KEEP_ALIVE, encode_event
from bridge.domain.runs import Run
from bridge.ports import Clock, RunStore

_PAGE = 500
_Frame = tuple[int, bytes, bool]
"""Sequence number (0: a comment), bytes, whether it is the last."""


class Subscription:
    """One reader of one run."""

    __slots__ = ("_closed", "_frames", "_overflowed", "_waiter", "run_id", "seq")

    def __init__(self, run_id: str, *, after: int) -> None:
        self.run_id = run_id
        self.seq = after
        self._frames: deque[_Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._overflowed = False

    def push(self, frames: Iterable[_Frame], *, capacity: int) -> None:
        """Queue frames for the reader; beyond *capacity* it is cut."""
        self._frames.extend(frames)
        if len(self._frames) > capacity:
            self._frames.clear()
            self._overflowed = True
            self._closed = True
        self._wake()

    def keep_alive(self) -> None:
        """Queue a comment unless something else is about to be sent."""
        if not self._frames:
            self._frames.append((0, KEEP_ALIVE, False))
            self._wake()

    def close(self) -> None:
        """End the stream after what is queued; the reader may come again."""
        self._closed = True
        self._wake()

    @property
    def overflowed(self) -> bool:
        """Whether the reader was too slow."""
        return self._overflowed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[_Frame]:
        """All queued frames; empty only when the stream is closed."""
        while not self._frames and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        frames = list(self._frames)
        self._frames.clear()
        return frames


class Streams:
    """All open subscriptions of this process; told of every commit by the journal."""

    def __init__(self, *, store: RunStore, clock: Clock, capacity: int = 2_000) -> None:
        self._store = store
        self._clock = clock
        self._capacity = capacity
        self._open: dict[str, set[Subscription]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(len(readers) for readers in self._open.values())

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Queue committed events for the run's readers; each is encoded once for all."""
        readers = self._open.get(run.id)
        if not readers:
            return
        frames = [(event.seq, encode_event(event), event.is_last) for event in events]
        for reader in tuple(readers):
            reader.push(frames, capacity=self._capacity)

    def subscribe(self, run_id: str, *, after: int) -> Subscription:
        """Open a subscription; :meth:`chunks` reads it and :meth:`leave` ends it."""
        reader = Subscription(run_id, after=after)
        if self._closed:
            reader.close()
        self._open.setdefault(run_id, set()).add(reader)
        return reader

    def leave(self, reader: Subscription) -> None:
        """Forget a subscription."""
        readers = self._open.get(reader.run_id)
        if readers is None:
            return
        readers.discard(reader)
        if not readers:
            del self._open[reader.run_id]

    async def chunks(self, reader: Subscription) -> AsyncIterator[bytes]:
        """Bytes to send: every event after the reader's position, once, in order.

        Ends after the last event, when the reader was too slow, or when the process drains.
        """
        async for chunk, last in self._past(reader):
            yield chunk
            if last:
                return
        while frames := await reader.take():
            first = next((frame[0] for frame in frames if frame[0]), reader.seq + 1)
            if first > reader.seq + 1:  # told out of order: the store has the order
                async for chunk, last in self._past(reader):
                    yield chunk
                    if last:
                        return
            fresh = [frame for frame in frames if frame[0] > reader.seq or frame[0] == 0]
            if not fresh:
                continue
            reader.seq = max(reader.seq, fresh[-1][0])
            yield b"".join(frame[1] for frame in fresh)
            if fresh[-1][2]:
                return

    async def _past(self, reader: Subscription) -> AsyncIterator[tuple[bytes, bool]]:
        while page := await self._store.events(reader.run_id, after=reader.seq, limit=_PAGE):
            reader.seq = page[-1].seq
            yield b"".join(encode_event(event) for event in page), page[-1].is_last
            if len(page) < _PAGE:
                return

    async def keep_alive(self, *, every: float) -> None:
        """Send a comment to idle readers for ever: one timer for all of them."""
        while True:
            await self._clock.sleep(every)
            for readers in tuple(self._open.values()):
                for reader in tuple(readers):
                    reader.keep_alive()

    def close(self) -> None:
        """End every stream; the process is draining and readers resume elsewhere."""
        self._closed = True
        for readers in tuple(self._open.values()):
            for reader in tuple(readers):
                reader.close()
