"""``bridge audit``: the trail is taken out of the store and its chain is checked."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from bridge.cli import main
from bridge.domain.audit import AuditDraft
from tests.domain.making import NOW


def run(*arguments: str) -> Result:
    """The outcome of ``bridge audit``."""
    return CliRunner().invoke(main, ["audit", *arguments])


@dataclass(frozen=True, slots=True)
class Database:
    """A store that the settings name, and a way behind its back."""

    kind: str
    address: str

    def store(self) -> PostgresStore | SqliteStore:
        """The store, not yet open."""
        return (
            PostgresStore(self.address)
            if self.kind == "postgres"
            else SqliteStore(Path(self.address))
        )

    def fill(self, *actions: str) -> None:
        """Add records as a bridge does."""
        asyncio.run(self._fill(actions))

    async def _fill(self, actions: tuple[str, ...]) -> None:
        async with self.store() as store:
            for action in actions:
                await store.audit(AuditDraft(action, "c", reason="é"), now=NOW)

    def change(self, statement: str) -> None:
        """What somebody does who has the database itself: its triggers are no obstacle."""
        if self.kind == "postgres":
            with psycopg.connect(self.address, autocommit=True) as connection:
                connection.execute("ALTER TABLE audit DISABLE TRIGGER ALL")
                connection.execute(statement.encode())
            return
        with closing(sqlite3.connect(self.address)) as connection:
            for trigger in ("audit_is_not_changed", "audit_is_not_removed"):
                connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            connection.execute(statement)
            connection.commit()


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Each kind of store."""
    if request.param == "sqlite":
        address = str(tmp_path / "bridge.db")
        monkeypatch.setenv("BRIDGE_DATABASE", address)
        yield Database("sqlite", address)
        return
    address = request.getfixturevalue("postgres_dsn")
    monkeypatch.setenv("BRIDGE_DATABASE_URL", address)
    yield Database("postgres", address)


def test_a_trail_is_taken_out_and_checked_by_itself(database: Database, tmp_path: Path):
    """An export is evidence without the store: one record a line, newest first."""
    database.fill("a", "b", "c")
    exported = run("export")
    assert exported.exit_code == 0, exported.output
    records = [json.loads(line) for line in exported.output.splitlines()]
    assert [record["action"] for record in records] == ["c", "b", "a"]
    file = tmp_path / "trail.jsonl"
    file.write_text(exported.output)

    head = records[0]["hash"]
    for found in (run("verify"), run("verify", str(file)), run("verify", "--head", head)):
        assert (found.exit_code, found.output) == (0, f"✓ 3 records; head {head}\n")


def test_a_store_that_was_tampered_with_is_found(database: Database):
    """The first record that is not as it was is named, and a pipeline sees it by the exit code."""
    database.fill("a", "b", "c")
    database.change("UPDATE audit SET reason = 'another' WHERE number = 2")
    found = run("verify")
    assert (found.exit_code, found.stderr) == (1, "Error: record 2 was changed\n")


def test_a_trail_whose_end_was_cut_is_found_by_a_noted_hash(database: Database):
    """Only who noted the newest hash elsewhere sees that newer records are gone."""
    database.fill("a", "b", "c")
    head = run("verify").output.split()[-1]
    database.change("DELETE FROM audit WHERE number = 3")
    assert run("verify").exit_code == 0
    found = run("verify", "--head", head)
    assert found.exit_code == 1
    assert found.stderr.startswith(f"Error: no record has the hash {head}: the trail was cut")


def test_the_chain_goes_on_after_a_restart(database: Database):
    """Each start of the bridge goes on where the last one ended."""
    database.fill("a")
    database.fill("b")
    found = run("verify")
    assert found.exit_code == 0
    assert found.output.startswith("✓ 2 records; head ")


async def test_a_trail_can_be_checked_while_the_bridge_runs(database: Database):
    """Checking takes nothing away from the service."""
    async with database.store() as store:
        await store.audit(AuditDraft("a", "c"), now=NOW)
        found = await asyncio.to_thread(run, "verify")
    assert (found.exit_code, found.output.split(";")[0]) == (0, "✓ 1 records")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}\n[]\n", "line 2 is no record"),
        ("{}\nx\n", "line 2 is not JSON"),
        ("[" * 99_999, "line 1"),
    ],
)
def test_a_file_that_is_no_export_is_said_to_be_none(tmp_path: Path, text: str, said: str):
    """A wrong file is told apart from a broken chain."""
    file = tmp_path / "trail.jsonl"
    file.write_text(text)
    found = run("verify", str(file))
    assert found.exit_code == 1
    assert said in found.stderr


@pytest.mark.parametrize("command", ["export", "verify"])
def test_a_store_that_is_not_there_is_said_so(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A mistyped path is no empty trail."""
    monkeypatch.setenv("BRIDGE_DATABASE", str(tmp_path / "none.db"))
    found = run(command)
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: The run store lacks migration 0001")


def test_records_of_before_the_chain_are_counted(database: Database):
    """An auditor is told for how many records nobody vouches."""
    database.fill()
    database.change(
        "INSERT INTO audit (number, time, action, caller, reason, outcome, data) "
        "VALUES (1, '2026-11-22T09:00:00+00:00', 'run.accept', 'c', '', 'done', '{}')"
    )
    database.fill("a")
    found = run("verify")
    assert found.output.startswith("✓ 1 records, and 1 of before there was a chain; head ")
