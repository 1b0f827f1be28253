"""Live streams: the stored past of a run, then its present, without a gap between.

Knows subscriptions and encoded frames. Must not know sockets: the web layer sends the bytes.
A slow reader never holds up the writer; it is cut and can resume.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable

from bridge.domain.errors import Overloaded, TooManyStreams
from bridge.domain.events import Event, with_gap
from bridge.domain.frames import KEEP_ALIVE, encode_event
from bridge.domain.runs import Run
from bridge.ports import Clock, RunStore

_PAGE = 500
_MOST, _MOST_OF_ONE = 12_000, 2_000
_LATER_SECONDS = 15
_SLOTS = 60
"""Readers are kept alive a sixtieth at a time: thousands of wakeups at once would be felt."""
_Frame = tuple[int, bytes, bool]
"""Sequence number (0: a comment), bytes, whether it is the last."""


class Subscription:
    """One reader of one run."""

    __slots__ = (
        "_closed",
        "_waiter",
        "caller",
        "caught_up",
        "frames",
        "on_stall",
        "run_id",
        "seq",
        "slot",
        "stale",
        "taken_at",
        "told_at",
    )

    def __init__(self, run_id: str, *, after: int, caller: str) -> None:
        self.run_id = run_id
        self.caller = caller
        self.seq = after
        self.caught_up = False
        self.frames: deque[_Frame] = deque()
        self.slot = 0
        self.stale = False
        self.taken_at: float | None = None
        self.told_at: float | None = None
        """When it was told what it takes next, if that is measured."""
        self.on_stall: Callable[[], object] = self.close
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    @property
    def waits(self) -> bool:
        """Whether it is there for what comes, not held up by its client."""
        return self._waiter is not None

    def push(self, frames: Iterable[_Frame], *, capacity: int) -> None:
        """Queue frames for the reader; beyond *capacity* it is cut and may come again."""
        self.frames.extend(frames)
        if len(self.frames) > capacity:
            self.frames.clear()
            self._closed = True
        self._wake()

    def keep_alive(self) -> None:
        """Queue a comment unless something else is about to be sent."""
        if not self.frames:
            self.frames.append((0, KEEP_ALIVE, False))
            self._wake()

    def refresh(self) -> None:
        """Look into the store: somebody else may have written."""
        self.stale = True
        self._wake()

    def close(self) -> None:
        """End the stream after what is queued; the reader may come again."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for a frame, a reason to look, or the end."""
        while not self.frames and not self._closed and not self.stale:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None


class Streams:
    """All open subscriptions of this process; told of every commit by the journal."""

    def __init__(
        self,
        *,
        store: RunStore,
        clock: Clock,
        capacity: int = 2_000,
        stall: float = 60.0,
        most: int = _MOST,
        most_of_one: int = _MOST_OF_ONE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._capacity = capacity
        self._stall = stall
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[str, set[Subscription]] = {}
        self._callers: Counter[str] = Counter()
        self._count = 0
        self._slots: list[set[Subscription]] = [set() for _ in range(_SLOTS)]
        self._slot = 0
        self._closed = False
        self.on_delivered: Callable[[float], object] = lambda _seconds: None
        """Called with how long a reader waited for what was published: one of each commit."""

    def __len__(self) -> int:
        return self._count

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Queue committed events for the run's readers; each is encoded once for all."""
        readers = self._open.get(run.id)
        if not readers:
            return
        now = self._clock.monotonic()
        frames = [(event.seq, encode_event(event), event.is_last) for event in events]
        for reader in tuple(readers):
            reader.push(frames, capacity=self._capacity)
        # The one that is woken last stands for all: measuring each would cost as much as telling.
        if reader.waits and reader.told_at is None:
            reader.told_at = now

    def positions(self) -> dict[str, int]:
        """How far the reader that is furthest behind has come, for each run that is read."""
        return {
            run_id: min(reader.seq for reader in readers) for run_id, readers in self._open.items()
        }

    def refresh(self, run_id: str) -> None:
        """Make the run's readers look into the store: another replica may have written."""
        for reader in tuple(self._open.get(run_id, ())):
            reader.refresh()

    def subscribe(self, run_id: str, *, after: int, caller: str = "") -> Subscription:
        """Open a subscription; :meth:`read` reads it and :meth:`leave` ends it.

        Raises:
            TooManyStreams: The caller has as many as one may have.
            Overloaded: There are as many as there may be in all.
        """
        if self._callers[caller] >= self._most_of_one:
            raise TooManyStreams(
                f"You have {self._most_of_one} live streams open; end some, or ask for events "
                "without Accept: text/event-stream.",
                retry_after=_LATER_SECONDS,
            )
        if self._count >= self._most:
            raise Overloaded("There are too many live streams.", retry_after=_LATER_SECONDS)
        reader = Subscription(run_id, after=after, caller=caller)
        if self._closed:
            reader.close()
        self._callers[caller] += 1
        self._count += 1
        self._open.setdefault(run_id, set()).add(reader)
        reader.slot = self._slot
        self._slots[reader.slot].add(reader)
        return reader

    def leave(self, reader: Subscription) -> None:
        """Forget a subscription."""
        self._slots[reader.slot].discard(reader)
        readers = self._open.get(reader.run_id, set())
        if reader not in readers:
            return
        readers.discard(reader)
        self._callers[reader.caller] -= 1
        self._count -= 1
        if not self._callers[reader.caller]:
            del self._callers[reader.caller]
        if not readers:
            del self._open[reader.run_id]

    async def read(self, reader: Subscription) -> bytes | None:
        """The next bytes to send: every event after the reader's position, once, in order.

        None after the last event, when the reader was too slow, or when the process drains.
        """
        reader.taken_at = None
        chunk = None if reader.caught_up else await self._past(reader)
        while chunk is None:
            await reader.wait()
            if reader.stale:
                reader.stale, reader.caught_up = False, False
            elif not reader.frames:
                return None
            chunk = _take(reader)
            if chunk is None and not reader.caught_up:
                chunk = await self._past(reader)
        reader.taken_at = self._clock.monotonic()
        if reader.told_at is not None:
            self.on_delivered(reader.taken_at - reader.told_at)
            reader.told_at = None
        return chunk

    async def _past(self, reader: Subscription) -> bytes | None:
        """A page of what is stored; afterwards the reader lives on what is told."""
        page = await self._store.events(reader.run_id, after=reader.seq, limit=_PAGE)
        reader.caught_up = len(page) < _PAGE
        if not page:
            return None
        page = with_gap(page, after=reader.seq)
        reader.seq = page[-1].seq
        if page[-1].is_last:
            reader.close()
            reader.caught_up = True
        return b"".join(encode_event(event) for event in page)

    async def keep_alive(self, *, every: float) -> None:
        """One timer for all readers, for ever: a comment for the idle, an end for the stalled."""
        while True:
            await self._clock.sleep(every / _SLOTS)
            self._slot = (self._slot + 1) % _SLOTS
            limit = self._clock.monotonic() - self._stall
            for reader in tuple(self._slots[self._slot]):
                if reader.taken_at is not None and reader.taken_at < limit:
                    reader.on_stall()
                else:
                    reader.keep_alive()

    def close(self) -> None:
        """End every stream; the process is draining and readers resume elsewhere."""
        self._closed = True
        for readers in tuple(self._open.values()):
            for reader in tuple(readers):
                reader.close()


def _take(reader: Subscription) -> bytes | None:
    """All queued bytes; None when they are old, or when the store must be asked first."""
    chunks: list[bytes] = []
    while reader.frames:
        seq, chunk, last = reader.frames.popleft()
        if seq > reader.seq + 1:  # told out of order: the store has the order
            reader.frames.clear()
            reader.caught_up = False
            break
        if 0 < seq <= reader.seq:
            continue
        chunks.append(chunk)
        if seq:
            reader.seq = seq
        if last:
            reader.close()
    return b"".join(chunks) if chunks else None
