"""Argo, as far as the bridge needs it: workflows, their watch, their pods' lines.

Knows workflows in domain terms. Must not know HTTP or Argo's documents.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bridge.domain.logs import PodLine
from bridge.domain.workflows import Snapshot


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
