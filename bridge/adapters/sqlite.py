"""Runs in SQLite: the store of a single replica.

Knows the settings that make a commit durable (WAL, ``synchronous=FULL``; research/reliability
section 5) and how to keep other processes out. Must not know why anything is stored.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

from bridge.adapters.rows import insert
from bridge.adapters.schema import HISTORY, Migration, missing
from bridge.adapters.sql import SqlStore
from bridge.adapters.sql_runs import finish
from bridge.adapters.sql_session import Cursor, Dialect, Session
from bridge.adapters.sql_writer import Writer
from bridge.domain.errors import StoreUnavailable

_DIALECT = Dialect(lock="", lock_free="", unowned="TRUE")
"""There is one writer and one process: nothing to wait for, and no other owner can live."""
_READERS = 2
_ROWS_AT_ONCE = 32
"""Times the columns of a table it stays far below SQLite's limit of values in a statement."""


class SqliteStore(SqlStore):
    """A RunStore in one file, for one process."""

    def __init__(self, path: Path, *, replica: str | None = None) -> None:
        super().__init__(replica=replica, readers=_READERS)
        self._path = path
        self._resources = ExitStack()

    async def __aenter__(self) -> Self:
        """Take the file, bring its schema up to date and start the writer.

        Raises:
            StoreUnavailable: There can be no such file, it is none of ours, or it is in use.
        """
        connection = await asyncio.to_thread(self._open)
        self._writer = Writer(SqliteSession(connection), finish=finish)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Finish what is queued, close the file and leave it to others."""
        await self._stop_writing()
        await self._stop_reading()
        self._resources.close()

    def _open(self) -> sqlite3.Connection:
        with ExitStack() as on_error:
            lock = on_error.enter_context(closing(FileLock(self._path)))
            connection = on_error.enter_context(closing(_open_for_writing(self._path)))
            on_error.pop_all()
        self._resources.callback(lock.close)
        return connection

    def _open_reader(self) -> Session:
        try:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise cannot_open(self._path, error) from error
        return SqliteSession(connection)

    def _pending(self) -> list[str]:
        return pending_migrations(self._path)

    async def keep_lease(self, *, seconds: float) -> None:
        """See RunStore: the lock on the file is the lease."""

    async def release(self) -> None:
        """See RunStore: nobody else can be waiting."""

    async def listen(self, told: Callable[[str], object]) -> None:
        """See RunStore: no other replica can change anything."""
        del told
        await asyncio.Event().wait()


class SqliteSession(Session):
    """A connection to one file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(_DIALECT, sole_writer=True)
        self.db = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """See Session."""
        return self.db.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See Session."""
        self.db.executemany(sql, rows)

    def insert_many(
        self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """See Session; many rows to a statement, because each gives the interpreter away.

        Their numbers are powers of two, so that few statements have to be kept compiled.
        """
        begun = 0
        while begun < len(rows):
            count = min(1 << (len(rows) - begun).bit_length() - 1, _ROWS_AT_ONCE)
            chosen = rows[begun : begun + count]
            values = [value for row in chosen for value in row]
            self.change(insert(table, columns, rows=count), *values)
            begun += count

    def begin(self) -> None:
        """See Session."""
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """See Session."""
        self.db.execute("COMMIT")

    def rollback(self) -> None:
        """See Session."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def close(self) -> None:
        """See Session."""
        self.db.close()

    @property
    def lost(self) -> bool:
        """See Session: what is known of a file is known."""
        return False

    def told(self, error: Exception) -> Exception:
        """See Session."""
        if not isinstance(error, sqlite3.Error):
            return error
        told = StoreUnavailable(f"The run store failed: {error}")
        told.__cause__ = error
        return told

    def passing(self, error: Exception) -> bool:
        """See Session: there are no others."""
        del error
        return False


class FileLock:
    """The right to use a file; the system takes it back however the process ends."""

    def __init__(self, path: Path) -> None:
        lock = path.with_name(f"{path.name}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise cannot_open(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise StoreUnavailable(
                f"The run store {path} is in use by another process: end that one, or let "
                "several replicas share PostgreSQL."
            ) from error

    def close(self) -> None:
        """Give the file free."""
        os.close(self._file)


def cannot_open(path: Path, error: Exception) -> StoreUnavailable:
    """What it means that a file cannot be used."""
    return StoreUnavailable(f"{path} cannot be opened as a run store: {error}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def _open_for_writing(path: Path) -> sqlite3.Connection:
    with ExitStack() as on_error:
        try:
            connection = on_error.enter_context(closing(_connect(path)))
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # builds differ in their default
            connection.execute("PRAGMA foreign_keys = ON")
            _apply(connection)
        except sqlite3.Error as error:
            raise cannot_open(path, error) from error
        on_error.pop_all()
    return connection


# --- migrations ------------------------------------------------------------------------------


def migrate(path: Path) -> list[str]:
    """Bring the file up to date, as opening the store does; the names of what was applied.

    Raises:
        StoreUnavailable: As when it is opened.
    """
    with closing(FileLock(path)):
        pending = pending_migrations(path)
        _open_for_writing(path).close()
    return pending


def pending_migrations(path: Path) -> list[str]:
    """The names of the migrations that the file does not have; changes nothing.

    Raises:
        StoreUnavailable: It is no run store, or another version's.
    """
    try:
        if not path.exists():
            return [step.name for step in missing("sqlite", done={})]
        with closing(_connect(path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            return [step.name for step in _missing(connection)]
    except (OSError, sqlite3.Error) as error:
        raise cannot_open(path, error) from error


def _missing(connection: sqlite3.Connection) -> list[Migration]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    rows = connection.execute("SELECT name, digest FROM migrations").fetchall() if known else []
    return missing("sqlite", done=dict(rows))


def _apply(connection: sqlite3.Connection) -> None:
    for step in _missing(connection):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{HISTORY};\n{step.script}\nINSERT INTO migrations (name, digest) "
            f"VALUES ('{step.name}', '{step.digest}');\nCOMMIT;"
        )
