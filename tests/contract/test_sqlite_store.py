"""What the SQLite store promises besides: durability, migrations and faults of the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.adapters.schema import HISTORY, migrations
from bridge.adapters.sqlite import SqliteStore, migrate, pending_migrations
from bridge.domain.errors import StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import Run, RunStatus
from tests.contract.storing import LATER, accept, run_id, write
from tests.domain.making import RUN_ID, new_run

ROOT = Path(__file__).parents[2]


def execute(sql: str):
    """A job of the writer that runs one statement."""
    return lambda session: session.change(sql) and None


async def test_what_was_accepted_is_there_after_a_restart(tmp_path):
    """A run, its events and its definition outlive the process that accepted it."""
    path = tmp_path / "deep" / "runs.db"
    async with SqliteStore(path) as store:
        await store.accept(new_run(), first=log("accepted"))
        await write(store, RUN_ID, log("submitting"), status=RunStatus.SUBMITTING)
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
        pending = [write(store, RUN_ID, log(str(n))) for n in range(50)]
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
            await write(store, RUN_ID, *large)
        assert await store.run(RUN_ID) == accepted.run
        await store._write(execute("PRAGMA max_page_count = 100000"))
        appended = await write(store, RUN_ID, *large)

    assert appended.run == replace(accepted.run, last_seq=201, updated_at=LATER)


async def test_a_broken_table_is_an_unavailable_store(tmp_path):
    """A fault while reading is told like a fault while writing."""
    async with SqliteStore(tmp_path / "runs.db") as store:
        await store._write(execute("DROP TABLE namespaces"))

        with pytest.raises(StoreUnavailable, match="no such table"):
            await store.namespaces()


# --- one process only -----------------------------------------------------------------------------


async def test_a_file_that_is_in_use_is_refused_and_free_again_afterwards(tmp_path):
    """A second process cannot spoil the runs of the first, and is told what to do instead."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path) as store:
        with pytest.raises(StoreUnavailable, match=r"runs\.db is in use .* PostgreSQL"):
            async with SqliteStore(path):
                pass
        assert (await accept(store)).last_seq == 1

    async with SqliteStore(path) as store:
        assert (await store.claim(limit=9))[0].last_seq == 1


async def test_a_killed_process_does_not_keep_the_file(tmp_path):
    """After kill -9 the next process starts at once, and reads what was committed."""
    path = tmp_path / "runs.db"
    program = f"""
import asyncio
from pathlib import Path
from bridge.adapters.sqlite import SqliteStore
from tests.contract.storing import accept

async def main():
    async with SqliteStore(Path({str(path)!r})) as store:
        await accept(store)
        print("accepted", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert await asyncio.wait_for(process.stdout.readline(), timeout=30) == b"accepted\n"
        with pytest.raises(StoreUnavailable, match="in use"):
            async with SqliteStore(path):
                pass
    finally:
        process.kill()
        await process.communicate()

    async with SqliteStore(path) as store:
        assert [run.last_seq for run in await store.claim(limit=9)] == [1]


async def test_one_process_shares_with_nobody(tmp_path):
    """Its runs are its own: it takes those of any process before it, and hears of no other."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path, replica="before") as store:
        await store.keep_lease(seconds=3600)
        await accept(store)
    async with SqliteStore(path, replica="now") as store:
        await write(store, run_id(0), log("somebody asked"))
        (run,) = await store.claim(limit=9)
        assert (run.owner, run.fence) == ("now", 2)
        assert (await write(store, run.id, log("on"), fence=run.fence)).run.owner == "now"
        await store.release()
        assert await store.claim(limit=9) == []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.listen(lambda _: None), timeout=0.01)


# --- migrations -----------------------------------------------------------------------------------


def test_migrations_are_applied_once(tmp_path):
    """Starting again changes nothing in the file."""
    path = tmp_path / "runs.db"
    steps = [step.name for step in migrations("sqlite")]

    assert pending_migrations(path) == steps
    assert not path.exists()
    assert migrate(path) == steps
    before = schema(path)
    assert (pending_migrations(path), migrate(path)) == ([], [])
    assert schema(path) == before


def schema(path) -> list[tuple[str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return found


async def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path):
    """An update keeps the runs of the version before, and takes them up."""
    path = tmp_path / "runs.db"
    first = migrations("sqlite")[0]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"{HISTORY};{first.script}")
    connection.execute("INSERT INTO migrations VALUES (?, ?)", (first.name, first.digest))
    connection.execute("INSERT INTO definitions VALUES ('d', '{}')")
    connection.execute(
        "INSERT INTO runs VALUES ('old', 'a:b', 'd', 'running', 1, 'c', NULL, 'k', 'f', '{}', '{}',"
        "'default', 'argo', 'wf', 'uid', NULL, NULL, '{}', NULL, NULL, '{}', NULL, NULL,"
        "'2026-11-22T10:00:00+00:00', '2026-11-22T10:00:00+00:00', NULL, 0)"
    )
    connection.close()

    async with SqliteStore(path, replica="new") as store:
        (run,) = await store.claim(limit=9)
        appended = await write(store, "old", log("goes on"), fence=run.fence)

    assert (run.workflow_uid, run.owner, run.holds_lock) == ("uid", "new", False)
    assert (run.tenant, run.team) == ("default", None)
    assert appended.run.last_seq == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE migrations SET digest = 'x'", r"0001_runs\.sql was changed after"),
        ("INSERT INTO migrations VALUES ('9_x.sql', 'x')", r"older than its run store.*9_x\.sql"),
    ],
)
async def test_a_file_of_another_history_is_not_opened(tmp_path, change, told):
    """The server refuses such a file at its start, and leaves it free for others."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path) as store:
        await store._write(execute(change))

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=told):
            async with SqliteStore(path):
                pass
    with pytest.raises(StoreUnavailable, match=told):
        pending_migrations(path)


def test_what_is_no_store_has_no_migrations(tmp_path):
    """Asking what is to be done says that nothing can be done, and why."""
    path = tmp_path / "runs.db"
    path.write_bytes(b"this is no database at all, however long one looks at it")

    with pytest.raises(StoreUnavailable, match="cannot be opened as a run store"):
        pending_migrations(path)


def test_the_columns_are_the_fields_of_a_run(tmp_path):
    """The columns of the table are the fields of a run, and one that the store keeps for itself."""
    path = tmp_path / "runs.db"
    migrate(path)
    connection = sqlite3.connect(path)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(runs)")}
    connection.close()

    assert columns == {*Run.__slots__, "events_pruned"}
