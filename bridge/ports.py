"""What the services need of the world, as protocols.

Knows the shape of each need in domain terms. Must not know any adapter: one contract suite per
port runs over all of them (tests/contract).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from bridge.domain.audit import AuditDraft, AuditRecord
from bridge.domain.commands import Command, Settlement
from bridge.domain.definitions import Catalogue
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.events import Event, EventDraft
from bridge.domain.logs import PodLine
from bridge.domain.policy import Scope
from bridge.domain.runs import Acceptance, NewRun, Run, RunChanges, RunStatus
from bridge.domain.workflows import Snapshot


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Chance(Protocol):
    """Ids and jitter."""

    def run_id(self) -> str:
        """A new run id: 26 lower-case characters, sortable by time."""
        ...

    def jitter(self, seconds: float) -> float:
        """Between half of *seconds* and all of it."""
        ...


# --- runs ------------------------------------------------------------------------------------


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


# --- Argo --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listing:
    """Workflows at one moment, and the version to watch from."""

    snapshots: tuple[Snapshot, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One frame of a watch. A bookmark's snapshot has only a resource version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    snapshot: Snapshot


class WorkflowEngine(Protocol):
    """One Argo server and namespace.

    Every method may raise EngineUnavailable (try again) and EngineForbidden (try again: tokens
    rotate), besides what it names itself.
    """

    @property
    def namespace(self) -> str:
        """Where the workflows live."""
        ...

    async def create(self, workflow: Mapping[str, Any]) -> Snapshot:
        """Create one workflow.

        Raises:
            WorkflowExists: The name is taken, perhaps by ourselves.
            TemplateMissing: The WorkflowTemplate is not installed.
            WorkflowRejected: Argo will never take it.
        """
        ...

    async def get(self, name: str, *, uid: str | None = None) -> Snapshot:
        """The workflow, live or archived. Raises WorkflowGone."""
        ...

    async def listing(self) -> Listing:
        """All workflows of this bridge."""
        ...

    def watch(
        self, *, resource_version: str
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """All changes of this bridge's workflows after *resource_version*.

        The iterator ends when the server rotates the watch. Raises WatchExpired.
        """
        ...

    def logs(
        self, workflow: str, *, pod: str, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[PodLine, ...]]]:
        """The lines of a pod's main container in the batches in which they come.

        With *follow* until the workflow ends. A cut stream ends like a finished one, because
        Argo's does (research/argo, section 1.5).
        """
        ...

    async def stop(self, name: str, *, terminate: bool = False) -> None:
        """Stop (exit handler runs) or terminate (it does not). An ended workflow is fine.

        Raises:
            WorkflowGone: There is no such workflow.
        """
        ...

    async def decide(
        self,
        name: str,
        *,
        node_id: str,
        approved: bool,
        message: str,
        outputs: Mapping[str, str],
    ) -> None:
        """Close the gate: it succeeds with *outputs*, or fails with *message*.

        Raises:
            GateClosed: No such node is suspended (any more).
            WorkflowGone: There is no such workflow.
        """
        ...

    async def retry(self, name: str) -> Snapshot:
        """Run the failed nodes of an ended workflow again: same name, same uid.

        Raises:
            WorkflowRejected: It has not failed, or runs already.
            WorkflowGone: There is no such workflow.
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete the workflow; a missing one is fine."""
        ...

    async def silent_templates(self, template: str) -> frozenset[str]:
        """Names of the steps of a WorkflowTemplate whose pods have no lines of a user.

        A ``resource`` step's container log is the executor's alone (argo-recordings, section 7).
        """
        ...

    async def ping(self) -> None:
        """Answer or raise."""
        ...

    def url(self, name: str, *, uid: str | None) -> str | None:
        """Where a person can look at the workflow, if that is configured."""
        ...


# --- Backstage -----------------------------------------------------------------------------------


class Catalog(Protocol):
    """The Backstage catalog. Raises CatalogUnavailable (try again) from any method."""

    async def register(self, entity: EntityDocument) -> None:
        """Make the catalog read the document now, whether or not it knows its location.

        Raises:
            CatalogRejected: The catalog will not read it; the text says what to configure.
        """
        ...

    async def unregister(self, entity: EntityDocument) -> None:
        """Make the catalog forget the document's location; an unknown one is fine."""
        ...

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """What the catalog shows, or None."""
        ...

    async def memberships(self, user: EntityRef) -> frozenset[str]:
        """References of the user and of every group it is a member of, directly or not."""
        ...

    def owns(self, document: Mapping[str, Any]) -> bool:
        """Whether a shown entity came from this bridge."""
        ...


class DefinitionSource(Protocol):
    """Where definitions come from."""

    def load(self, *, last_good: Catalogue) -> Catalogue:
        """Read everything again; what went bad keeps its last good version."""
        ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """Secrets as they may be stored, and a mark that is the same for the same secrets only."""

    text: str
    mark: str


class Vault(Protocol):
    """Seals what must not be stored in clear."""

    def seal(self, values: Mapping[str, str], *, run_id: str) -> Sealed:
        """Seal the secrets of a run, for that run only.

        Raises:
            SecretsUnreadable: There is no key.
        """
        ...

    def open(self, text: str, *, run_id: str) -> dict[str, str]:
        """What was sealed for the run.

        Raises:
            SecretsUnreadable: It was sealed with a key that is not there any more, or for another.
        """
        ...


class Subscriber(Protocol):
    """Somebody who is told of commits."""

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Called after the commit, in commit order per run; must not block."""
        ...


class KeySource(Protocol):
    """Public keys of token issuers."""

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """The JWK with this id, or None; *path* is the set's path in Backstage, or the issuer."""
        ...
