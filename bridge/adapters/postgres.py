"""Runs in PostgreSQL: the store that several replicas share.

Knows how the store is opened and migrated, leases by the database's clock, and notices between
replicas. Must not know why anything is stored. Every write locks its run's row first: what a
replica remembers of a run may be another one's past.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import psycopg

from bridge.adapters.postgres_notices import CHANNEL, Notices, listen
from bridge.adapters.postgres_session import (
    Connection,
    PostgresSession,
    connect,
    conninfo,
    unavailable,
)
from bridge.adapters.schema import HISTORY, Migration, missing
from bridge.adapters.sql import SqlStore
from bridge.adapters.sql_runs import finish
from bridge.adapters.sql_session import Session
from bridge.adapters.sql_writer import Writer
from bridge.domain.errors import StoreUnavailable

_READERS = 4
_KEEP_LEASE = (
    "INSERT INTO leases (replica, until) VALUES (?, clock_timestamp() + make_interval(secs => ?)) "
    "ON CONFLICT (replica) DO UPDATE SET until = excluded.until"
)
_FORGET_LEASES = "DELETE FROM leases WHERE until < clock_timestamp() - interval '1 day'"
_MIGRATION_LOCK = 0x6272_6964_6765  # "bridge"; any number that nobody else takes


class PostgresStore(SqlStore):
    """A RunStore in a database, for any number of replicas with a name each."""

    def __init__(self, dsn: str, *, replica: str | None = None) -> None:
        super().__init__(replica=replica, readers=_READERS)
        self._dsn = dsn
        self._notices = Notices(replica=self.replica, send=self._notify)

    async def __aenter__(self) -> Self:
        """Connect and start the writer.

        Raises:
            StoreUnavailable: The database cannot be reached, or its schema is not this version's.
        """
        session = await asyncio.to_thread(self._open)
        self._writer = Writer(session, finish=finish, on_commit=self._notices.changed)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Finish what is queued, tell the others, and disconnect."""
        await self._stop_writing()
        await self._notices.aclose()
        await self._stop_reading()

    def _open(self) -> Session:
        session = self._open_reader()
        try:
            _check(session.db)
        except BaseException:
            session.close()
            raise
        return session

    def _open_reader(self) -> PostgresSession:
        try:
            return PostgresSession(partial(connect, self._dsn))
        except psycopg.Error as error:
            raise unavailable(error) from error

    def _pending(self) -> list[str]:
        return pending_migrations(self._dsn)

    # --- leases and notices ------------------------------------------------------------------

    async def keep_lease(self, *, seconds: float) -> None:
        """See RunStore."""
        await self._write(partial(_keep_lease, self.replica, seconds))

    async def release(self) -> None:
        """See RunStore."""
        sql = "DELETE FROM leases WHERE replica = ?"
        await self._write(lambda session: session.change(sql, self.replica))

    async def listen(self, told: Callable[[str], object]) -> None:
        """See RunStore."""
        await listen(self._dsn, replica=self.replica, told=told)

    async def _notify(self, payload: str) -> None:
        await self._read(lambda session: session.rows("SELECT pg_notify(?, ?)", CHANNEL, payload))


def _keep_lease(replica: str, seconds: float, session: Session) -> None:
    session.change(_KEEP_LEASE, replica, seconds)
    session.change(_FORGET_LEASES)


# --- migrations ------------------------------------------------------------------------------


def _check(connection: Connection) -> None:
    pending = _missing(connection)
    if pending:
        raise StoreUnavailable(
            f"The run store lacks migration {pending[0].name}: run `bridge migrate` first."
        )


def pending_migrations(dsn: str) -> list[str]:
    """The names of the migrations that the database does not have; changes nothing.

    Raises:
        StoreUnavailable: It cannot be reached, or another version has migrated it.
    """
    try:
        with connect(dsn) as connection:
            return [step.name for step in _missing(connection)]
    except psycopg.Error as error:
        raise unavailable(error) from error


def migrate(dsn: str) -> list[str]:
    """Bring the database up to date, all or nothing; the names of what was applied.

    Whoever else migrates at the same time waits, and then finds nothing to do.

    Raises:
        StoreUnavailable: As above, or a table is in use for too long.
    """
    try:
        with psycopg.connect(conninfo(dsn)) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            connection.execute("SET LOCAL lock_timeout TO '10s'")
            pending = _missing(connection)
            connection.execute(HISTORY)
            for step in pending:
                connection.execute(step.script.encode())
                row = [step.name, step.digest]
                connection.execute("INSERT INTO migrations (name, digest) VALUES (%s, %s)", row)
    except psycopg.Error as error:
        raise unavailable(error) from error
    return [step.name for step in pending]


def _missing(connection: psycopg.Connection[Any]) -> list[Migration]:
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        known = cursor.execute("SELECT to_regclass('migrations')").fetchone()
        if known == (None,):
            return missing("postgres", done={})
        return missing("postgres", done=dict(cursor.execute("SELECT name, digest FROM migrations")))
