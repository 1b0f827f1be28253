"""The jobs that change runs, each inside one transaction of a SQL store.

Knows the RunStore contract as statements; the rules themselves are the domain's. Must not know
which database it is: a Session has the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bridge.adapters import sql_audit
from bridge.adapters.rows import (
    COMMAND_COLUMNS,
    ENTITY_COLUMNS,
    EVENT_COLUMNS,
    command_to_row,
    delete,
    entity_to_row,
    event_to_row,
    insert,
    into,
    marks,
    row_to_command,
    row_to_run,
    select,
    to_json,
)
from bridge.adapters.sql_session import SELECT_RUN, Session
from bridge.domain.audit import AuditDraft
from bridge.domain.commands import Command
from bridge.domain.entities import EntityDocument
from bridge.domain.errors import LeaseLost
from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import Acceptance, NewRun, Run, apply_changes, decide_acceptance
from bridge.ports import Appended, Commanded, Entry

SELECT_COMMAND = select(COMMAND_COLUMNS, "commands")

_SEAL = insert("secrets", ("run_id", "sealed"))
_UNSEAL = delete("secrets", "run_id")
_NEXT_NUMBER = "(SELECT COUNT(*) + 1 FROM commands WHERE run_id = ?)"
_INSERT_COMMAND = (
    f"{into('commands', (*COMMAND_COLUMNS, 'number'))} "
    f"VALUES ({marks(len(COMMAND_COLUMNS))}, {_NEXT_NUMBER})"
)
_PUT_ENTITY = (
    f"{insert('entities', ENTITY_COLUMNS)} ON CONFLICT (kind, namespace, name) DO UPDATE SET "
    "document = excluded.document, run_id = excluded.run_id, updated_at = excluded.updated_at"
)


# --- accepting -------------------------------------------------------------------------------


def accept(
    new: NewRun, first: EventDraft, audit: Sequence[AuditDraft], owner: str, session: Session
) -> Acceptance:
    """See RunStore. A race that an index decides is decided again, by what won it."""
    latest = _latest(new, session)
    holder = _holder(new.lock, session)
    acceptance = decide_acceptance(new, latest=latest, holder=holder, owner=owner)
    if acceptance.replayed:
        return acceptance
    _keep_definition(new, session)
    run = acceptance.run
    session.add_run(run)
    if latest is not None:
        session.write_run(replace(latest, superseded_by=new.id), ["superseded_by"])
    _tell((Event(run.id, 1, new.created_at, first),), session)
    if new.sealed is not None:
        session.change(_SEAL, run.id, new.sealed)
    _keep_trail(run, audit, new.created_at, session)
    return Acceptance(run=run, replayed=False)


def _latest(new: NewRun, session: Session) -> Run | None:
    """The latest attempt under the same key; a key that was made for this request has none."""
    if new.key == new.id:
        return None
    row = session.row(
        f"{SELECT_RUN} WHERE caller = ? AND action = ? AND key = ? ORDER BY attempt DESC LIMIT 1",
        new.caller,
        new.action,
        new.key,
    )
    return row_to_run(row) if row else None


def _holder(lock: str | None, session: Session) -> Run | None:
    """Who has *lock*, or will have it before anybody who comes now."""
    if lock is None:
        return None
    row = session.row(
        f"{SELECT_RUN} WHERE lock = ? AND finished_at IS NULL ORDER BY holds_lock DESC, id LIMIT 1",
        lock,
    )
    return row_to_run(row) if row else None


def _keep_definition(new: NewRun, session: Session) -> None:
    digest = new.definition_digest
    if session.has_definition(digest):
        return
    if session.row("SELECT 1 FROM definitions WHERE digest = ?", digest) is None:
        session.change(
            f"{insert('definitions', ('digest', 'document'))} ON CONFLICT (digest) DO NOTHING",
            digest,
            to_json(new.definition),
        )
    session.remember_definition(digest)


# --- changing --------------------------------------------------------------------------------


def append(
    run_id: str, entry: Entry, fence: int | None, now: datetime, session: Session
) -> Appended | None:
    """See RunStore."""
    before = session.run_to_write(run_id)
    after = apply_changes(before, entry.changes, now=now, events=len(entry.events), fence=fence)
    if after is None:
        return None
    session.write_run(after, (*entry.changes.given(), "updated_at", "last_seq"))
    events = tuple(
        Event(run_id, seq, now, draft)
        for seq, draft in enumerate(entry.events, start=before.last_seq + 1)
    )
    _tell(events, session)
    if after.finished:
        session.change(_UNSEAL, run_id)
    _settle(run_id, entry, now, session)
    _change_entities(entry, now, session)
    _keep_trail(after, entry.audit, now, session)
    return Appended(run=after, events=events)


def _tell(events: Sequence[Event], session: Session) -> None:
    """Add *events* in this transaction: :func:`finish` writes them."""
    session.writes += len(events)
    session.events += events


def finish(session: Session) -> None:
    """Write what the jobs of a transaction have left to its end; the last thing before a commit."""
    session.write_new_runs()
    if session.events:
        rows = [event_to_row(event) for event in session.events]
        session.insert_many("events", EVENT_COLUMNS, rows)
        session.events.clear()
    sql_audit.link(session)


def _settle(run_id: str, entry: Entry, now: datetime, session: Session) -> None:
    if entry.settles is not None:
        session.change(
            "UPDATE commands SET outcome = ?, settled_at = ? WHERE run_id = ? AND slot = ?",
            entry.settles.outcome,
            now.isoformat(),
            run_id,
            entry.settles.slot,
        )


def _change_entities(entry: Entry, now: datetime, session: Session) -> None:
    if entry.keeps is not None:
        put_entity(entry.keeps, now, session)
    if entry.drops is not None:
        ref = entry.drops
        session.change(
            "DELETE FROM entities WHERE kind = ? AND namespace = ? AND name = ?",
            ref.kind,
            ref.namespace,
            ref.name,
        )


def put_entity(entity: EntityDocument, now: datetime, session: Session) -> None:
    """Insert or replace a document."""
    session.change(_PUT_ENTITY, *entity_to_row(entity, now))


def _keep_trail(run: Run, audit: Sequence[AuditDraft], now: datetime, session: Session) -> None:
    for draft in audit:
        sql_audit.keep(replace(draft, run_id=run.id, tenant=run.tenant), now, session)


def command(command: Command, entry: Entry, now: datetime, session: Session) -> Commanded:
    """See RunStore."""
    run = session.run_to_write(command.run_id)
    row = session.row(
        f"{SELECT_COMMAND} WHERE run_id = ? AND slot = ?", command.run_id, command.slot
    )
    if row is not None or run.finished:
        known = row_to_command(row) if row is not None else None
        return Commanded(command=known, fresh=False, appended=None, run=run)
    session.change(_INSERT_COMMAND, *command_to_row(command), command.run_id)
    appended = append(command.run_id, entry, None, now, session)
    after = appended.run if appended is not None else run
    return Commanded(command=command, fresh=True, appended=appended, run=after)


# --- who owns what ---------------------------------------------------------------------------


def take_lock(run_id: str, fence: int, session: Session) -> Run | None:
    """See RunStore."""
    run = session.run_to_write(run_id)
    if run.fence != fence:
        raise LeaseLost(f"Another replica has taken over run {run_id}.")
    first = _holder(run.lock, session)
    if first is not None and first.id != run_id:
        return first
    if run.lock is not None and not run.holds_lock:
        session.write_run(replace(run, holds_lock=True), ["holds_lock"])
    return None


def claim(replica: str, limit: int, session: Session) -> list[Run]:
    """See RunStore; runs that another replica is claiming at this moment are left to it."""
    dialect = session.dialect
    rows = session.rows(
        f"{SELECT_RUN} AS r WHERE r.finished_at IS NULL "
        f"AND r.owner <> ? AND {dialect.unowned} ORDER BY r.id LIMIT ?{dialect.lock_free}",
        replica,
        limit,
    )
    taken = [row_to_run(row, owner=replica, fence=row["fence"] + 1) for row in rows]
    if taken:
        session.change_many(
            "UPDATE runs SET owner = ?, fence = ? WHERE id = ?",
            [(run.owner, run.fence, run.id) for run in taken],
        )
    for run in taken:
        session.remember(run)
    return taken
