"""The Argo Server as a WorkflowEngine.

Knows its REST surface (research/argo, sections 1 and 7): create and never ``/submit``, one
shared watch on our own label, ``Accept: text/event-stream`` exactly, ``fields`` with ``error`` in
it. Must not know runs.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

from bridge.adapters.argo_answers import (
    Call,
    is_completed_shutdown,
    is_output_set,
    outputs_left,
)
from bridge.adapters.argo_responses import frames_of, json_of, unreachable
from bridge.adapters.http import (
    HttpClient,
    HttpError,
    Requester,
    Token,
    authorization,
    stream_timeout,
)
from bridge.domain.errors import EngineError, WorkflowGone
from bridge.domain.logs import PodLine, parse_line
from bridge.domain.workflows import Snapshot
from bridge.ports import Listing, WatchEvent

OnAnswer = Callable[[str, str, int | None, float | None], object]
"""Is told of each request: its kind (a Call), method, status (None: no answer) and seconds (None:
a stream)."""

_EVENT_STREAM = {"Accept": "text/event-stream"}

_OBJECT = (
    "metadata.name",
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.labels",
    "spec.suspend",
    "spec.shutdown",
    "spec.workflowTemplateRef",
    "status.phase",
    "status.message",
    "status.progress",
    "status.startedAt",
    "status.finishedAt",
    "status.outputs",
    "status.nodes",
)
_WATCH_FIELDS = ",".join(["error", "result.type", *(f"result.object.{path}" for path in _OBJECT)])
_LIST_FIELDS = ",".join(["metadata", *(f"items.{path}" for path in _OBJECT)])
_GET_FIELDS = ",".join(_OBJECT)


@dataclass(frozen=True, slots=True)
class ArgoTarget:
    """One Argo server and namespace.

    ``silence`` is how long a stream may say nothing: its first bytes may be 15 s away and
    keep-alives come every 15 s (argo-recordings, 1.2), so three of them. ``page`` is how many
    workflows one list call asks for.
    """

    namespace: str
    label_selector: str
    ui_url: str | None = None
    silence: float = 45.0
    page: int = 500


class ArgoEngine:
    """A WorkflowEngine over HTTP. Control calls and streams use connections of their own."""

    def __init__(
        self,
        target: ArgoTarget,
        *,
        control: Requester,
        streams: Callable[[], HttpClient],
        token: Token,
        on_answer: OnAnswer = lambda *_: None,
        on_heard: Callable[[], object] = lambda: None,
    ) -> None:
        """Args: *on_heard* is told of each chunk of a watch, be it a keep-alive.

        *streams* makes a client for one stream: streams are given up at any moment, and a pool
        loses a connection for good when that happens while it takes one back (ADR 0012).
        """
        self._target = target
        self._on_answer = on_answer
        self._on_heard = on_heard
        self._control = control
        self._streams = streams
        self._token = token
        self._workflows = f"/api/v1/workflows/{quote(target.namespace, safe='')}"
        self._events = f"/api/v1/workflow-events/{quote(target.namespace, safe='')}"

    @property
    def namespace(self) -> str:
        """See WorkflowEngine."""
        return self._target.namespace

    # --- unary calls -------------------------------------------------------------------------

    async def create(self, workflow: Mapping[str, Any]) -> Snapshot:
        """See WorkflowEngine."""
        body = {"namespace": self._target.namespace, "workflow": dict(workflow)}
        return Snapshot(await self._call("create", "POST", self._workflows, body=body))

    async def get(self, name: str, *, uid: str | None = None) -> Snapshot:
        """See WorkflowEngine."""
        query = {"fields": _GET_FIELDS}
        if uid:
            query["uid"] = uid
        return Snapshot(await self._call("get", "GET", self._path(name), query=query))

    async def listing(self) -> Listing:
        """See WorkflowEngine.

        A full page is followed by a look for another: v4.1.2 leaves ``continue`` out of the
        answer, and takes an offset there all the same (argo-recordings/list-workflows).
        """
        snapshots: list[Snapshot] = []
        version, offset = "", ""
        while True:
            query = {
                "listOptions.labelSelector": self._target.label_selector,
                "listOptions.limit": str(self._target.page),
                "fields": _LIST_FIELDS,
                **({"listOptions.continue": offset} if offset else {}),
            }
            page = await self._call("list", "GET", self._workflows, query=query)
            items = page.get("items") or ()
            snapshots.extend(Snapshot(item) for item in items)
            metadata = page.get("metadata") or {}
            # The first page's version: what changes while we page is then seen by the watch.
            version = version or str(metadata.get("resourceVersion", ""))
            told = metadata.get("continue")
            if not items or (not told and len(items) < self._target.page):
                return Listing(tuple(snapshots), version)
            offset = str(told or len(snapshots))

    async def stop(self, name: str, *, terminate: bool = False) -> None:
        """See WorkflowEngine."""
        verb = "terminate" if terminate else "stop"
        try:
            await self._call("control", "PUT", f"{self._path(name)}/{verb}", body={})
        except EngineError as error:
            if not is_completed_shutdown(error):
                raise

    async def decide(
        self,
        name: str,
        *,
        node_id: str,
        approved: bool,
        message: str,
        outputs: Mapping[str, str],
    ) -> None:
        """See WorkflowEngine.

        Argo writes phase, outputs and message in one update (its ``workflow/util``), so that a
        decision whose answer was lost is there as a whole or not at all: asking again finds the
        gate closed, or closes it.
        """
        gate = {"nodeFieldSelector": f"id={node_id}", "message": message}
        if not approved:
            await self._call("control", "PUT", f"{self._path(name)}/stop", body=gate)
            return
        try:
            await self._approve(name, gate, outputs)
        except EngineError as error:
            if not is_output_set(error):
                raise
            # Somebody has begun in Argo's own pages, which supply outputs and then resume.
            left = outputs_left(await self.get(name), node_id=node_id, outputs=outputs)
            await self._approve(name, gate, left)

    async def _approve(
        self, name: str, gate: Mapping[str, str], outputs: Mapping[str, str]
    ) -> None:
        supplied = {"outputParameters": json.dumps(dict(outputs))} if outputs else {}
        body = {**gate, "phase": "Succeeded", **supplied}
        await self._call("control", "PUT", f"{self._path(name)}/set", body=body)

    async def retry(self, name: str) -> Snapshot:
        """See WorkflowEngine."""
        path = f"{self._path(name)}/retry"
        return Snapshot(await self._call("control", "PUT", path, body={}))

    async def delete(self, name: str) -> None:
        """See WorkflowEngine."""
        try:
            await self._call("delete", "DELETE", self._path(name))
        except WorkflowGone:
            return

    async def silent_templates(self, template: str) -> frozenset[str]:
        """See WorkflowEngine."""
        place = quote(self._target.namespace, safe="")
        path = f"/api/v1/workflow-templates/{place}/{quote(template, safe='')}"
        found = await self._call("get", "GET", path)
        return frozenset(
            step["name"]
            for step in (found.get("spec") or {}).get("templates") or ()
            if "resource" in step and "name" in step
        )

    async def ping(self) -> None:
        """See WorkflowEngine."""
        query = {
            "listOptions.labelSelector": self._target.label_selector,
            "listOptions.limit": "1",
            "fields": "metadata",
        }
        await self._call("ping", "GET", self._workflows, query=query)

    def url(self, name: str, *, uid: str | None) -> str | None:
        """See WorkflowEngine."""
        if self._target.ui_url is None:
            return None
        place = f"{quote(self._target.namespace, safe='')}/{quote(name, safe='')}"
        query = f"?uid={quote(uid, safe='')}" if uid else ""
        return f"{self._target.ui_url.rstrip('/')}/workflows/{place}{query}"

    def _path(self, name: str) -> str:
        return f"{self._workflows}/{quote(name, safe='')}"

    async def _call(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        headers, began = authorization(self._token), monotonic()
        try:
            response = await self._control.request(
                method, path, params=query, json=body, headers=headers
            )
        except HttpError as error:
            self._on_answer(call, method, None, monotonic() - began)
            raise unreachable(error) from error
        self._on_answer(call, method, response.status_code, monotonic() - began)
        return json_of(call, response)

    # --- streams -----------------------------------------------------------------------------

    def watch(
        self, *, resource_version: str
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """See WorkflowEngine."""
        query = {
            "listOptions.labelSelector": self._target.label_selector,
            "listOptions.allowWatchBookmarks": "true",
            "fields": _WATCH_FIELDS,
            **({"listOptions.resourceVersion": resource_version} if resource_version else {}),
        }
        return self._watching(query)

    @asynccontextmanager
    async def _watching(self, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with self._batches("watch", self._events, query) as batches:
            yield (
                WatchEvent(frame["result"]["type"], Snapshot(frame["result"].get("object") or {}))
                async for batch in batches
                for frame in batch
                if "type" in (frame.get("result") or {})
            )

    def logs(
        self, workflow: str, *, pod: str, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[PodLine, ...]]]:
        """See WorkflowEngine."""
        query = {
            "podName": pod,
            "logOptions.container": "main",
            "logOptions.timestamps": "true",
            "logOptions.follow": "true" if follow else "false",
            **({"logOptions.tailLines": str(tail)} if tail is not None else {}),
        }
        return self._log_lines(f"{self._path(workflow)}/log", query)

    @asynccontextmanager
    async def _log_lines(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[tuple[PodLine, ...]]]:
        async with self._batches("log", path, query) as batches:
            yield (
                tuple(
                    parse_line(str((frame.get("result") or {}).get("content", "")))
                    for frame in batch
                )
                async for batch in batches
            )

    @asynccontextmanager
    async def _batches(
        self, call: Call, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
        """Decoded frames, as many as each chunk completes."""
        headers = {**_EVENT_STREAM, **authorization(self._token)}
        timeout = stream_timeout(read=self._target.silence)
        on_chunk = self._on_heard if call == "watch" else _ignored
        answered = False
        try:
            async with (
                self._streams() as http,
                http.stream(
                    "GET", path, params=query, headers=headers, timeout=timeout
                ) as response,
            ):
                answered = True
                self._on_answer(call, "GET", response.status_code, None)
                yield frames_of(call, response, on_chunk=on_chunk)
        except HttpError as error:
            if not answered:
                self._on_answer(call, "GET", None, None)
            raise unreachable(error) from error


def _ignored() -> None:
    """What nobody needs to be told."""
