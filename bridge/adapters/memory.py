"""Runs in memory.

Knows the RunStore contract in its plainest form: it is what the SQL stores are compared with.
Must not be used where a restart may lose nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime
from typing import Any

from bridge.adapters.system import SystemClock
from bridge.domain.audit import AuditDraft, AuditRecord, linked
from bridge.domain.commands import Command
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import (
    BridgeError,
    EntityUnknown,
    LeaseLost,
    RunUnknown,
    StoreUnavailable,
)
from bridge.domain.events import Event, EventDraft
from bridge.domain.runs import Acceptance, NewRun, Run, apply_changes, decide_acceptance
from bridge.ports import Appended, AuditFilter, Clock, Commanded, Entry, RunFilter


@dataclass(slots=True)
class Memory:
    """What several stores of one process can share, as replicas share a database."""

    runs: dict[str, Run] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    commands: dict[str, dict[str, Command]] = field(default_factory=dict)
    readers: dict[tuple[str, str], int] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)
    leases: dict[str, float] = field(default_factory=dict)
    sealed: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    entities: dict[EntityRef, EntityDocument] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    listeners: dict[str, Callable[[str], object]] = field(default_factory=dict)


class MemoryStore:
    """A RunStore that lives as long as the process."""

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        replica: str = "memory",
        clock: Clock | None = None,
    ) -> None:
        self._memory = memory or Memory()
        self._replica = replica
        self._clock = clock or SystemClock()

    @property
    def replica(self) -> str:
        """See RunStore."""
        return self._replica

    # --- one run -----------------------------------------------------------------------------

    async def accept(
        self, new: NewRun, *, first: EventDraft, audit: Sequence[AuditDraft] = ()
    ) -> Acceptance:
        """See RunStore."""
        latest = self._latest(new)
        acceptance = decide_acceptance(
            new, latest=latest, holder=self._holder(new.lock), owner=self._replica
        )
        if acceptance.replayed:
            return acceptance
        memory = self._memory
        memory.definitions[new.definition_digest] = new.definition
        memory.runs[new.id] = acceptance.run
        memory.events[new.id] = [Event(new.id, 1, new.created_at, first)]
        if new.sealed is not None:
            memory.sealed[new.id] = new.sealed
        if latest is not None:
            memory.runs[latest.id] = replace(latest, superseded_by=new.id)
        self._append(new.id, Entry(audit=tuple(audit)), None, new.created_at)
        return Acceptance(run=memory.runs[new.id], replayed=False)

    def _latest(self, new: NewRun) -> Run | None:
        under_key = [
            run
            for run in self._memory.runs.values()
            if (run.caller, run.action, run.key) == (new.caller, new.action, new.key)
        ]
        return max(under_key, key=lambda run: run.attempt, default=None)

    def _holder(self, lock: str | None) -> Run | None:
        """Who has *lock*, or will have it before anybody who comes now."""
        wanting = [run for run in self._open() if lock is not None and run.lock == lock]
        return min(wanting, key=lambda run: (not run.holds_lock, run.id), default=None)

    def append(
        self, run_id: str, entry: Entry, *, fence: int | None, now: datetime
    ) -> asyncio.Future[Appended | None]:
        """See RunStore."""
        answer: asyncio.Future[Appended | None] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._append(run_id, entry, fence, now))
        except (BridgeError, ValueError) as error:
            answer.set_exception(error)
        return answer

    def _append(
        self, run_id: str, entry: Entry, fence: int | None, now: datetime
    ) -> Appended | None:
        memory = self._memory
        before = self._run(run_id)
        after = apply_changes(before, entry.changes, now=now, events=len(entry.events), fence=fence)
        if after is None:
            return None
        events = tuple(
            Event(run_id, seq, now, draft)
            for seq, draft in enumerate(entry.events, start=before.last_seq + 1)
        )
        memory.runs[run_id] = after
        if after.finished:
            memory.sealed.pop(run_id, None)
        memory.events[run_id].extend(events)
        if entry.settles is not None:
            commands = memory.commands[run_id]
            slot, outcome = entry.settles.slot, entry.settles.outcome
            commands[slot] = replace(commands[slot], outcome=outcome, settled_at=now)
        if entry.keeps is not None:
            memory.entities[entry.keeps.ref] = entry.keeps
        if entry.drops is not None:
            memory.entities.pop(entry.drops, None)
        for draft in entry.audit:
            self._record(replace(draft, run_id=run_id, tenant=after.tenant), now)
        self._tell_others(run_id)
        return Appended(run=after, events=events)

    def _tell_others(self, run_id: str) -> None:
        for replica, told in tuple(self._memory.listeners.items()):
            if replica != self._replica:
                told(run_id)

    async def command(self, command: Command, *, entry: Entry, now: datetime) -> Commanded:
        """See RunStore."""
        run = self._run(command.run_id)
        commands = self._memory.commands.setdefault(command.run_id, {})
        known = commands.get(command.slot)
        if known is not None or run.finished:
            return Commanded(command=known, fresh=False, appended=None, run=run)
        appended = self._append(command.run_id, entry, None, now)
        commands[command.slot] = command
        return Commanded(
            command=command, fresh=True, appended=appended, run=self._run(command.run_id)
        )

    async def take_lock(self, run_id: str, *, fence: int) -> Run | None:
        """See RunStore."""
        run = self._run(run_id)
        if run.fence != fence:
            raise LeaseLost(f"Another replica has taken over run {run_id}.")
        first = self._holder(run.lock)
        if first is None or first.id == run_id:
            self._memory.runs[run_id] = replace(run, holds_lock=run.lock is not None)
            return None
        return first

    def _run(self, run_id: str) -> Run:
        run = self._memory.runs.get(run_id)
        if run is None:
            raise RunUnknown.of(run_id)
        return run

    def _open(self) -> list[Run]:
        found = [run for run in self._memory.runs.values() if run.finished_at is None]
        return sorted(found, key=lambda run: run.id)

    async def run(self, run_id: str) -> Run:
        """See RunStore."""
        return self._run(run_id)

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """See RunStore."""
        found = [
            run
            for run in self._memory.runs.values()
            if (chosen.scope is None or chosen.scope.holds(run))
            and chosen.status in {None, run.status}
            and chosen.action in {None, run.action}
            and (chosen.before is None or run.id < chosen.before)
        ]
        return sorted(found, key=lambda run: run.id, reverse=True)[: chosen.limit]

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """See RunStore."""
        later = [event for event in self._memory.events.get(run_id, ()) if event.seq > after]
        return later[:limit]

    async def sealed(self, run_id: str) -> str | None:
        """See RunStore."""
        return self._memory.sealed.get(run_id)

    async def commands(self, run_id: str) -> list[Command]:
        """See RunStore."""
        return list(self._memory.commands.get(run_id, {}).values())

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """See RunStore."""
        if digest not in self._memory.definitions:
            raise StoreUnavailable(f"The run store has lost definition {digest}.")
        return self._memory.definitions[digest]

    # --- who owns what -----------------------------------------------------------------------

    async def keep_lease(self, *, seconds: float) -> None:
        """See RunStore."""
        self._memory.leases[self._replica] = self._clock.monotonic() + seconds

    async def claim(self, *, limit: int) -> list[Run]:
        """See RunStore."""
        now = self._clock.monotonic()
        alive = {replica for replica, until in self._memory.leases.items() if until > now}
        free = [run for run in self._open() if run.owner not in alive | {self._replica}]
        taken = [replace(run, owner=self._replica, fence=run.fence + 1) for run in free[:limit]]
        self._memory.runs.update({run.id: run for run in taken})
        return taken

    async def release(self) -> None:
        """See RunStore."""
        self._memory.leases.pop(self._replica, None)

    async def open_commands(self) -> list[Command]:
        """See RunStore."""
        owned = (run.id for run in self._open() if run.owner == self._replica)
        found = [
            command
            for run_id in owned
            for command in self._memory.commands.get(run_id, {}).values()
            if command.settled_at is None
        ]
        return sorted(found, key=lambda command: command.at)

    async def heads(self, run_ids: Sequence[str]) -> dict[str, int]:
        """See RunStore."""
        runs = self._memory.runs
        return {run_id: runs[run_id].last_seq for run_id in run_ids if run_id in runs}

    async def listen(self, told: Callable[[str], object]) -> None:
        """See RunStore."""
        self._memory.listeners[self._replica] = told
        try:
            await asyncio.Event().wait()
        finally:
            del self._memory.listeners[self._replica]

    # --- readers and retention ---------------------------------------------------------------

    async def acknowledge(self, run_id: str, *, reader: str, seq: int) -> int:
        """See RunStore."""
        reached = max(seq, await self.acknowledged(run_id, reader=reader))
        self._memory.readers[run_id, reader] = reached
        return reached

    async def acknowledged(self, run_id: str, *, reader: str) -> int:
        """See RunStore."""
        self._run(run_id)
        return self._memory.readers.get((run_id, reader), 0)

    async def prune_events(self, *, finished_before: datetime, limit: int) -> int:
        """See RunStore."""
        removed = 0
        for run in self._ended(finished_before):
            events = self._memory.events[run.id]
            surplus = min(len(events) - 1, limit - removed)
            del events[: max(surplus, 0)]
            removed += max(surplus, 0)
        return removed

    async def prune_runs(self, *, finished_before: datetime, limit: int) -> int:
        """See RunStore."""
        memory = self._memory
        gone = {run.id for run in self._ended(finished_before)[:limit]}
        for run_id in gone:
            del memory.runs[run_id], memory.events[run_id]
            memory.commands.pop(run_id, None)
        memory.readers = {key: seq for key, seq in memory.readers.items() if key[0] not in gone}
        used = {run.definition_digest for run in memory.runs.values()}
        memory.definitions = {key: memory.definitions[key] for key in used}
        return len(gone)

    def _ended(self, before: datetime) -> list[Run]:
        runs = self._memory.runs.values()
        ended = [run for run in runs if run.finished_at is not None and run.finished_at < before]
        return sorted(ended, key=lambda run: run.id)

    # --- audit -------------------------------------------------------------------------------

    async def audit(self, draft: AuditDraft, *, now: datetime) -> None:
        """See RunStore."""
        self._record(draft, now)

    def _record(self, draft: AuditDraft, now: datetime) -> None:
        trail = self._memory.audit
        previous = trail[-1].hash if trail else None
        trail.append(linked(draft, now=now, number=len(trail) + 1, previous=previous))

    async def audit_records(self, chosen: AuditFilter) -> list[AuditRecord]:
        """See RunStore."""
        found = [
            record
            for record in reversed(self._memory.audit)
            if chosen.tenant in {None, record.draft.tenant}
            and chosen.run_id in {None, record.draft.run_id}
            and chosen.action in {None, record.draft.action}
            and chosen.user in {None, record.draft.user}
            and (chosen.before is None or record.number < chosen.before)
        ]
        return found[: chosen.limit]

    # --- entities and namespaces -------------------------------------------------------------

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """See RunStore."""
        del now
        self._memory.entities[entity.ref] = entity

    async def entities(self) -> list[EntityDocument]:
        """See RunStore."""
        entities = self._memory.entities
        return [entities[ref] for ref in sorted(entities, key=astuple)]

    async def entity(self, *, kind: str, name: str) -> EntityDocument:
        """See RunStore."""
        for ref, entity in self._memory.entities.items():
            if (ref.kind, ref.name) == (kind, name):
                return entity
        raise EntityUnknown(f"The bridge has no entity {kind}:{name}.")

    async def put_namespace(self, name: str, *, record: Mapping[str, Any], now: datetime) -> None:
        """See RunStore."""
        del now
        self._memory.namespaces[name] = dict(record)

    async def namespaces(self) -> list[Mapping[str, Any]]:
        """See RunStore."""
        return [self._memory.namespaces[name] for name in sorted(self._memory.namespaces)]

    async def ping(self) -> None:
        """See RunStore."""
