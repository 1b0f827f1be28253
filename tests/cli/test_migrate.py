"""``bridge migrate``: the run store is brought up to date, or what it lacks is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.adapters.postgres import PostgresStore
from bridge.adapters.schema import migrations
from bridge.adapters.sqlite import SqliteStore
from bridge.cli import main
from bridge.ports import RunStore
from tests.postgres import PostgresServer

CURRENT = "The run store is up to date.\n"


def run(*arguments: str) -> Result:
    """The outcome of ``bridge migrate``."""
    return CliRunner().invoke(main, ["migrate", *arguments])


@dataclass(frozen=True, slots=True)
class Database:
    """A database without a schema, which the settings name."""

    kind: str
    address: str

    def names(self) -> list[str]:
        """The migrations that this version has for it."""
        return [step.name for step in migrations(self.kind)]

    def store(self) -> PostgresStore | SqliteStore:
        """The store in it, not yet open."""
        if self.kind == "postgres":
            return PostgresStore(self.address)
        return SqliteStore(Path(self.address))


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Each kind of database, named by the settings of the store and by nothing else."""
    if request.param == "sqlite":
        address = str(tmp_path / "new" / "bridge.db")
        monkeypatch.setenv("BRIDGE_DATABASE", address)
        yield Database("sqlite", address)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database(migrated=False) as address:
        file = tmp_path / "address"
        file.write_text(f"{address}\n")
        monkeypatch.setenv("BRIDGE_DATABASE_URL_FILE", str(file))
        yield Database("postgres", address)


async def usable(store: RunStore) -> bool:
    """Whether a store answers."""
    return await store.namespaces() == []


async def test_a_store_is_brought_up_to_date(database: Database):
    """One command before a rollout makes the store ready, and again does no harm."""
    first, again = run(), run()
    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert first.output == "".join(f"✓ {name}\n" for name in database.names())
    assert again.output == CURRENT
    async with database.store() as store:
        assert await usable(store)


def test_what_a_store_lacks_is_listed_and_nothing_is_changed(database: Database):
    """A pipeline sees before the rollout whether there is something to migrate."""
    expected = "".join(f"✗ {name} is missing\n" for name in database.names())
    for _ in range(2):
        found = run("--check")
        assert (found.exit_code, found.output) == (1, expected)
    assert run().exit_code == 0
    current = run("--check")
    assert (current.exit_code, current.output) == (0, CURRENT)


@pytest.mark.parametrize(
    ("name", "value", "arguments"),
    [
        ("BRIDGE_DATABASE", "/proc/nowhere/bridge.db", ()),
        ("BRIDGE_DATABASE", "/proc", ("--check",)),
        ("BRIDGE_DATABASE_URL", "postgresql://127.0.0.1:9/bridge", ()),
        ("BRIDGE_DATABASE_URL", "postgresql://127.0.0.1:9/bridge", ("--check",)),
        ("BRIDGE_DATABASE_URL_FILE", "/nowhere/address", ()),
    ],
)
def test_a_store_that_cannot_be_used_ends_with_a_sentence(
    name: str, value: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    """A wrong address is said to be wrong, in a sentence and not in a stack."""
    monkeypatch.setenv(name, value)
    found = run(*arguments)
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: ")
    assert isinstance(found.exception, SystemExit)


async def test_a_store_that_is_in_use_is_left_alone(tmp_path: Path, monkeypatch):
    """Nobody changes the schema under a bridge that runs."""
    path = tmp_path / "bridge.db"
    monkeypatch.setenv("BRIDGE_DATABASE", str(path))
    async with SqliteStore(path):
        found = run()
        assert found.exit_code == 1
        assert found.stderr.startswith("Error: ")
        assert run("--check").output == CURRENT
