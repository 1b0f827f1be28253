"""The audit trail in a SQL store: records are kept while jobs run, and linked at the end.

Knows the order that makes one chain of what several replicas write: the place at the end of the
trail is taken last in a transaction, so that whoever holds it waits for nobody. Must not know what
records say.
"""

from __future__ import annotations

from datetime import datetime

from bridge.adapters.rows import AUDIT_COLUMNS, audit_to_row
from bridge.adapters.sql_session import Session
from bridge.domain.audit import AuditDraft, AuditRecord, linked

_LAST = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"


def keep(draft: AuditDraft, now: datetime, session: Session) -> None:
    """Add a record to the trail in this transaction."""
    session.writes += 1
    session.trail.append((draft, now))


def link(session: Session) -> None:
    """Write what the transaction keeps as the end of the chain; the jobs write nothing after it."""
    if not session.trail:
        return
    if session.dialect.lock_trail:
        session.rows(session.dialect.lock_trail)
    row = session.row(_LAST)
    number, previous = (row["number"], row["hash"]) if row else (0, None)
    records: list[AuditRecord] = []
    for draft, now in session.trail:
        number += 1
        record = linked(draft, now=now, number=number, previous=previous)
        records.append(record)
        previous = record.hash
    session.insert_many("audit", AUDIT_COLUMNS, [audit_to_row(record) for record in records])
    session.trail.clear()
