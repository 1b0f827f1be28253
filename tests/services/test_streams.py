"""Live streams: the past, then the present, without a gap or a repetition."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.adapters.memory import MemoryStore
from bridge.domain.errors import Overloaded, TooManyStreams
from bridge.domain.events import Event, log
from bridge.domain.frames import KEEP_ALIVE
from bridge.domain.runs import RunError, RunStatus
from bridge.ports import Entry
from bridge.services.journal import Journal
from bridge.services.streams import Streams, Subscription
from tests.domain.making import NOW, RUN_ID, new_run
from tests.services.fakes import FakeClock


class Site:
    """A store, its journal and the streams over it, with one accepted run."""

    def __init__(self, **options) -> None:
        self.clock, self.store = FakeClock(), MemoryStore()
        self.journal = Journal(store=self.store, clock=self.clock)
        self.streams = Streams(store=self.store, clock=self.clock, **options)
        self.journal.subscribe(self.streams)

    async def accept(self) -> None:
        """Begin the run, with event 1."""
        self.journal.own((await self.store.accept(new_run(), first=log("1"))).run)

    async def write(self, *messages: str) -> None:
        """Add an event for each message, in one commit."""
        await self.journal.write(RUN_ID, *(log(message) for message in messages))

    async def end(self) -> None:
        """Add the last event."""
        error = RunError("code", "why")
        run = await self.store.run(RUN_ID)
        await self.journal.end(run, status=RunStatus.FAILED, error=error)

    async def read_all(self, reader: Subscription) -> list[bytes]:
        """Everything until the stream ends."""
        chunks = []
        while (chunk := await self.streams.read(reader)) is not None:
            chunks.append(chunk)
        return chunks


@pytest.fixture
async def site() -> Site:
    """A site with one run."""
    made = Site()
    await made.accept()
    return made


def seqs(chunks: list[bytes]) -> list[int]:
    """The numbers of the events in *chunks*."""
    found = b"".join(chunks).split(b"\n")
    return [json.loads(line[6:])["seq"] for line in found if line.startswith(b"data: ")]


async def test_a_reader_gets_the_past_and_then_the_present(site: Site):
    """Whoever comes late reads everything, and goes on with what happens now, to the end."""
    await site.write("2", "3")
    reader = site.streams.subscribe(RUN_ID, after=0)
    reading = asyncio.ensure_future(site.read_all(reader))
    await site.clock.settle()
    await site.write("4")
    await site.clock.settle()
    await site.write("5")
    await site.end()

    assert seqs(await reading) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("after", [0, 1, 3, 5])
async def test_a_reader_resumes_after_its_place(site: Site, after):
    """A reader that was cut gets just what it has not seen."""
    await site.write("2", "3", "4", "5")
    reader = site.streams.subscribe(RUN_ID, after=after)
    await site.end()

    assert seqs(await site.read_all(reader)) == list(range(after + 1, 7))


class Client:
    """A reader that is cut and comes back with the last number that it got."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.got: list[bytes] = []
        self.connect()

    @property
    def place(self) -> int:
        """The last number that it got."""
        return (seqs(self.got) or [0])[-1]

    def connect(self) -> None:
        """Come (back)."""
        self.reader = self.site.streams.subscribe(RUN_ID, after=self.place)
        self.reading = asyncio.ensure_future(self.site.streams.read(self.reader))

    def leave(self) -> None:
        """Go away in the middle of whatever is sent."""
        self.site.streams.leave(self.reader)
        self.reading.cancel()

    async def read(self) -> None:
        """Take what is there; come back if the stream has ended too early."""
        await self.site.clock.settle()
        if not self.reading.done():
            return
        chunk = self.reading.result()
        if chunk is not None:
            self.got.append(chunk)
            self.reading = asyncio.ensure_future(self.site.streams.read(self.reader))
        else:
            self.leave()
            self.connect()


STEPS = st.sampled_from(["write", "two", "read", "turn", "alive", "cut"])


@given(plan=st.lists(STEPS, max_size=25))
def test_no_reader_misses_or_repeats_an_event(plan):
    """However writing, reading and being cut are mixed, the concatenation is the stored log."""
    asyncio.run(_play(plan))


async def _play(plan: list[str]) -> None:
    site = Site(capacity=4)
    await site.accept()
    client = Client(site)
    for step in plan:
        match step:
            case "write" | "two":
                await site.write(*("x" * len(step)))
            case "turn":
                await site.clock.settle()
            case "alive":
                client.reader.keep_alive()
            case "cut":
                client.leave()
                client.connect()
            case "read":
                await client.read()
    await site.end()
    for _ in range(12):
        await client.read()
    client.leave()

    stored = await site.store.events(RUN_ID, after=0, limit=999)
    assert seqs(client.got) == [event.seq for event in stored]
    assert len(site.streams) == 0


async def test_a_long_past_is_read_in_pages(site: Site):
    """A long run does not have to fit into one answer."""
    await site.write(*("x" for _ in range(1_200)))
    await site.end()
    reader = site.streams.subscribe(RUN_ID, after=0)

    chunks = await site.read_all(reader)

    assert [len(seqs([chunk])) for chunk in chunks] == [500, 500, 202]


async def test_events_told_out_of_order_are_shown_in_order(site: Site):
    """The store has the order: what is told too early waits for what is missing."""
    reader = site.streams.subscribe(RUN_ID, after=0)
    assert seqs([await site.streams.read(reader)]) == [1]
    appended = await site.store.append(RUN_ID, Entry(events=(log("2"), log("3"))), fence=1, now=NOW)
    site.streams.published(appended.run, [appended.events[1]])
    site.streams.published(appended.run, [appended.events[0]])
    await site.end()

    assert seqs(await site.read_all(reader)) == [2, 3, 4]


async def test_an_event_told_before_it_is_stored_is_waited_for(site: Site):
    """A gap that the store cannot fill yet is not skipped."""
    reader = site.streams.subscribe(RUN_ID, after=1)
    run = await site.store.run(RUN_ID)
    site.streams.published(replace(run, last_seq=3), [Event(RUN_ID, 3, NOW, log("3"))])
    reading = asyncio.ensure_future(site.read_all(reader))
    await site.clock.settle()
    await site.write("2")
    await site.write("3")
    await site.end()

    assert seqs(await reading) == [2, 3, 4]


async def test_a_slow_reader_is_cut_and_holds_nobody_up():
    """A reader that does not read is cut; the others get everything, and it may come again."""
    site = Site(capacity=10)
    await site.accept()
    slow, quick = (site.streams.subscribe(RUN_ID, after=0) for _ in range(2))
    await site.streams.read(slow)
    reading = asyncio.ensure_future(site.read_all(quick))
    for _ in range(11):
        await site.write("x")
        await site.clock.settle()

    assert slow.closed
    assert await site.streams.read(slow) is None
    assert len(slow.frames) == 0
    await site.end()
    assert seqs(await reading) == list(range(1, 14))


async def test_idle_readers_are_kept_alive_by_one_timer(site: Site):
    """A quiet stream says something every fifteen seconds, a busy one only its events."""
    alive = asyncio.ensure_future(site.streams.keep_alive(every=15.0))
    idle, busy = (site.streams.subscribe(RUN_ID, after=1) for _ in range(2))
    reading = asyncio.ensure_future(site.streams.read(idle))
    await site.clock.settle()
    busy.push([(2, b"frame", False)], capacity=9)

    await site.clock.advance(15)

    assert await reading == KEEP_ALIVE
    assert [frame[1] for frame in busy.frames] == [b"frame"]
    alive.cancel()


@pytest.mark.parametrize("after", [0, 1])
async def test_a_reader_that_stalls_is_ended(site: Site, after):
    """A connection that takes nothing for a minute is given up, in the past as in the present."""
    alive = asyncio.ensure_future(site.streams.keep_alive(every=15.0))
    reader = site.streams.subscribe(RUN_ID, after=after)
    stalled = []
    reader.on_stall = lambda: stalled.append(site.clock.time)
    await site.write("2")
    await site.streams.read(reader)

    await site.clock.advance(60)
    assert stalled == []
    await site.clock.advance(15)

    assert stalled == [75.0]
    alive.cancel()


async def test_a_reader_that_reads_on_is_not_stalled(site: Site):
    """Waiting for an event is no stall, however long nothing happens."""
    alive = asyncio.ensure_future(site.streams.keep_alive(every=15.0))
    reader = site.streams.subscribe(RUN_ID, after=0)
    reading = asyncio.ensure_future(site.read_all(reader))

    await site.clock.advance(600)
    await site.end()

    chunks = await reading
    assert seqs(chunks) == [1, 2]
    assert chunks.count(KEEP_ALIVE) == 40
    alive.cancel()


async def test_a_draining_bridge_ends_every_stream(site: Site):
    """A server that shuts down lets its readers go at once, and new ones too."""
    readers = [site.streams.subscribe(RUN_ID, after=1) for _ in range(3)]
    reading = [asyncio.ensure_future(site.read_all(reader)) for reader in readers]
    await site.clock.settle()

    site.streams.close()

    assert await asyncio.gather(*reading) == [[], [], []]
    late = site.streams.subscribe(RUN_ID, after=0)
    assert seqs(await site.read_all(late)) == [1]


async def test_a_reader_that_leaves_is_forgotten(site: Site):
    """A closed connection costs nothing more."""
    reader = site.streams.subscribe(RUN_ID, after=0)
    other = site.streams.subscribe(RUN_ID, after=0)
    assert len(site.streams) == 2

    for leaving in (reader, other, reader):
        site.streams.leave(leaving)
    await site.write("x")

    assert len(site.streams) == 0
    assert len(reader.frames) == 0


async def test_one_caller_has_so_many_streams_and_no_more():
    """A client that opens streams without end is told so, and leaves room for the others."""
    site = Site(most=3, most_of_one=2)
    await site.accept()
    first, second = (site.streams.subscribe(RUN_ID, after=0, caller="a") for _ in range(2))
    with pytest.raises(TooManyStreams, match="You have 2 live streams open") as caught:
        site.streams.subscribe(RUN_ID, after=0, caller="a")
    assert caught.value.retry_after

    other = site.streams.subscribe(RUN_ID, after=0, caller="b")
    with pytest.raises(Overloaded):
        site.streams.subscribe(RUN_ID, after=0, caller="c")

    site.streams.leave(first)
    site.streams.leave(first)
    site.streams.subscribe(RUN_ID, after=0, caller="a")
    with pytest.raises(TooManyStreams):
        site.streams.subscribe(RUN_ID, after=0, caller="a")
    site.streams.leave(second)
    site.streams.leave(other)
    assert len(site.streams) == 1
