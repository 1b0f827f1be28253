"""The run store over SQL: one implementation for every database.

Knows what is read by which statement and what is written by which job. Must not know which
database it is, nor why anything is stored.
"""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, Self, TypeVar
from uuid import uuid4

from bridge.adapters import sql_audit, sql_retention, sql_runs
from bridge.adapters.rows import (
    AUDIT_COLUMNS,
    ENTITY_COLUMNS,
    EVENT_COLUMNS,
    Row,
    marks,
    row_to_audit,
    row_to_command,
    row_to_entity,
    row_to_event,
    row_to_run,
    select,
    to_json,
)
from bridge.adapters.sql_lists import page_of_runs
from bridge.adapters.sql_session import SELECT_RUN, Session
from bridge.adapters.sql_writer import Writer
from bridge.domain.audit import AuditDraft, AuditRecord
from bridge.domain.commands import Command
from bridge.domain.entities import EntityDocument
from bridge.domain.errors import EntityUnknown, RunUnknown, StoreUnavailable
from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import Acceptance, NewRun, Run
from bridge.ports import Appended, AuditFilter, Commanded, Entry, RunFilter

T = TypeVar("T")

_HEADS_AT_ONCE = 500
_SELECT_EVENT = select(EVENT_COLUMNS, "events")
_SELECT_ENTITY = select(ENTITY_COLUMNS, "entities")
_SELECT_AUDIT = select(AUDIT_COLUMNS, "audit")
_SELECT_HEAD = select(("id", "last_seq"), "runs")
_OF_OWN_OPEN_RUNS = (
    "WHERE c.settled_at IS NULL AND EXISTS (SELECT 1 FROM runs AS r "
    "WHERE r.id = c.run_id AND r.owner = ? AND r.finished_at IS NULL) "
    "ORDER BY c.at, c.run_id, c.number"
)
_OPEN_COMMANDS = f"{sql_runs.SELECT_COMMAND} AS c {_OF_OWN_OPEN_RUNS}"


class SqlStore(ABC):
    """A RunStore over one writer and a few readers; a database adds how it is opened."""

    def __init__(self, *, replica: str | None, readers: int) -> None:
        self._replica = replica or uuid4().hex[:12]
        self._writer: Writer | None = None
        self._looking = False
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-reader")
        self._sessions: dict[str, Session] = {}
        self.on_done: Callable[[str, float], object] = lambda *_: None
        """Called with what was done (read, append, accept or write) and its seconds."""

    @property
    def replica(self) -> str:
        """See RunStore."""
        return self._replica

    @abstractmethod
    def _open_reader(self) -> Session:
        """A connection that only reads, for one thread."""

    @abstractmethod
    def _pending(self) -> list[str]:
        """The names of the migrations that the store lacks. Raises StoreUnavailable."""

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Self]:
        """Open the store only to look, beside whoever writes it.

        Raises:
            StoreUnavailable: It cannot be read, or its schema is not this version's.
        """
        pending = await asyncio.to_thread(self._pending)
        if pending:
            raise StoreUnavailable(
                f"The run store lacks migration {pending[0]}: run `bridge migrate` first."
            )
        self._looking = True
        try:
            yield self
        finally:
            self._looking = False
            await self._stop_reading()

    async def _stop_writing(self) -> None:
        """Finish what is queued."""
        writer, self._writer = self._writer, None  # what comes now is refused, not queued
        if writer is not None:
            await writer.aclose()

    async def _stop_reading(self) -> None:
        """Close the connections of the readers."""
        await asyncio.to_thread(self._readers.shutdown)
        for session in self._sessions.values():
            session.close()

    # --- one run -----------------------------------------------------------------------------

    async def accept(
        self, new: NewRun, *, first: EventDraft, audit: Sequence[AuditDraft] = ()
    ) -> Acceptance:
        """See RunStore."""
        work = partial(sql_runs.accept, new, first, tuple(audit), self._replica)
        return await self._write(work, operation="accept")

    def append(
        self, run_id: str, entry: Entry, *, fence: int | None, now: datetime
    ) -> asyncio.Future[Appended | None]:
        """See RunStore."""
        work = partial(sql_runs.append, run_id, entry, fence, now)
        return self._write(work, operation="append")

    async def command(self, command: Command, *, entry: Entry, now: datetime) -> Commanded:
        """See RunStore."""
        return await self._write(partial(sql_runs.command, command, entry, now))

    async def take_lock(self, run_id: str, *, fence: int) -> Run | None:
        """See RunStore."""
        return await self._write(partial(sql_runs.take_lock, run_id, fence))

    async def run(self, run_id: str) -> Run:
        """See RunStore."""
        row = await self._row(f"{SELECT_RUN} WHERE id = ?", run_id)
        if row is None:
            raise RunUnknown.of(run_id)
        return row_to_run(row)

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """See RunStore."""
        sql, values = page_of_runs(chosen)
        return [row_to_run(row) for row in await self._rows(sql, *values)]

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """See RunStore."""
        sql = f"{_SELECT_EVENT} WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [row_to_event(row) for row in await self._rows(sql, run_id, after, limit)]

    async def sealed(self, run_id: str) -> str | None:
        """See RunStore."""
        row = await self._row("SELECT sealed FROM secrets WHERE run_id = ?", run_id)
        return None if row is None else str(row["sealed"])

    async def commands(self, run_id: str) -> list[Command]:
        """See RunStore."""
        sql = f"{sql_runs.SELECT_COMMAND} WHERE run_id = ? ORDER BY number"
        return [row_to_command(row) for row in await self._rows(sql, run_id)]

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """See RunStore."""
        row = await self._row("SELECT document FROM definitions WHERE digest = ?", digest)
        if row is None:
            raise StoreUnavailable(f"The run store has lost definition {digest}.")
        document: dict[str, Any] = json.loads(row["document"])
        return document

    # --- who owns what -----------------------------------------------------------------------

    async def claim(self, *, limit: int) -> list[Run]:
        """See RunStore."""
        return await self._write(partial(sql_runs.claim, self._replica, limit))

    async def open_commands(self) -> list[Command]:
        """See RunStore."""
        return [row_to_command(row) for row in await self._rows(_OPEN_COMMANDS, self._replica)]

    async def heads(self, run_ids: Sequence[str]) -> dict[str, int]:
        """See RunStore."""
        found: dict[str, int] = {}
        for start in range(0, len(run_ids), _HEADS_AT_ONCE):
            some = run_ids[start : start + _HEADS_AT_ONCE]
            rows = await self._rows(f"{_SELECT_HEAD} WHERE id IN ({marks(len(some))})", *some)
            found |= {row["id"]: row["last_seq"] for row in rows}
        return found

    # --- readers and retention ---------------------------------------------------------------

    async def acknowledge(self, run_id: str, *, reader: str, seq: int) -> int:
        """See RunStore."""
        work = partial(sql_retention.acknowledge, run_id, reader, seq)
        return await self._write(work)

    async def acknowledged(self, run_id: str, *, reader: str) -> int:
        """See RunStore."""
        sql = (
            "SELECT COALESCE(readers.seq, 0) AS seq FROM runs LEFT JOIN readers "
            "ON readers.run_id = runs.id AND readers.reader = ? WHERE runs.id = ?"
        )
        row = await self._row(sql, reader, run_id)
        if row is None:
            raise RunUnknown.of(run_id)
        return int(row["seq"])

    async def prune_events(self, *, finished_before: datetime, limit: int) -> int:
        """See RunStore."""
        work = partial(sql_retention.prune_events, finished_before, limit)
        return await self._write(work)

    async def prune_runs(self, *, finished_before: datetime, limit: int) -> int:
        """See RunStore."""
        return await self._write(partial(sql_retention.prune_runs, finished_before, limit))

    # --- audit -------------------------------------------------------------------------------

    async def audit(self, draft: AuditDraft, *, now: datetime) -> None:
        """See RunStore."""
        await self._write(partial(sql_audit.keep, draft, now))

    async def audit_records(self, chosen: AuditFilter) -> list[AuditRecord]:
        """See RunStore."""
        where, values = _where(
            {
                "tenant = ?": chosen.tenant,
                "run_id = ?": chosen.run_id,
                "action = ?": chosen.action,
                '"user" = ?': chosen.user,
                "number < ?": chosen.before,
            }
        )
        sql = f"{_SELECT_AUDIT}{where} ORDER BY number DESC LIMIT ?"
        return [row_to_audit(row) for row in await self._rows(sql, *values, chosen.limit)]

    # --- entities and namespaces -------------------------------------------------------------

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """See RunStore."""
        await self._write(partial(sql_runs.put_entity, entity, now))

    async def entities(self) -> list[EntityDocument]:
        """See RunStore."""
        rows = await self._rows(f"{_SELECT_ENTITY} ORDER BY kind, namespace, name")
        return [row_to_entity(row) for row in rows]

    async def entity(self, *, kind: str, name: str) -> EntityDocument:
        """See RunStore."""
        row = await self._row(f"{_SELECT_ENTITY} WHERE kind = ? AND name = ?", kind, name)
        if row is None:
            raise EntityUnknown(f"The bridge has no entity {kind}:{name}.")
        return row_to_entity(row)

    async def put_namespace(self, name: str, *, record: Mapping[str, Any], now: datetime) -> None:
        """See RunStore."""
        sql = (
            "INSERT INTO namespaces (name, record, updated_at) VALUES (?, ?, ?) ON CONFLICT (name) "
            "DO UPDATE SET record = excluded.record, updated_at = excluded.updated_at"
        )
        values = (name, to_json(record), now.isoformat())
        await self._write(lambda session: session.change(sql, *values))

    async def namespaces(self) -> list[Mapping[str, Any]]:
        """See RunStore."""
        rows = await self._rows("SELECT record FROM namespaces ORDER BY name")
        return [json.loads(row["record"]) for row in rows]

    async def ping(self) -> None:
        """See RunStore."""
        await self._row("SELECT 1")

    # --- plumbing ----------------------------------------------------------------------------

    def _write(
        self, work: Callable[[Session], T], *, operation: str = "write"
    ) -> asyncio.Future[T]:
        if self._writer is None:
            raise StoreUnavailable("The run store is not open.")
        began = monotonic()
        written = self._writer.put(work)
        written.add_done_callback(lambda _: self.on_done(operation, monotonic() - began))
        return written

    async def _row(self, sql: str, *values: Any) -> Row | None:
        rows = await self._rows(sql, *values)
        return rows[0] if rows else None

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        if self._writer is None and not self._looking:
            raise StoreUnavailable("The run store is not open.")
        return await self._read(lambda session: session.rows(sql, *values))

    async def _read(self, work: Callable[[Session], T]) -> T:
        began = monotonic()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, self._look, work)
        finally:
            self.on_done("read", monotonic() - began)

    def _look(self, work: Callable[[Session], T]) -> T:
        """Read in one of the reader threads; a connection may have broken while it was idle."""
        session, used = self._session()
        try:
            return work(session)
        except Exception as error:
            if used and session.lost:
                return self._look(work)
            told = session.told(error)
            if told is error:
                raise
            raise told from error

    def _session(self) -> tuple[Session, bool]:
        """This thread's connection, and whether it has been used before."""
        name = threading.current_thread().name
        session = self._sessions.get(name)
        if session is not None and not session.lost:
            return session, True
        session = self._sessions[name] = self._open_reader()
        return session, False


def _where(wanted: Mapping[str, Any]) -> tuple[str, list[Any]]:
    given = {clause: value for clause, value in wanted.items() if value is not None}
    values = [value if isinstance(value, int) else str(value) for value in given.values()]
    return (f" WHERE {' AND '.join(given)}" if given else ""), values
