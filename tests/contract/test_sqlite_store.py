"""What the SQLite store promises besides: durability, migrations and faults of the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from bridge.adapters.sqlite import SqliteStore, migrate
from bridge.adapters.sqlite_writer import Session, Writer
from bridge.domain.errors import StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import Run, RunChanges, RunStatus
from tests.domain.making import NOW, RUN_ID, new_run

NOTHING = RunChanges()


def execute(sql: str):
    """A job of the writer that runs one statement."""
    return lambda session: session.db.execute(sql) and None


async def test_what_was_accepted_is_there_after_a_restart(tmp_path):
    """A run, its events and its definition outlive the process that accepted it."""
    path = tmp_path / "deep" / "runs.db"
    async with SqliteStore(path) as store:
        await store.accept(new_run(), first=log("accepted"))
        changes = RunChanges(status=RunStatus.SUBMITTING)
        await store.append(RUN_ID, changes=changes, events=[log("submitting")], now=NOW)
        before = await store.run(RUN_ID)

    async with SqliteStore(path) as store:
        assert await store.run(RUN_ID) == before
        assert [e.draft.message for e in await store.events(RUN_ID, after=0, limit=9)] == [
            "accepted",
            "submitting",
        ]
        assert await store.definition(before.definition_digest)


async def test_a_commit_is_on_the_disk_before_it_is_told(tmp_path):
    """Another process that opens the file sees what the caller was told of."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path) as store:
        await store.accept(new_run(), first=log("accepted"))
        other = sqlite3.connect(path)
        rows = other.execute("SELECT id FROM runs").fetchall()
        journal = other.execute("PRAGMA journal_mode").fetchone()
        other.close()

    assert rows == [(RUN_ID,)]
    assert journal == ("wal",)


async def test_what_is_queued_is_written_before_the_file_is_closed(tmp_path):
    """A server that ends finishes the writes that it has begun."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path) as store:
        await store.accept(new_run(), first=log("accepted"))
        pending = [
            store.append(RUN_ID, changes=NOTHING, events=[log(str(n))], now=NOW) for n in range(50)
        ]
    assert all([await one is not None for one in pending])

    async with SqliteStore(path) as store:
        assert (await store.run(RUN_ID)).last_seq == 51


async def test_a_file_that_cannot_be_opened_says_so(tmp_path):
    """The server does not start on a file that is none of its own, and names it."""
    path = tmp_path / "runs.db"
    path.write_bytes(b"this is no database at all, however long one looks at it")

    with pytest.raises(StoreUnavailable, match=r"runs\.db cannot be opened as a run store"):
        async with SqliteStore(path):
            pass


async def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    """A path that is no path is named, not traced."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match=r"runs\.db cannot be opened"):
        async with SqliteStore(tmp_path / "file" / "runs.db"):
            pass


async def test_a_store_that_is_closed_says_so(tmp_path):
    """A request that comes too late is refused and never waits for ever."""
    store = SqliteStore(tmp_path / "runs.db")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.accept(new_run(), first=log("x"))

    async with store:
        await store.accept(new_run(), first=log("x"))

    with pytest.raises(StoreUnavailable, match="not open"):
        await store.accept(new_run(), first=log("x"))


async def test_a_full_disk_fails_the_write_and_nothing_else(tmp_path):
    """While the disk is full runs can be read; afterwards they can be written again."""
    async with SqliteStore(tmp_path / "runs.db") as store:
        accepted = await store.accept(new_run(), first=log("accepted"))
        await store._write(execute("PRAGMA max_page_count = 1"))
        large = [log("x" * 1000) for _ in range(200)]

        with pytest.raises(StoreUnavailable, match="full"):
            await store.append(RUN_ID, changes=NOTHING, events=large, now=NOW)
        assert await store.run(RUN_ID) == accepted.run
        await store._write(execute("PRAGMA max_page_count = 100000"))
        appended = await store.append(RUN_ID, changes=NOTHING, events=large, now=NOW)

    assert appended.run == replace(accepted.run, last_seq=201)


async def test_a_broken_table_is_an_unavailable_store(tmp_path):
    """A fault while reading is told like a fault while writing."""
    async with SqliteStore(tmp_path / "runs.db") as store:
        await store._write(execute("DROP TABLE namespaces"))

        with pytest.raises(StoreUnavailable, match="no such table"):
            await store.namespaces()


# --- the writer ---------------------------------------------------------------------------------


@pytest.fixture
async def writer():
    """A writer over a table ``t (n)``."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    made = Writer(connection)
    yield made
    await made.aclose()


def insert(number: int):
    return lambda session: session.db.execute("INSERT INTO t VALUES (?)", (number,)).rowcount


async def numbers(writer: Writer) -> list[int]:
    rows = await writer.put(
        lambda session: session.db.execute("SELECT n FROM t ORDER BY n").fetchall()
    )
    return [row[0] for row in rows]


async def test_a_job_that_fails_after_writing_leaves_nothing(writer):
    """A write is made whole or not at all, also among others in one commit."""

    def half(session: Session) -> None:
        session.db.execute("INSERT INTO t VALUES (100)")
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


# --- migrations ---------------------------------------------------------------------------------


def test_migrations_are_applied_once():
    """Starting again changes nothing in the file."""
    connection = sqlite3.connect(":memory:", isolation_level=None)

    assert migrate(connection) == ["0001_runs.sql"]
    schema = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    assert migrate(connection) == []
    assert connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == schema
    connection.close()


def test_a_migration_that_was_changed_afterwards_is_refused():
    """A file whose history is not this program's is not touched."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("UPDATE migrations SET digest = 'another'")

    with pytest.raises(StoreUnavailable, match=r"0001_runs\.sql was changed after"):
        migrate(connection)
    connection.close()


async def test_a_file_of_another_history_is_not_opened(tmp_path):
    """The server refuses such a file at its start, and leaves it free for others."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path) as store:
        await store._write(execute("UPDATE migrations SET digest = 'x'"))

    with pytest.raises(StoreUnavailable, match="was changed after"):
        async with SqliteStore(path):
            pass


def test_a_run_is_a_row_and_back():
    """The columns of the table are the fields of a run."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(runs)")}

    assert columns == set(Run.__slots__)
    connection.close()
