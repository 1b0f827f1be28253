"""``bridge backup`` and ``bridge restore``: a whole copy or none, put back only where it may be."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.adapters.sqlite import SqliteStore
from bridge.cli import main
from bridge.domain.audit import AuditDraft
from bridge.ports import AuditFilter
from tests.domain.making import NOW


def run(*arguments: str) -> Result:
    """The outcome of a command."""
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings say that the store is."""
    path = tmp_path / "store" / "bridge.db"
    monkeypatch.setenv("BRIDGE_DATABASE", str(path))
    return path


def files(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def write(path: Path, action: str) -> None:
    """Add a record as a bridge does."""
    async with SqliteStore(path) as store:
        await store.audit(AuditDraft(action, "c"), now=NOW)


async def recorded(path: Path) -> list[str]:
    """The actions on record, newest first."""
    async with SqliteStore(path).looking() as store:
        return [record.draft.action for record in await store.audit_records(AuditFilter())]


async def test_a_backup_is_taken_while_the_bridge_writes(database: Path, tmp_path: Path):
    """Nobody has to stop the service; the copy is one file with what was committed by then."""
    copy = tmp_path / "backup.db"
    async with SqliteStore(database) as store:
        await store.audit(AuditDraft("before", "c"), now=NOW)
        taken = await asyncio.to_thread(run, "backup", str(copy))
        await store.audit(AuditDraft("after", "c"), now=NOW)
    assert taken.exit_code == 0, taken.output
    assert taken.output.startswith(f"✓ {copy} (")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == ["backup.db", "store"]
    assert await recorded(copy) == ["before"]


async def test_a_store_is_what_it_was_at_the_backup(database: Path, tmp_path: Path):
    """Restoring leaves nothing of what came later, not even in files beside the store."""
    copy = tmp_path / "backup.db"
    await write(database, "before")
    assert (await asyncio.to_thread(run, "backup", str(copy))).exit_code == 0
    await write(database, "after")
    stale = database.with_name("bridge.db-wal")
    stale.write_bytes(b"of another state")
    restored = await asyncio.to_thread(run, "restore", str(copy))
    assert (restored.exit_code, restored.output) == (0, f"✓ restored from {copy}\n")
    assert not stale.exists()
    assert await recorded(database) == ["before"]
    await write(database, "later")
    assert await recorded(database) == ["later", "before"]


async def test_a_backup_goes_through_pipes(database: Path, tmp_path: Path):
    """An image without a shell gives and takes its store by ``kubectl exec`` alone."""
    await write(database, "before")
    given = await asyncio.to_thread(run, "backup", "-")
    await write(database, "after")
    taken = await asyncio.to_thread(
        CliRunner().invoke, main, ["restore", "-"], input=given.stdout_bytes
    )
    assert (given.exit_code, taken.exit_code) == (0, 0), taken.output
    assert await recorded(database) == ["before"]
    cut = CliRunner().invoke(main, ["restore", "-"], input=given.stdout_bytes[:5_000])
    assert cut.exit_code == 1
    assert await recorded(database) == ["before"]
    assert {"bridge.db.copy", "bridge.db.part"}.isdisjoint(files(tmp_path / "store"))


async def test_a_store_in_use_is_not_replaced(database: Path, tmp_path: Path):
    """A restore below a running bridge is refused, and harms nothing."""
    copy = tmp_path / "backup.db"
    await write(database, "before")
    await asyncio.to_thread(run, "backup", str(copy))
    async with SqliteStore(database) as store:
        refused = await asyncio.to_thread(run, "restore", str(copy))
        await store.audit(AuditDraft("after", "c"), now=NOW)
    assert refused.exit_code == 1
    assert "in use by another process" in refused.stderr
    assert await recorded(database) == ["after", "before"]


def test_what_is_no_backup_is_refused(database: Path, tmp_path: Path):
    """A mistyped or foreign file does not become the store."""
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE migrations (name TEXT, digest TEXT)")
        connection.execute("INSERT INTO migrations VALUES ('9999_later.sql', 'x')")
        connection.commit()
    text = tmp_path / "text.db"
    text.write_text("no database, but long enough to have the place of a header in it")
    bare = tmp_path / "bare.db"
    with closing(sqlite3.connect(bare)) as connection:
        connection.execute("CREATE TABLE t (x)")
    for file, said in (
        (tmp_path / "none.db", "There is no backup"),
        (foreign, "is older than its run store"),
        (text, "cannot be opened as a run store"),
        (bare, "is no run store"),
    ):
        refused = run("restore", str(file))
        assert refused.exit_code == 1
        assert said in refused.stderr
    assert not database.exists()


async def test_a_backup_that_cannot_be_taken_is_none(database: Path, tmp_path: Path):
    """A script learns by the exit code, and finds no half of a file."""
    assert "There is no run store" in run("backup", str(tmp_path / "b.db")).stderr
    await write(database, "a")
    for file in (database, tmp_path / "none" / "b.db"):
        refused = await asyncio.to_thread(run, "backup", str(file))
        assert refused.exit_code == 1
    assert await recorded(database) == ["a"]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = 2 WHERE name = 'audit' AND type = 'table'"
        )
        connection.commit()
    damaged = await asyncio.to_thread(run, "backup", str(tmp_path / "b.db"))
    assert damaged.exit_code == 1
    assert files(tmp_path) == ["store"]


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_is_left_to_its_own_tools(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who uses PostgreSQL is told the command."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "postgresql://bridge@db/bridge")
    refused = run(command, str(tmp_path / "b.db"))
    assert refused.exit_code == 1
    assert "pg_dump" in refused.stderr
