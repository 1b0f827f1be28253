"""Runs in memory, and real time and chance.

Knows the RunStore contract in its plainest form: it is what the SQL stores are compared with.
Must not be used where a restart may lose nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from ulid import ULID

from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import BridgeError, EntityUnknown, RunUnknown, StoreUnavailable
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


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See Clock."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(seconds)


class SystemChance:
    """ULIDs and a plain random generator."""

    def __init__(self) -> None:
        self._last = 0

    def run_id(self) -> str:
        """See Chance; within a millisecond ids still grow, so that lists keep their order."""
        self._last = max(int(ULID()), self._last + 1)
        return str(ULID.from_int(self._last)).lower()

    def jitter(self, seconds: float) -> float:
        """See Chance."""
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class MemoryStore:
    """A RunStore that lives as long as the process."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._events: dict[str, list[Event]] = {}
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._entities: dict[EntityRef, EntityDocument] = {}
        self._namespaces: dict[str, Mapping[str, Any]] = {}

    async def accept(self, new: NewRun, *, first: EventDraft) -> Acceptance:
        """See RunStore."""
        under_key = [
            run
            for run in self._runs.values()
            if (run.caller, run.action, run.key) == (new.caller, new.action, new.key)
        ]
        latest = max(under_key, key=lambda run: run.attempt, default=None)
        acceptance = decide_acceptance(new, latest=latest)
        if acceptance.replayed:
            return acceptance
        self._definitions[acceptance.run.definition_digest] = new.definition
        self._runs[new.id] = acceptance.run
        self._events[new.id] = []
        self._append(new.id, RunChanges(), (first,), new.created_at)
        return Acceptance(run=self._runs[new.id], replayed=False)

    def append(
        self, run_id: str, *, changes: RunChanges, events: Sequence[EventDraft], now: datetime
    ) -> asyncio.Future[Appended | None]:
        """See RunStore."""
        answer: asyncio.Future[Appended | None] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._append(run_id, changes, events, now))
        except (BridgeError, ValueError) as error:
            answer.set_exception(error)
        return answer

    def _append(
        self, run_id: str, changes: RunChanges, drafts: Sequence[EventDraft], now: datetime
    ) -> Appended | None:
        before = self._runs.get(run_id)
        if before is None:
            raise RunUnknown(f"There is no run {run_id!r}.")
        after = apply_changes(before, changes, now=now, events=len(drafts))
        if after is None:
            return None
        events = tuple(
            Event(run_id, seq, now, draft)
            for seq, draft in enumerate(drafts, start=before.last_seq + 1)
        )
        self._runs[run_id] = after
        self._events[run_id].extend(events)
        return Appended(run=after, events=events)

    async def run(self, run_id: str) -> Run:
        """See RunStore."""
        if run_id not in self._runs:
            raise RunUnknown(f"There is no run {run_id!r}.")
        return self._runs[run_id]

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """See RunStore."""
        found = [
            run
            for run in self._runs.values()
            if chosen.status in {None, run.status}
            and chosen.action in {None, run.action}
            and (chosen.before is None or run.id < chosen.before)
        ]
        return sorted(found, key=lambda run: run.id, reverse=True)[: chosen.limit]

    async def open_runs(self) -> list[Run]:
        """See RunStore."""
        found = [run for run in self._runs.values() if run.finished_at is None]
        return sorted(found, key=lambda run: run.id)

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """See RunStore."""
        return self._events.get(run_id, [])[after : after + limit]

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """See RunStore."""
        if digest not in self._definitions:
            raise StoreUnavailable(f"The run store has lost definition {digest}.")
        return self._definitions[digest]

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """See RunStore."""
        del now
        self._entities[entity.ref] = entity

    async def remove_entity(self, ref: EntityRef) -> None:
        """See RunStore."""
        self._entities.pop(ref, None)

    async def entities(self) -> list[EntityDocument]:
        """See RunStore."""
        return [self._entities[ref] for ref in sorted(self._entities, key=astuple)]

    async def entity(self, *, kind: str, name: str) -> EntityDocument:
        """See RunStore."""
        for ref, entity in self._entities.items():
            if (ref.kind, ref.name) == (kind, name):
                return entity
        raise EntityUnknown(f"The bridge has no entity {kind}:{name}.")

    async def put_namespace(self, name: str, *, record: Mapping[str, Any], now: datetime) -> None:
        """See RunStore."""
        del now
        self._namespaces[name] = dict(record)

    async def namespaces(self) -> list[Mapping[str, Any]]:
        """See RunStore."""
        return [self._namespaces[name] for name in sorted(self._namespaces)]

    async def ping(self) -> None:
        """See RunStore."""
