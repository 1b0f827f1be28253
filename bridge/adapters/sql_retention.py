"""The jobs that keep a SQL store's size flat, and what readers have read.

Knows what belongs to a run and may go with it. Must not know when anything is old enough. Each
job is small and finds its rows by an index, because the writer waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bridge.adapters.rows import delete
from bridge.adapters.sql_session import Session

_UNPRUNED = (
    "SELECT r.id, r.last_seq FROM runs AS r WHERE r.finished_at < ? AND NOT r.events_pruned "
    "ORDER BY r.finished_at, r.id LIMIT 1"
)
_ENDED = (
    "SELECT r.id, r.definition_digest FROM runs AS r WHERE r.finished_at < ? "
    "ORDER BY r.finished_at, r.id LIMIT ?"
)
_PRUNE_EVENTS = (
    "DELETE FROM events WHERE run_id = ? AND seq IN "
    "(SELECT seq FROM events WHERE run_id = ? AND seq < ? ORDER BY seq LIMIT ?)"
)


def acknowledge(run_id: str, reader: str, seq: int, session: Session) -> int:
    """See RunStore."""
    session.run_to_write(run_id)
    sql = "SELECT seq FROM readers WHERE run_id = ? AND reader = ?"
    row = session.row(sql, run_id, reader)
    reached = max(seq, row["seq"] if row else 0)
    session.change(
        "INSERT INTO readers (run_id, reader, seq) VALUES (?, ?, ?) "
        "ON CONFLICT (run_id, reader) DO UPDATE SET seq = excluded.seq",
        run_id,
        reader,
        reached,
    )
    return reached


def prune_events(finished_before: datetime, limit: int, session: Session) -> int:
    """See RunStore; runs that ended first go first."""
    sql = f"{_UNPRUNED}{session.dialect.lock_free}"
    removed = 0
    while removed < limit:
        run = session.row(sql, finished_before.isoformat())
        if run is None:
            break
        removed += _prune_events_of(run["id"], run["last_seq"], limit - removed, session)
    return removed


def _prune_events_of(run_id: str, last_seq: int, limit: int, session: Session) -> int:
    removed = session.change(_PRUNE_EVENTS, run_id, run_id, last_seq, limit)
    if removed < limit:
        session.change("UPDATE runs SET events_pruned = TRUE WHERE id = ?", run_id)
    return removed


def prune_runs(finished_before: datetime, limit: int, session: Session) -> int:
    """See RunStore; runs that ended first go first."""
    sql = f"{_ENDED}{session.dialect.lock_free}"
    runs = session.rows(sql, finished_before.isoformat(), limit)
    run_ids = [(run["id"],) for run in runs]
    for table in ("events", "commands", "readers"):
        _remove(table, "run_id", run_ids, session)
    _remove("runs", "id", run_ids, session)
    session.forget_definitions()
    for digest in sorted({run["definition_digest"] for run in runs}):
        session.change(
            "DELETE FROM definitions WHERE digest = ? "
            "AND NOT EXISTS (SELECT 1 FROM runs WHERE definition_digest = digest)",
            digest,
        )
    return len(run_ids)


def _remove(table: str, column: str, run_ids: Sequence[tuple[str]], session: Session) -> None:
    if run_ids:
        session.change_many(delete(table, column), run_ids)
