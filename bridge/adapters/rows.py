"""Runs and events as rows: one mapping for every SQL store.

Knows which columns are JSON and which are times. Must not know any database.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Protocol

from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import Run, RunContext, RunError, RunStatus

RUN_COLUMNS = tuple(field.name for field in fields(Run))
EVENT_COLUMNS = ("run_id", "seq", "time", "type", "level", "message", "data")

_JSON = frozenset({"input", "context", "outputs", "error", "state"})
_TIMES = frozenset({"created_at", "updated_at", "finished_at", "cancel_requested_at"})


class Row(Protocol):
    """A row of any database: columns by name."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of a column."""
        ...


def column_value(name: str, value: Any) -> Any:
    """What a column holds for a field of a run."""
    if value is None:
        return None
    if name in {"context", "error"}:
        return json.dumps(asdict(value))
    if name in _JSON:
        return json.dumps(value, separators=(",", ":"))
    if name in _TIMES:
        return value.isoformat()
    return str(value) if name == "status" else value


def run_to_row(run: Run) -> tuple[Any, ...]:
    """A run in the order of RUN_COLUMNS."""
    return tuple(column_value(name, getattr(run, name)) for name in RUN_COLUMNS)


def row_to_run(row: Row) -> Run:
    """A run from a row that has RUN_COLUMNS."""
    values = {name: row[name] for name in RUN_COLUMNS}
    for name in _JSON:
        values[name] = json.loads(values[name]) if values[name] is not None else None
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["status"] = RunStatus(values["status"])
    values["context"] = RunContext(**values["context"])
    values["error"] = RunError(**values["error"]) if values["error"] else None
    return Run(**values)


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
        json.dumps(draft.data, separators=(",", ":")),
    )


def row_to_event(row: Row) -> Event:
    """An event from a row that has EVENT_COLUMNS."""
    draft = EventDraft(row["type"], row["message"], row["level"], json.loads(row["data"]))
    return Event(row["run_id"], row["seq"], datetime.fromisoformat(row["time"]), draft)
