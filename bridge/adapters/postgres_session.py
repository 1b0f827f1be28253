"""Connections to PostgreSQL that never wait for ever.

Knows libpq's settings, PostgreSQL's timeouts and which of its errors pass. Must not know what is
stored. Values go and come as text, so that rows are the same as in every other database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.types.string import TextLoader

from bridge.adapters.sql_session import Cursor, Dialect, Session
from bridge.domain.errors import StoreUnavailable

T = TypeVar("T")

_TRAIL_LOCK = 0x6272_6964_6774
"""Any number that nobody else takes; migrations have another one."""
_DIALECT = Dialect(
    lock=" FOR UPDATE",
    lock_free=" FOR UPDATE OF r SKIP LOCKED",
    unowned="NOT EXISTS (SELECT 1 FROM leases AS l "
    "WHERE l.replica = r.owner AND l.until > clock_timestamp())",
    lock_trail=f"SELECT pg_advisory_xact_lock({_TRAIL_LOCK})",
)
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "client_encoding": "utf8",
    "target_session_attrs": "read-write",
    "application_name": "argo-bridge",
}
_SETTINGS = """
SET TimeZone TO 'UTC'; SET DateStyle TO 'ISO';
SET statement_timeout TO '10s'; SET lock_timeout TO '5s';
SET idle_in_transaction_session_timeout TO '5s';
SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') = 'off';
"""
"""A replica that is stopped in mid-transaction must not hold its locks; a commit is durable."""
_ANSWER_SECONDS = 15.0
"""More than any statement may take: past it the server is not just slow."""
_PASSING = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,
    psycopg.errors.ForeignKeyViolation,
)
_PAUSES = (0.1, 5.0)


class Connection(psycopg.Connection[DictRow]):
    """A connection that gives up on a server that does not answer."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """See psycopg; past the limit nobody knows what the server does, so it is closed."""
        try:
            return super().wait(gen, interval, timeout or _ANSWER_SECONDS)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def conninfo(dsn: str, **more: str) -> str:
    """*dsn* with what makes a connection fail in time, where it says nothing else.

    Raises:
        StoreUnavailable: It is no connection string. It may hold a password: it is not quoted.
    """
    try:
        return make_conninfo("", **{**_DEFAULTS, **more, **conninfo_to_dict(dsn)})
    except psycopg.Error:
        raise StoreUnavailable(
            "The run store's address is no PostgreSQL connection string; "
            "postgresql://user@host:5432/database is one."
        ) from None


def connect(dsn: str) -> Connection:
    """Open a connection. Raises psycopg.Error, StoreUnavailable."""
    connection = Connection.connect(conninfo(dsn), autocommit=True, row_factory=dict_row)
    try:
        connection.execute(_SETTINGS)
    except psycopg.Error:
        connection.close()
        raise
    for kind in ("json", "timestamptz"):
        connection.adapters.register_loader(kind, TextLoader)
    return connection


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    """What the bridge calls a fault of the database."""
    told = StoreUnavailable(f"The run store failed: {str(error).strip()}")
    told.__cause__ = error
    return told


class PostgresSession(Session):
    """A connection that is made again when it is needed after it broke."""

    def __init__(self, opener: Callable[[], Connection]) -> None:
        super().__init__(_DIALECT, sole_writer=False)
        self._opener = opener
        self._pause = _PAUSES[0]
        self._not_before = 0.0
        self.db = opener()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """See Session."""
        return self.db.execute(sql.replace("?", "%s").encode(), values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See Session."""
        with self.db.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s").encode(), rows)

    def begin(self) -> None:
        """See Session; a connection that broke while nobody used it is made again."""
        try:
            if not self.lost:
                self.db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                return
        except psycopg.OperationalError:
            if not self.lost:
                raise
        self._reconnect()
        self.db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")

    def _reconnect(self) -> None:
        if monotonic() < self._not_before:
            raise StoreUnavailable("The run store cannot be reached; trying again shortly.")
        self.db.close()
        try:
            self.db = self._opener()
        except psycopg.Error:
            self._not_before = monotonic() + self._pause
            self._pause = min(self._pause * 2, _PAUSES[1])
            raise
        self._pause = _PAUSES[0]

    def commit(self) -> None:
        """See Session."""
        self.db.execute("COMMIT")

    def rollback(self) -> None:
        """See Session; with the connection the transaction is gone too."""
        if self.lost or self.db.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            self.db.execute("ROLLBACK")
        except psycopg.Error:
            self.db.close()

    def close(self) -> None:
        """See Session."""
        self.db.close()

    @property
    def lost(self) -> bool:
        """See Session."""
        return self.db.closed

    def told(self, error: Exception) -> Exception:
        """See Session; text that no row can hold is the caller's fault, not the store's."""
        if isinstance(error, psycopg.DataError):
            return ValueError(f"the run store cannot hold this: {error}")
        return unavailable(error) if isinstance(error, psycopg.Error) else error

    def passing(self, error: Exception) -> bool:
        """See Session: who lost a race looks again at what won it."""
        return isinstance(error, _PASSING)
