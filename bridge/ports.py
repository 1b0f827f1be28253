"""What the services need of the world, as protocols.

Knows the shape of each need in domain terms. Must not know any adapter: one contract suite per
port runs over all of them (tests/contract).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from bridge.domain.definitions import Catalogue
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.events import Event, EventDraft
from bridge.domain.logs import PodLine
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
class RunFilter:
    """Which runs to list; ``before`` is the id after which (backwards) the page starts."""

    status: RunStatus | None = None
    action: str | None = None
    before: str | None = None
    limit: int = 50


class RunStore(Protocol):
    """Durable runs, events, entity documents and namespace records.

    Raises StoreUnavailable from any method when the store cannot be used.
    """

    async def accept(self, new: NewRun, *, first: EventDraft) -> Acceptance:
        """Insert the run and its first event, or find the one under its key, in one transaction.

        Raises:
            IdempotencyKeyReused: The key was used with other input.
        """
        ...

    def append(
        self, run_id: str, *, changes: RunChanges, events: Sequence[EventDraft], now: datetime
    ) -> asyncio.Future[Appended | None]:
        """Change a run and add events in one durable commit; None if the run has ended already.

        Calls take effect in the order in which they are made, not awaited.

        Raises:
            RunUnknown: There is no such run.
            ValueError: The status cannot change like that.
        """
        ...

    async def run(self, run_id: str) -> Run:
        """One run. Raises RunUnknown."""
        ...

    async def runs(self, chosen: RunFilter) -> list[Run]:
        """Runs, newest first."""
        ...

    async def open_runs(self) -> list[Run]:
        """Every run that has not ended, oldest first."""
        ...

    async def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """Events with ``seq > after``, in order."""
        ...

    async def definition(self, digest: str) -> Mapping[str, Any]:
        """The definition that a run was accepted under."""
        ...

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """Insert or replace a document."""
        ...

    async def remove_entity(self, ref: EntityRef) -> None:
        """Forget a document; unknown is fine."""
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

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """What the catalog shows, or None."""
        ...

    def owns(self, document: Mapping[str, Any]) -> bool:
        """Whether a shown entity came from this bridge."""
        ...


class DefinitionSource(Protocol):
    """Where definitions come from."""

    def load(self, *, last_good: Catalogue) -> Catalogue:
        """Read everything again; what went bad keeps its last good version."""
        ...


class Subscriber(Protocol):
    """Somebody who is told of commits."""

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Called after the commit, in commit order per run; must not block."""
        ...


class KeySource(Protocol):
    """Public keys of token issuers."""

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """The JWK with this id from the key set at *path* of the issuer, or None."""
        ...
