"""What is kept: runs, events, commands, the audit trail, entity documents and namespace records.

Knows what one commit is and who may make it (ADR 0006). Must not know SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bridge.domain.audit import AuditDraft, AuditRecord
from bridge.domain.commands import Command, Settlement
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.events import Event, EventDraft
from bridge.domain.policy import Scope
from bridge.domain.runs import Acceptance, NewRun, Run, RunChanges, RunStatus


@dataclass(frozen=True, slots=True)
class Appended:
    """A commit: the run after it and the events with their places."""

    run: Run
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit does to a run, all of it or nothing.

    ``keeps`` and ``drops`` change the entity documents in the same commit, so that a replica
    that has lost the run cannot change them either.
    """

    changes: RunChanges = field(default_factory=RunChanges)
    events: tuple[EventDraft, ...] = ()
    audit: tuple[AuditDraft, ...] = ()
    settles: Settlement | None = None
    keeps: EntityDocument | None = None
    drops: EntityRef | None = None


@dataclass(frozen=True, slots=True)
class Commanded:
    """The command that has its slot, whether it is the one just given, and the commit."""

    command: Command | None
    fresh: bool
    appended: Appended | None
    run: Run


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; ``before`` is the id after which (backwards) the page starts.

    Only runs within ``scope``; None is for the bridge itself, which lists all.
    """

    status: RunStatus | None = None
    action: str | None = None
    before: str | None = None
    limit: int = 50
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which audit records to list, newest first; ``before`` is a number."""

    tenant: str | None = None
    run_id: str | None = None
    action: str | None = None
    user: str | None = None
    before: int | None = None
    limit: int = 50


class RunStore(Protocol):
    """Durable runs, events, commands, audit records, entity documents and namespace records.

    A store object speaks for one replica. An open run has one owner, the replica that accepted
    or claimed it last; the run's fence tells whether that is still so.

    Raises StoreUnavailable from any method when the store cannot be used.
    """

    @property
    def replica(self) -> str:
        """The name of this replica, another one for each process."""
        ...

    # --- one run ---

    async def accept(
        self, new: NewRun, *, first: EventDraft, audit: Sequence[AuditDraft] = ()
    ) -> Acceptance:
        """Insert the run and its first event, or find the one under its key, in one transaction.

        This replica owns a new run. An earlier attempt is told of it by ``superseded_by``. The
        run and tenant of *audit* records are filled in; they are written with a new run only.
        What is sealed of a run is kept until it ends.

        Raises:
            IdempotencyKeyReused: The key was used with other input.
            LockHeld: Another open run works on the same thing.
        """
        ...

    def append(
        self, run_id: str, entry: Entry, *, fence: int | None, now: datetime
    ) -> asyncio.Future[Appended | None]:
        """Change a run in one durable commit; None, and nothing done, if it has ended already.

        Calls take effect in the order in which they are made, not awaited. Without a *fence* the
        writer need not own the run.

        Raises:
            RunUnknown: There is no such run.
            LeaseLost: *fence* is not the run's any more.
            ValueError: The status cannot change like that.
        """
        ...

    async def command(self, command: Command, *, entry: Entry, now: datetime) -> Commanded:
        """Take a command and its *entry* in one commit, unless its slot is taken or the run over.

        Raises:
            RunUnknown: There is no such run.
        """
        ...

    async def take_lock(self, run_id: str, *, fence: int) -> Run | None:
        """Give the run its lock if it is next: None, or the run that is before it.

        Raises:
            RunUnknown, LeaseLost.
        """
        ...

    async def run(self, run_id: str) -> Run:
        """One run. Raises RunUnknown."""
        ...

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """Runs, newest first."""
        ...

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """Events with ``seq > after``, in order; of a pruned run only its last one is left."""
        ...

    async def sealed(self, run_id: str) -> str | None:
        """What is sealed of an open run; None if there is nothing, or the run has ended."""
        ...

    async def commands(self, run_id: str) -> list[Command]:
        """The commands of a run, oldest first."""
        ...

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """The definition that a run was accepted under."""
        ...

    # --- who owns what ---

    async def keep_lease(self, *, seconds: float) -> None:
        """Say that this replica lives, for *seconds* from now by the store's own clock."""
        ...

    async def claim(self, *, limit: int) -> list[Run]:
        """Take over up to *limit* open runs whose owner has no lease, oldest first."""
        ...

    async def release(self) -> None:
        """Give up the lease: others may claim at once."""
        ...

    async def open_commands(self) -> list[Command]:
        """Unsettled commands of open runs that this replica owns, oldest first."""
        ...

    async def heads(self, run_ids: Sequence[str]) -> dict[str, int]:
        """The last seq of each of these runs."""
        ...

    async def listen(self, told: Callable[[str], object]) -> None:
        """Call *told* with the id of each run that another replica changed, until cancelled.

        Ids may repeat and may be missed: who must know asks as well.
        """
        ...

    # --- readers and retention ---

    async def acknowledge(self, run_id: str, *, reader: str, seq: int) -> int:
        """Remember how far *reader* has come; it never goes back. Gives where it is.

        Raises:
            RunUnknown: There is no such run.
        """
        ...

    async def acknowledged(self, run_id: str, *, reader: str) -> int:
        """How far *reader* has come; 0 if it never said. Raises RunUnknown."""
        ...

    async def prune_events(self, *, finished_before: datetime, limit: int) -> int:
        """Remove up to *limit* events, all but the last of runs that ended before; how many."""
        ...

    async def prune_runs(self, *, finished_before: datetime, limit: int) -> int:
        """Remove up to *limit* runs that ended before, with all that is theirs; how many."""
        ...

    # --- audit ---

    async def audit(self, draft: AuditDraft, *, now: datetime) -> None:
        """Add a record that belongs to no commit."""
        ...

    async def audit_records(self, chosen: AuditFilter) -> list[AuditRecord]:
        """Audit records, newest first."""
        ...

    # --- entities and namespaces ---

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """Insert or replace a document that is no run's."""
        ...

    async def entities(self) -> list[EntityDocument]:
        """All documents, by reference."""
        ...

    async def entity(self, *, kind: str, name: str) -> EntityDocument:
        """One document. Raises EntityUnknown."""
        ...

    async def put_namespace(self, name: str, *, record: Mapping[str, Any], now: datetime) -> None:
        """Insert or replace what the Platform API was told of a namespace."""
        ...

    async def namespaces(self) -> list[Mapping[str, Any]]:
        """All such records, by name."""
        ...

    async def ping(self) -> None:
        """Answer or raise StoreUnavailable."""
        ...


class Subscriber(Protocol):
    """Somebody who is told of commits."""

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Called after the commit, in commit order per run; must not block."""
        ...
