"""What the writer promises the SQL stores: order, few commits, and faults that stay alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from bridge.adapters.sql_session import Session
from bridge.adapters.sql_writer import Writer
from bridge.adapters.sqlite import SqliteSession
from bridge.domain.errors import LeaseLost


@pytest.fixture
async def writer():
    """A writer over a table ``t (n)``."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    made = Writer(SqliteSession(connection))
    yield made
    await made.aclose()


def insert(number: int):
    return lambda session: session.change("INSERT INTO t VALUES (?)", number)


def counting(calls: list[object], begin):
    def counted(session: Session) -> None:
        calls.append(session)
        begin(session)

    return counted


async def numbers(writer: Writer) -> list[int]:
    rows = await writer.put(lambda session: session.rows("SELECT n FROM t ORDER BY n"))
    return [row[0] for row in rows]


async def test_what_one_turn_of_the_loop_writes_is_one_commit(writer, monkeypatch):
    """A burst of requests waits for the disk once, not once for its first and once for the rest."""
    begun = []
    monkeypatch.setattr(SqliteSession, "begin", counting(begun, SqliteSession.begin))

    jobs = []
    for number in range(20):
        jobs.append(writer.put(insert(number)))
        threading.Event().wait(0.001)  # what a request costs: the writer could begin
    await asyncio.gather(*jobs)

    assert len(begun) == 1
    assert await numbers(writer) == list(range(20))


async def test_a_job_that_fails_after_writing_leaves_nothing(writer):
    """A write is made whole or not at all, also among others in one commit."""

    def half(session: Session) -> None:
        session.change("INSERT INTO t VALUES (100)")
        raise ValueError("no")

    outcomes = await asyncio.gather(
        *(writer.put(work) for work in (insert(1), half, insert(2), insert(1), insert(3))),
        return_exceptions=True,
    )

    assert [type(outcome).__name__ for outcome in outcomes] == [
        "int",
        "ValueError",
        "int",
        "StoreUnavailable",
        "int",
    ]
    assert await numbers(writer) == [1, 2, 3]


async def test_a_refusal_does_not_make_the_others_begin_again(writer):
    """When a replica is refused all its writes at once, those of others cost no more."""
    begun = []

    def refused(session: Session) -> None:
        raise LeaseLost

    def counted(session: Session) -> int:
        begun.append(1)
        return insert(len(begun))(session)

    jobs = [writer.put(work) for work in (counted, refused, counted, refused)]
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)

    assert [type(outcome).__name__ for outcome in outcomes] == ["int", "LeaseLost"] * 2
    assert len(begun) == 2
    assert await numbers(writer) == [1, 2]


async def test_a_fault_of_the_bridge_does_not_end_the_writer(writer):
    """A job that fails in a way nobody thought of fails alone; later writes are made."""

    def broken(session: Session) -> None:
        raise TypeError("not serializable")

    first, bad, last = writer.put(insert(1)), writer.put(broken), writer.put(insert(2))

    with pytest.raises(TypeError, match="not serializable"):
        await asyncio.wait_for(bad, timeout=10)
    assert (await first, await last) == (1, 1)
    assert await numbers(writer) == [1, 2]


async def test_a_caller_that_has_gone_does_not_undo_its_write(writer):
    """A request that was dropped half-way is written all the same, and disturbs nobody."""
    gone = writer.put(insert(1))
    gone.cancel()

    assert await writer.put(insert(2)) == 1
    assert await numbers(writer) == [1, 2]
