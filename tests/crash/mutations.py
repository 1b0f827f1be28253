"""Faults put into the product on purpose, one at a time: each must be found by the checker.

Knows the product from the inside, as somebody who breaks it would. Each function is named for
what the product does wrong afterwards; `MUTATIONS` lists them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.adapters import sql_runs
from bridge.adapters.argo import ArgoEngine
from bridge.adapters.postgres_session import PostgresSession
from bridge.adapters.sql_session import Session
from bridge.adapters.sql_writer import Writer
from bridge.bootstrap import Bridge
from bridge.domain.commands import Command
from bridge.domain.events import done, status
from bridge.domain.mapping import WorkflowFacts, entity_of, roots_of
from bridge.domain.runs import NewRun, Run, RunChanges, RunError, RunStatus
from bridge.domain.workflows import Snapshot
from bridge.ports import Commanded, Entry
from bridge.services.follower import Follower
from bridge.services.journal import Journal
from bridge.services.registration import Registrar
from bridge.services.runs import Runs
from bridge.services.streams import Streams, Subscription
from bridge.services.submission import Submitter
from bridge.services.tracking import Lines, Tracked


def _put(owner: Any, name: str, value: Any) -> Any:
    """Replace an attribute that exists; gives what was there."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


def creates_under_a_random_name() -> None:
    """A repeated creation is another workflow."""

    async def create(self: ArgoEngine, workflow: Mapping[str, Any]) -> Snapshot:
        metadata = {**workflow["metadata"]}
        metadata["name"] = f"{metadata['name'][:50]}-{secrets.token_hex(3)}"
        made: Snapshot = await before(self, {**workflow, "metadata": metadata})
        return made

    before = _put(ArgoEngine, "create", create)


def says_submitted_before_it_is() -> None:
    """The commit that ends the doubt comes before the creation."""

    async def begin(self: Submitter, run: Run) -> None:
        changes = RunChanges(status=RunStatus.RUNNING)
        await self._journal.write(run.id, status(RunStatus.RUNNING), changes=changes)

    _put(Submitter, "_begin", begin)


def creates_again_without_a_look() -> None:
    """A creation in doubt is repeated; Argo may have removed what the first one made."""

    async def made_before(self: Submitter, run: Run, engine: object) -> None:
        del self, run, engine

    _put(Submitter, "_made_before", made_before)


def writes_under_an_old_fence() -> None:
    """Whoever woke up late writes all the same."""

    def apply(run: Run, changes: RunChanges, **named: Any) -> Run | None:
        found: Run | None = before(run, changes, **{**named, "fence": None})
        return found

    before = _put(sql_runs, "apply_changes", apply)


def numbers_events_from_memory() -> None:
    """The place of an event comes from what this process wrote last."""

    def opened(self: PostgresSession, opener: Any) -> None:
        before(self, opener)
        self._sole_writer = True

    before = _put(PostgresSession, "__init__", opened)


def resumes_one_too_far() -> None:
    """A reader that comes back misses one event."""

    def subscribe(self: Streams, run_id: str, *, after: int) -> Subscription:
        found: Subscription = before(self, run_id, after=after + 1 if after else 0)
        return found

    before = _put(Streams, "subscribe", subscribe)


def resumes_one_too_early() -> None:
    """A reader that comes back sees one event again."""

    def subscribe(self: Streams, run_id: str, *, after: int) -> Subscription:
        found: Subscription = before(self, run_id, after=max(after - 1, 0))
        return found

    before = _put(Streams, "subscribe", subscribe)


def registers_before_the_end() -> None:
    """The entity is in the catalog as soon as the workflow is made."""
    registrars: list[Registrar] = []

    def made(self: Registrar, **named: Any) -> None:
        init(self, **named)
        registrars.append(self)

    async def register(registrar: Registrar, run: Run) -> None:
        definition = await registrar._actions.definition_of(run)
        facts = WorkflowFacts()
        roots = roots_of(run, definition=definition, site=registrar._site, workflow=facts)
        entity = entity_of(definition, roots=roots, run_id=run.id)
        if entity is not None and registrar._catalog is not None:
            await registrar._journal.write(run.id, entry=Entry(keeps=entity))
            await registrar._catalog.register(entity)

    def created(self: Follower, run: Run, snapshot: Snapshot) -> None:
        before(self, run, snapshot)
        self._tasks.spawn(register(registrars[0], run), name=f"early {run.id}")

    init = _put(Registrar, "__init__", made)
    before = _put(Follower, "created", created)


def keeps_commands_in_memory() -> None:
    """A command that was taken dies with the process."""

    def command(command: Command, entry: Entry, now: datetime, session: Session) -> Commanded:
        appended = sql_runs.append(command.run_id, entry, None, now, session)
        run = appended.run if appended is not None else session.run_to_write(command.run_id)
        return Commanded(command=command, fresh=appended is not None, appended=appended, run=run)

    _put(sql_runs, "command", command)


def looks_at_the_lock_too_early() -> None:
    """Whoever came within the last second is not seen, and no index decides."""

    def holder(lock: str | None, session: Session) -> Run | None:
        session.execute("DROP INDEX IF EXISTS runs_lock")
        found: Run | None = before(lock, session)
        young = found is not None and time.time() - found.created_at.timestamp() < 1
        return None if young else found

    before = _put(sql_runs, "_holder", holder)


def stores_the_cursor_later() -> None:
    """Lines are stored first, how far they reach with the next step."""

    def tell(self: Follower, tracked: Tracked, lines: Lines) -> None:
        logs = {**tracked.state.logs, lines.pod: lines.cursor}
        tracked.state = replace(tracked.state, logs=logs)
        self._commit(tracked, lines, events=lines.drafts, changes=RunChanges())

    _put(Follower, "_tell", tell)


def answers_before_it_commits() -> None:
    """Callers and readers are told what is not durable yet."""

    def transaction(self: Writer, batch: list[Any], written: list[str]) -> list[Any]:
        session = self._session
        session.begin()
        outcomes = [self._outcome(job) for job in batch]
        self._loop.call_soon_threadsafe(self._answer, batch, outcomes, [])
        time.sleep(0.03)
        session.commit()
        written += session.committed()
        return outcomes

    def answer(self: Writer, batch: list[Any], outcomes: list[Any], written: list[str]) -> None:
        new = [
            (job, out) for job, out in zip(batch, outcomes, strict=True) if not job.answer.done()
        ]
        before(self, [job for job, _ in new], [out for _, out in new], written)

    _put(Writer, "_transaction", transaction)
    before = _put(Writer, "_answer", answer)


def lets_two_decide() -> None:
    """An approval and a rejection do not compete."""
    slot = property(lambda self: f"{self.verb}:{self.gate}")
    _put(Command, "slot", slot)


def ends_in_two_commits() -> None:
    """The last event comes first, the status after it."""

    async def end(
        self: Journal, run: Run, *, status: RunStatus, error: RunError | None = None
    ) -> Run | None:
        last = done(run, status=status, seconds=0.0, error=error)
        await self.write(run.id, last)
        now = self._clock.now()
        changes = RunChanges(status=status, error=error, entity_ref=run.entity_ref, finished_at=now)
        return await self.write(run.id, changes=changes)

    _put(Journal, "end", end)


def forgets_keys() -> None:
    """Every request is a new run."""

    def new_run(self: Runs, request: Any) -> NewRun:
        found: NewRun = before(self, request)
        return replace(found, key=found.id)

    before = _put(Runs, "_new_run", new_run)


def forgets_to_register() -> None:
    """Who takes a run over does not go on with its registration."""

    async def take_up(self: Bridge, runs: list[Run]) -> None:
        await before(self, [run for run in runs if run.status is not RunStatus.REGISTERING])

    before = _put(Bridge, "_take_up", take_up)


MUTATIONS: Mapping[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (
        creates_under_a_random_name,
        says_submitted_before_it_is,
        creates_again_without_a_look,
        writes_under_an_old_fence,
        numbers_events_from_memory,
        resumes_one_too_far,
        resumes_one_too_early,
        registers_before_the_end,
        keeps_commands_in_memory,
        looks_at_the_lock_too_early,
        stores_the_cursor_later,
        answers_before_it_commits,
        lets_two_decide,
        ends_in_two_commits,
        forgets_keys,
        forgets_to_register,
    )
}


def mutate(name: str) -> None:
    """Break this process in the way *name*; nothing for an empty name."""
    if name:
        MUTATIONS[name]()
