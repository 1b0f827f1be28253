"""What ``bridge migrate`` promises of a PostgreSQL store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bridge.adapters.postgres import PostgresStore, migrate, pending_migrations
from bridge.adapters.schema import migrations
from bridge.domain.errors import StoreUnavailable
from bridge.domain.runs import Run

STEPS = [step.name for step in migrations("postgres")]


@pytest.fixture
def empty(postgres_server):
    """A database that was never migrated."""
    with postgres_server.database(migrated=False) as dsn:
        yield dsn


async def test_a_database_is_migrated_once_and_only_when_asked(empty):
    """A replica does not change the schema by starting; it says what has to be done."""
    assert pending_migrations(empty) == STEPS
    with pytest.raises(StoreUnavailable, match=r"lacks migration 0001.*run `bridge migrate`"):
        async with PostgresStore(empty):
            pass
    assert pending_migrations(empty) == STEPS

    assert migrate(empty) == STEPS

    assert (migrate(empty), pending_migrations(empty)) == ([], [])
    async with PostgresStore(empty) as store:
        assert await store.ping() is None


def test_of_several_that_migrate_at_once_one_does(empty):
    """Replicas that are started together may all migrate first."""
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [empty] * 4))

    assert sorted(applied) == [[], [], [], STEPS]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE migrations SET digest = 'x'", r"0001_runs\.sql was changed after"),
        ("INSERT INTO migrations VALUES ('9_x.sql', 'x')", r"older than its run store.*9_x\.sql"),
    ],
)
async def test_a_database_of_another_history_is_not_used(postgres_dsn, change, told):
    """Neither an older version nor a changed one touches the runs of the right one."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(change)

    with pytest.raises(StoreUnavailable, match=told):
        async with PostgresStore(postgres_dsn):
            pass
    for asked in (pending_migrations, migrate):
        with pytest.raises(StoreUnavailable, match=told):
            asked(postgres_dsn)


def test_a_migration_that_fails_leaves_nothing(empty):
    """After a failed migration the old version goes on as if nothing had been tried."""
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE TABLE namespaces (something_else text)")

    with pytest.raises(StoreUnavailable, match="already exists"):
        migrate(empty)

    with psycopg.connect(empty) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchall() == [("namespaces",)]


def test_a_database_that_is_not_there_says_so(postgres_server):
    """Both questions name what is wrong."""
    for asked in (pending_migrations, migrate):
        with pytest.raises(StoreUnavailable, match="nowhere"):
            asked(postgres_server.dsn("nowhere"))


def test_the_columns_are_the_fields_of_a_run(postgres_dsn):
    """The columns of the table are the fields of a run, and one that the store keeps for itself."""
    with psycopg.connect(postgres_dsn) as connection:
        columns = {column.name for column in connection.execute("SELECT * FROM runs").description}

    assert columns == {*Run.__slots__, "events_pruned"}
