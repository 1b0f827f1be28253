"""What a job of a SQL store works with: a connection, and the runs that it has written.

Knows what the databases have in common and, as a Dialect, where they differ. Must not know what
is stored why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bridge.adapters.rows import (
    RUN_COLUMNS,
    Row,
    column_value,
    insert,
    row_to_run,
    run_to_row,
    select,
    update,
)
from bridge.domain.audit import AuditDraft
from bridge.domain.errors import RunUnknown
from bridge.domain.events import Event
from bridge.domain.runs import Run

SELECT_RUN = select(RUN_COLUMNS, "runs")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where databases differ; all of it is SQL.

    ``lock`` ends a SELECT of a run that will be written, ``lock_free`` one of runs that nobody
    is writing; ``unowned`` says of a run ``r`` that its owner has no lease; ``lock_trail`` is a
    query that waits until nobody else adds to the audit trail, empty if nobody can.
    """

    lock: str
    lock_free: str
    unowned: str
    lock_trail: str = ""


class Cursor(Protocol):
    """The answer to a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows, by column name."""
        ...


class Session(ABC):
    """One connection and the transaction on it.

    What a transaction remembers of runs counts for that transaction; whether it is known to
    later ones is for the database to say: only with a single writer it is.
    """

    def __init__(self, dialect: Dialect, *, sole_writer: bool) -> None:
        self.dialect = dialect
        self.writes = 0
        self.events: list[Event] = []
        """What the transaction adds to the events of runs: no job of it reads them again."""
        self.trail: list[tuple[AuditDraft, datetime]] = []
        """What the transaction adds to the audit trail, in this order."""
        self._sole_writer = sole_writer
        self._new: list[Run] = []
        self._known: dict[str, Run] = {}
        self._fresh: dict[str, Run] = {}
        self._definitions: set[str] = set()
        self._fresh_definitions: set[str] = set()

    # --- statements --------------------------------------------------------------------------

    @abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement with ``?`` for values."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of *rows*."""

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        self.write_new_runs()
        return self.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row of a query."""
        self.write_new_runs()
        found: list[Row] = self.execute(sql, values).fetchall()
        return found[0] if found else None

    def change(self, sql: str, *values: Any) -> int:
        """Change rows; how many."""
        self.write_new_runs()
        self.writes += 1
        return self.execute(sql, values).rowcount

    def change_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Change rows by one statement each."""
        self.write_new_runs()
        self.writes += 1
        self.execute_many(sql, rows)

    def insert_many(
        self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert *rows* of *columns*."""
        self.change_many(insert(table, columns), rows)

    # --- definitions -------------------------------------------------------------------------

    def has_definition(self, digest: str) -> bool:
        """Whether a definition is stored for sure."""
        return digest in self._definitions or digest in self._fresh_definitions

    def remember_definition(self, digest: str) -> None:
        """Note that this transaction has found or stored a definition."""
        self._fresh_definitions.add(digest)

    def forget_definitions(self) -> None:
        """Note that this transaction may remove some that no run has."""
        self._definitions.clear()

    # --- runs --------------------------------------------------------------------------------

    def run_to_write(self, run_id: str) -> Run:
        """The run as it is until this transaction ends. Raises RunUnknown."""
        run = self._fresh.get(run_id) or self._known.get(run_id)
        if run is None:
            row = self.row(f"{SELECT_RUN} WHERE id = ?{self.dialect.lock}", run_id)
            if row is None:
                raise RunUnknown.of(run_id)
            run = row_to_run(row)
        return run

    def write_run(self, run: Run, columns: Iterable[str]) -> None:
        """Store *columns* of *run*, which is what it is from now on."""
        wanted = tuple(columns)
        values = (column_value(name, getattr(run, name)) for name in wanted)
        self.change(f"{update('runs', wanted)} WHERE id = ?", *values, run.id)
        self.remember(run)

    def add_run(self, run: Run) -> None:
        """Store a new run: with those after it, but before any other statement."""
        self.writes += 1
        self._new.append(run)
        self.remember(run)

    def write_new_runs(self) -> None:
        """Store the runs that were added."""
        if self._new:
            added, self._new = self._new, []
            self.insert_many("runs", RUN_COLUMNS, [run_to_row(run) for run in added])

    def remember(self, run: Run) -> None:
        """Take the state that this transaction gives a run."""
        self._fresh[run.id] = run

    # --- transactions ------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction."""
        self.execute("BEGIN")

    @abstractmethod
    def commit(self) -> None:
        """Make it durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo it, if there is one."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether the connection broke, so that nobody knows what became of its transaction."""

    @abstractmethod
    def told(self, error: Exception) -> Exception:
        """What the caller is told of *error*: StoreUnavailable for the database's own."""

    @abstractmethod
    def passing(self, error: Exception) -> bool:
        """Whether *error* came from what others did at the same time: the job may run again."""

    def committed(self) -> list[str]:
        """Note that the transaction is durable; gives the ids of the runs that it wrote."""
        written = list(self._fresh)
        if self._sole_writer:
            self._definitions |= self._fresh_definitions
            self._known.update(self._fresh)
            for run in self._fresh.values():
                if run.finished:  # it will not be written again
                    del self._known[run.id]
        self._forget()
        return written

    def rolled_back(self) -> None:
        """Forget what the transaction remembered."""
        self._forget()
        self._new.clear()
        self.events.clear()
        self.trail.clear()

    def _forget(self) -> None:
        self._fresh.clear()
        self._fresh_definitions.clear()
