"""Runs, events, commands and audit records as rows: one mapping for every SQL store.

Knows which columns are JSON and which are times. Must not know any database: every value is text,
a number, a truth or nothing, and a time is ISO 8601.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Protocol

from bridge.domain.audit import AuditDraft, AuditRecord
from bridge.domain.callers import Source
from bridge.domain.commands import Command, Verb
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import Run, RunContext, RunError, RunStatus

RUN_COLUMNS = tuple(field.name for field in fields(Run))
EVENT_COLUMNS = ("run_id", "seq", "time", "type", "level", "message", "data")
COMMAND_COLUMNS = (
    "run_id",
    "slot",
    "verb",
    "by",
    "at",
    "gate",
    "reason",
    "outputs",
    "outcome",
    "settled_at",
)
AUDIT_COLUMNS = (
    "number",
    "time",
    "action",
    "caller",
    "user",
    "run_id",
    "reason",
    "outcome",
    "data",
    "tenant",
    "source",
    "previous",
    "hash",
)
ENTITY_COLUMNS = ("kind", "namespace", "name", "document", "run_id", "updated_at")

_NAME = re.compile("[a-z_]+")
_TEXT = json.JSONEncoder(separators=(",", ":"))
_JSON = frozenset({"input", "context", "outputs", "error", "state"})
_TIMES = frozenset(
    {"created_at", "updated_at", "finished_at", "cancel_requested_at", "doubt_since"}
)


class Row(Protocol):
    """A row of any database: columns by name."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of a column."""
        ...


# --- statements ------------------------------------------------------------------------------


def quoted(name: str) -> str:
    """A name of a table or column; quoted, because ``user`` and ``by`` are words of SQL.

    Raises:
        ValueError: It is no plain name, so it might be SQL.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a table or column")
    return f'"{name}"'


def marks(count: int) -> str:
    """Places for *count* values."""
    return ", ".join("?" * count)


def select(columns: Iterable[str], table: str) -> str:
    """The statement that reads *columns* of all rows."""
    return " ".join(("SELECT", ", ".join(map(quoted, columns)), "FROM", quoted(table)))


def into(table: str, columns: Iterable[str]) -> str:
    """The beginning of a statement that inserts *columns*; VALUES follow."""
    return " ".join(("INSERT INTO", quoted(table), f"({', '.join(map(quoted, columns))})"))


@cache
def insert(table: str, columns: tuple[str, ...], *, rows: int = 1) -> str:
    """The statement that inserts *rows* of *columns*."""
    values = ", ".join([f"({marks(len(columns))})"] * rows)
    return f"{into(table, columns)} VALUES {values}"


@cache
def update(table: str, columns: tuple[str, ...]) -> str:
    """The beginning of a statement that changes *columns*; WHERE follows."""
    changes = ", ".join(f"{quoted(column)} = ?" for column in columns)
    return " ".join(("UPDATE", quoted(table), "SET", changes))


def delete(table: str, column: str) -> str:
    """The statement that removes the rows with one value of *column*."""
    return " ".join(("DELETE FROM", quoted(table), "WHERE", quoted(column), "= ?"))


def to_json(value: Any) -> str:
    """The text of a JSON column."""
    return _TEXT.encode(value)


def _fields_json(value: RunContext | RunError) -> str:
    """The text of a record without records in it."""
    return to_json({name: getattr(value, name) for name in value.__slots__})


# --- runs ------------------------------------------------------------------------------------

_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(_JSON, to_json),
    **dict.fromkeys(_TIMES, datetime.isoformat),
    **dict.fromkeys(("context", "error"), _fields_json),
    "status": str,
}
"""How a field is written that is neither text nor a number nor a truth."""
_IN_ORDER = attrgetter(*RUN_COLUMNS)
_TO_WRITE = [(RUN_COLUMNS.index(name), written) for name, written in _WRITTEN.items()]


def column_value(name: str, value: Any) -> Any:
    """What a column holds for a field of a run."""
    written = _WRITTEN.get(name)
    return value if written is None or value is None else written(value)


def run_to_row(run: Run) -> list[Any]:
    """A run in the order of RUN_COLUMNS."""
    row = list(_IN_ORDER(run))
    for place, written in _TO_WRITE:
        if row[place] is not None:
            row[place] = written(row[place])
    return row


def row_to_run(row: Row, **changed: Any) -> Run:
    """A run from a row that has RUN_COLUMNS, with other values for some of its fields."""
    values = {name: row[name] for name in RUN_COLUMNS}
    for name in _JSON:
        text = values[name]  # most are empty, and a restart reads thousands
        values[name] = {} if text == "{}" else None if text is None else json.loads(text)
    for name in _TIMES:
        values[name] = _time(values[name])
    values["status"] = RunStatus(values["status"])
    values["context"] = RunContext(**values["context"])
    values["error"] = RunError(**values["error"]) if values["error"] else None
    values["holds_lock"] = bool(values["holds_lock"])
    return Run(**(values | changed))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


# --- what belongs to a run --------------------------------------------------------------------


def event_to_row(event: Event) -> tuple[Any, ...]:
    """An event in the order of EVENT_COLUMNS."""
    draft = event.draft
    return (
        event.run_id,
        event.seq,
        event.time.isoformat(),
        draft.type,
        draft.level,
        draft.message,
        to_json(draft.data),
    )


def row_to_event(row: Row) -> Event:
    """An event from a row that has EVENT_COLUMNS."""
    draft = EventDraft(row["type"], row["message"], row["level"], json.loads(row["data"]))
    return Event(row["run_id"], row["seq"], datetime.fromisoformat(row["time"]), draft)


def command_to_row(command: Command) -> tuple[Any, ...]:
    """A command in the order of COMMAND_COLUMNS."""
    settled = command.settled_at
    return (
        command.run_id,
        command.slot,
        str(command.verb),
        command.by,
        command.at.isoformat(),
        command.gate,
        command.reason,
        to_json(command.outputs),
        command.outcome,
        settled.isoformat() if settled else None,
    )


def row_to_command(row: Row) -> Command:
    """A command from a row that has COMMAND_COLUMNS."""
    return Command(
        run_id=row["run_id"],
        verb=Verb(row["verb"]),
        by=row["by"],
        at=datetime.fromisoformat(row["at"]),
        gate=row["gate"],
        reason=row["reason"],
        outputs=json.loads(row["outputs"]),
        outcome=row["outcome"],
        settled_at=_time(row["settled_at"]),
    )


def audit_to_row(record: AuditRecord) -> tuple[Any, ...]:
    """An audit record in the order of AUDIT_COLUMNS."""
    draft = record.draft
    return (
        record.number,
        record.time.isoformat(),
        draft.action,
        draft.caller,
        draft.user,
        draft.run_id,
        draft.reason,
        draft.outcome,
        to_json(draft.data),
        draft.tenant,
        to_json({"address": draft.source.address, "request": draft.source.request}),
        record.previous,
        record.hash,
    )


def row_to_audit(row: Row) -> AuditRecord:
    """An audit record from a row that has AUDIT_COLUMNS."""
    draft = AuditDraft(
        action=row["action"],
        caller=row["caller"],
        user=row["user"],
        run_id=row["run_id"],
        reason=row["reason"],
        outcome=row["outcome"],
        data=json.loads(row["data"]),
        tenant=row["tenant"],
        source=Source(**json.loads(row["source"])),
    )
    time = datetime.fromisoformat(row["time"])
    return AuditRecord(row["number"], time, draft, row["previous"], row["hash"])


# --- documents ---------------------------------------------------------------------------------


def entity_to_row(entity: EntityDocument, now: datetime) -> tuple[Any, ...]:
    """A document in the order of ENTITY_COLUMNS."""
    ref = entity.ref
    document = to_json(entity.document)
    return (ref.kind, ref.namespace, ref.name, document, entity.run_id, now.isoformat())


def row_to_entity(row: Row) -> EntityDocument:
    """A document from a row that has ENTITY_COLUMNS."""
    ref = EntityRef(kind=row["kind"], namespace=row["namespace"], name=row["name"])
    return EntityDocument(ref=ref, document=json.loads(row["document"]), run_id=row["run_id"])
