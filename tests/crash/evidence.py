"""What is known of a world when it has come to rest: the input of the checker.

Knows the shape of each record, and how to read the store, Argo's record and the side files. Must
not judge: the checks do.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.crash.catalog import Shown

ENDS = frozenset({"succeeded", "failed", "cancelled", "lost"})

# --- what clients saw ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submission:
    """One answered POST of a run; times in Unix seconds, ``run`` if the answer has one."""

    key: str
    action: str
    input: str
    began: float
    ended: float
    status: int
    run: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered command on a run."""

    run: str
    verb: str
    by: str
    status: int
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader got of a run, over all its connections; ``ended`` by the done event.

    ``after_end`` is the answer to asking once more behind the last event, if it was asked.
    """

    run: str
    ids: tuple[int, ...]
    events: tuple[Mapping[str, Any], ...]
    ended: bool
    after_end: int | None = None


@dataclass(slots=True)
class History:
    """All that clients saw."""

    submissions: list[Submission] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Answers that no client should ever get."""


# --- what is stored ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is stored."""

    id: str
    action: str
    status: str
    attempt: int
    caller: str
    key: str
    input: Mapping[str, Any]
    created_at: float
    finished_at: float | None
    last_seq: int
    workflow: str = ""
    lock: str | None = None
    takes_over: str | None = None
    cancelled_by: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is stored."""

    run: str
    seq: int
    at: float
    type: str
    message: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command as it is stored."""

    run: str
    slot: str
    verb: str
    by: str
    gate: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A line of the trail."""

    action: str
    run: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The contents of the run store."""

    runs: tuple[RunRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    commands: tuple[CommandRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()


# --- what happened elsewhere ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A call that Argo carried out, whatever its client was told."""

    at: float
    call: str
    name: str
    run: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Life:
    """A workflow began (``open``), ended or was deleted (``gone``)."""

    at: float
    name: str
    uid: str
    run: str
    to: str


@dataclass(frozen=True, slots=True)
class Write:
    """An acknowledged write of a replica; no ``events``: it claimed the run."""

    run: str
    fence: int
    last: int
    events: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one world."""

    stored: Stored
    history: History
    calls: tuple[Call, ...] = ()
    lives: tuple[Life, ...] = ()
    writes: tuple[Write, ...] = ()
    shown: tuple[Shown, ...] = ()
    archive: bool = False
    """Whether Argo kept what it removed in an archive."""


# --- reading -------------------------------------------------------------------------------------

_TABLES = ("runs", "events", "commands", "audit")


def read_store(database: Path | str) -> Stored:
    """The contents of a SQLite file, or of the PostgreSQL database at an address."""
    tables = _sqlite(database) if isinstance(database, Path) else _postgres(database)
    return Stored(
        runs=tuple(map(_run, tables["runs"])),
        events=tuple(sorted(map(_event, tables["events"]), key=lambda e: (e.run, e.seq))),
        commands=tuple(map(_command, tables["commands"])),
        audit=tuple(AuditRow(row["action"], row["run_id"]) for row in tables["audit"]),
    )


def _sqlite(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {name: connection.execute(_select(name)).fetchall() for name in _TABLES}


def _postgres(dsn: str) -> dict[str, list[Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return {name: connection.execute(_select(name).encode()).fetchall() for name in _TABLES}


def _select(table: str) -> str:
    return f"SELECT * FROM {table}"  # noqa: S608 - one of our four names


def _run(row: Any) -> RunRow:
    return RunRow(
        id=row["id"],
        action=row["action"],
        status=row["status"],
        attempt=row["attempt"],
        caller=row["caller"],
        key=row["key"],
        input=_json(row["input"]),
        created_at=_time(row["created_at"]) or 0.0,
        finished_at=_time(row["finished_at"]),
        last_seq=row["last_seq"],
        workflow=row["workflow_name"],
        lock=row["lock"],
        takes_over=row["takes_over"],
        cancelled_by=row["cancel_requested_by"],
    )


def _event(row: Any) -> EventRow:
    at = _time(row["time"]) or 0.0
    return EventRow(row["run_id"], row["seq"], at, row["type"], row["message"], _json(row["data"]))


def _command(row: Any) -> CommandRow:
    return CommandRow(
        row["run_id"], row["slot"], row["verb"], row["by"], row["gate"], row["outcome"]
    )


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _time(value: Any) -> float | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return float(moment.timestamp())


def read_calls(answer: Mapping[str, Any]) -> tuple[Call, ...]:
    """The answer of ``GET /faults/record``."""
    return tuple(
        Call(
            at=call["at"],
            call=call["call"],
            name=call["name"],
            run=call["labels"].get("bridge/run", ""),
            changed=call["changed"],
        )
        for call in answer["calls"]
    )


def read_lives(file: Path) -> tuple[Life, ...]:
    """The side file of the embedded Argo."""
    return tuple(
        Life(line["at"], line["name"], line["uid"], line["run"], line["is"])
        for line in _lines(file)
    )


def read_writes(file: Path) -> tuple[Write, ...]:
    """The side file of the replicas."""
    return tuple(
        Write(line["run"], line["fence"], line["last"], line["events"]) for line in _lines(file)
    )


def read_kills(file: Path) -> Counter[str]:
    """How often replicas died at which point, from their other side file."""
    return Counter(_texts(file))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, _texts(file))


def _texts(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def by_run(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Rows that have a ``run``, in their order, by it."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.run, []).append(row)
    return found
