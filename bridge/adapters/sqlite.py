"""Runs in SQLite: the store of a single replica.

Knows SQL and the settings that make a commit durable (WAL, ``synchronous=FULL``; research/
reliability section 5). Must not know why anything is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, TypeVar

from bridge.adapters.rows import (
    EVENT_COLUMNS,
    RUN_COLUMNS,
    column_value,
    event_to_row,
    row_to_event,
    row_to_run,
    run_to_row,
)
from bridge.adapters.sqlite_writer import Session, Writer
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import EntityUnknown, RunUnknown, StoreUnavailable
from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import (
    Acceptance,
    NewRun,
    Run,
    RunChanges,
    apply_changes,
    decide_acceptance,
)
from bridge.ports import Appended, RunFilter

T = TypeVar("T")

_RUNS = ", ".join(RUN_COLUMNS)
_EVENTS = ", ".join(EVENT_COLUMNS)
_INSERT_RUN = f"INSERT INTO runs ({_RUNS}) VALUES ({', '.join('?' * len(RUN_COLUMNS))})"  # noqa: S608 - column names are our own
_INSERT_EVENT = f"INSERT INTO events ({_EVENTS}) VALUES ({', '.join('?' * len(EVENT_COLUMNS))})"  # noqa: S608 - column names are our own
_SELECT_RUN = f"SELECT {_RUNS} FROM runs"  # noqa: S608 - column names are our own


class SqliteStore:
    """A RunStore in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sqlite-reader")
        self._local: dict[str, sqlite3.Connection] = {}

    async def __aenter__(self) -> Self:
        """Open the file, bring its schema up to date and start the writer.

        Raises:
            StoreUnavailable: There can be no such file, or it is none of ours.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = await asyncio.to_thread(_open_for_writing, self._path)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(
                f"The run store {self._path} cannot be opened: {error}"
            ) from error
        self._writer = Writer(connection)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Finish what is queued and close the file."""
        writer, self._writer = self._writer, None  # what comes now is refused, not queued
        if writer is not None:
            await writer.aclose()
        self._readers.shutdown()
        for connection in self._local.values():
            connection.close()

    # --- runs ------------------------------------------------------------------------------

    async def accept(self, new: NewRun, *, first: EventDraft) -> Acceptance:
        """See RunStore."""
        answer: Acceptance = await self._write(partial(_accept, new, first))
        return answer

    def append(
        self, run_id: str, *, changes: RunChanges, events: Sequence[EventDraft], now: datetime
    ) -> asyncio.Future[Appended | None]:
        """See RunStore."""
        return self._write(partial(_append, run_id, changes, tuple(events), now))

    async def run(self, run_id: str) -> Run:
        """See RunStore."""
        row = await self._one(f"{_SELECT_RUN} WHERE id = ?", run_id)
        if row is None:
            raise RunUnknown(f"There is no run {run_id!r}.")
        return row_to_run(row)

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """See RunStore."""
        wanted = {"status = ?": chosen.status, "action = ?": chosen.action, "id < ?": chosen.before}
        given = {clause: str(value) for clause, value in wanted.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        sql = f"{_SELECT_RUN}{where} ORDER BY id DESC LIMIT ?"
        return [row_to_run(row) for row in await self._all(sql, *given.values(), chosen.limit)]

    async def open_runs(self) -> list[Run]:
        """See RunStore."""
        sql = f"{_SELECT_RUN} WHERE finished_at IS NULL ORDER BY id"
        return [row_to_run(row) for row in await self._all(sql)]

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """See RunStore."""
        sql = f"SELECT {_EVENTS} FROM events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - column names are our own
        return [row_to_event(row) for row in await self._all(sql, run_id, after, limit)]

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """See RunStore."""
        row = await self._one("SELECT document FROM definitions WHERE digest = ?", digest)
        if row is None:
            raise StoreUnavailable(f"The run store has lost definition {digest}.")
        document: dict[str, Any] = json.loads(row["document"])
        return document

    # --- entities and namespaces -------------------------------------------------------------

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """See RunStore."""
        ref = entity.ref
        values = (ref.kind, ref.namespace, ref.name, json.dumps(entity.document), entity.run_id)
        sql = "INSERT OR REPLACE INTO entities VALUES (?, ?, ?, ?, ?, ?)"
        await self._write(
            lambda session: session.db.execute(sql, (*values, now.isoformat())) and None
        )

    async def remove_entity(self, ref: EntityRef) -> None:
        """See RunStore."""
        sql = "DELETE FROM entities WHERE kind = ? AND namespace = ? AND name = ?"
        await self._write(
            lambda session: session.db.execute(sql, (ref.kind, ref.namespace, ref.name)) and None
        )

    async def entities(self) -> list[EntityDocument]:
        """See RunStore."""
        rows = await self._all("SELECT * FROM entities ORDER BY kind, namespace, name")
        return [_entity(row) for row in rows]

    async def entity(self, *, kind: str, name: str) -> EntityDocument:
        """See RunStore."""
        row = await self._one("SELECT * FROM entities WHERE kind = ? AND name = ?", kind, name)
        if row is None:
            raise EntityUnknown(f"The bridge has no entity {kind}:{name}.")
        return _entity(row)

    async def put_namespace(self, name: str, *, record: Mapping[str, Any], now: datetime) -> None:
        """See RunStore."""
        values = (name, json.dumps(record), now.isoformat())
        sql = "INSERT OR REPLACE INTO namespaces VALUES (?, ?, ?)"
        await self._write(lambda session: session.db.execute(sql, values) and None)

    async def namespaces(self) -> list[Mapping[str, Any]]:
        """See RunStore."""
        rows = await self._all("SELECT record FROM namespaces ORDER BY name")
        return [json.loads(row["record"]) for row in rows]

    async def ping(self) -> None:
        """See RunStore."""
        await self._one("SELECT 1")

    # --- plumbing ------------------------------------------------------------------------------

    def _write(self, work: Callable[[Session], Any]) -> asyncio.Future[Any]:
        if self._writer is None:
            raise StoreUnavailable("The run store is not open.")
        return self._writer.put(work)

    async def _one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        rows = await self._all(sql, *values)
        return rows[0] if rows else None

    async def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, sql, values)

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
        try:
            return self._reader().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The run store failed: {error}") from error

    def _reader(self) -> sqlite3.Connection:
        """One read-only connection per reader thread."""
        name = threading.current_thread().name
        if name not in self._local:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
            self._local[name] = connection
        return self._local[name]


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
            migrate(connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{path} cannot be opened as a run store: {error}") from error
        on_error.pop_all()
    return connection


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Apply every migration that the file does not have; gives their names.

    Raises:
        StoreUnavailable: An applied migration was changed afterwards.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT"
    )
    done = dict(connection.execute("SELECT name, digest FROM migrations").fetchall())
    applied = []
    folder = files("bridge.adapters") / "migrations" / "sqlite"
    for script in sorted(folder.iterdir(), key=lambda entry: entry.name):
        text = script.read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if script.name not in done:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{text}\nINSERT INTO migrations "
                f"VALUES ('{script.name}', '{digest}');\nCOMMIT;"
            )
            applied.append(script.name)
        elif done[script.name] != digest:
            raise StoreUnavailable(f"Migration {script.name} was changed after it was applied.")
    return applied


def _entity(row: sqlite3.Row) -> EntityDocument:
    ref = EntityRef(kind=row["kind"], namespace=row["namespace"], name=row["name"])
    return EntityDocument(ref=ref, document=json.loads(row["document"]), run_id=row["run_id"])


def _accept(new: NewRun, first: EventDraft, session: Session) -> Acceptance:
    db = session.db
    latest = db.execute(
        f"{_SELECT_RUN} WHERE caller = ? AND action = ? AND key = ? ORDER BY attempt DESC LIMIT 1",
        (new.caller, new.action, new.key),
    ).fetchone()
    acceptance = decide_acceptance(new, latest=row_to_run(latest) if latest else None)
    if not acceptance.replayed:
        _keep_definition(new, db)
        db.execute(_INSERT_RUN, run_to_row(acceptance.run))
        session.remember(acceptance.run)
        appended = _append(new.id, RunChanges(), (first,), new.created_at, session)
        if appended is not None:
            return Acceptance(run=appended.run, replayed=False)
    return acceptance


def _keep_definition(new: NewRun, db: sqlite3.Connection) -> None:
    sql = "SELECT 1 FROM definitions WHERE digest = ?"
    if db.execute(sql, (new.definition_digest,)).fetchone() is None:
        text = json.dumps(new.definition, separators=(",", ":"))
        db.execute("INSERT INTO definitions VALUES (?, ?)", (new.definition_digest, text))


def _read_run(run_id: str, db: sqlite3.Connection) -> Run:
    row = db.execute(f"{_SELECT_RUN} WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise RunUnknown(f"There is no run {run_id!r}.")
    return row_to_run(row)


def _append(
    run_id: str,
    changes: RunChanges,
    drafts: tuple[EventDraft, ...],
    now: datetime,
    session: Session,
) -> Appended | None:
    db = session.db
    before = session.recall(run_id) or _read_run(run_id, db)
    after = apply_changes(before, changes, now=now, events=len(drafts))
    if after is None:
        return None
    columns = {**changes.given(), "updated_at": now, "last_seq": after.last_seq}
    assignments = ", ".join(f"{name} = ?" for name in columns)
    values = (column_value(name, value) for name, value in columns.items())
    db.execute(f"UPDATE runs SET {assignments} WHERE id = ?", (*values, run_id))  # noqa: S608 - column names are our own
    events = tuple(
        Event(run_id, seq, now, draft)
        for seq, draft in enumerate(drafts, start=before.last_seq + 1)
    )
    db.executemany(_INSERT_EVENT, map(event_to_row, events))
    session.remember(after)
    return Appended(run=after, events=events)
