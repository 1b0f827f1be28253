"""Changes of workflows and those who watch them: the part the Kubernetes API plays in a watch.

Knows snapshots, labels and resource versions. Knows nothing of HTTP framing, nor of how a
workflow comes to change. One process, one event loop: nothing here awaits while it mutates.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bridge.localargo.encoding import encode
from bridge.localargo.errors import internal, too_old
from bridge.localargo.masks import FieldMask
from bridge.localargo.selectors import Selector

ADDED, MODIFIED, DELETED, BOOKMARK = "ADDED", "MODIFIED", "DELETED", "BOOKMARK"
_WARM = 256  # events whose bytes are kept


@dataclass(slots=True, eq=False)
class Event:
    """One change. `snapshot` is never changed afterwards; its bytes are made once per mask."""

    type: str
    version: int
    snapshot: Mapping[str, Any]
    previous: Mapping[str, Any] | None = None
    _frames: dict[tuple[str, FieldMask], bytes] = field(default_factory=dict)

    def frame(self, mask: FieldMask, type_: str | None = None) -> bytes:
        """`{"result":{"type":…,"object":…}}` through the mask, without any framing."""
        kind = type_ or self.type
        known = self._frames.get((kind, mask))
        if known is None:
            snapshot = self.snapshot
            if kind == DELETED and self.type != DELETED:
                snapshot = _old_state(self)
            known = encode(mask.frame({"result": {"type": kind, "object": snapshot}}))
            self._frames[kind, mask] = known
        return known

    def cool(self) -> None:
        """Forget the bytes: watchers have had their time, and others can make them anew."""
        self._frames.clear()

    def seen_through(self, selector: Selector) -> str | None:
        """The type under which a watcher with this selector sees the event; None if not at all.

        An object whose labels stop matching is seen as DELETED though it exists
        (argo-recordings/watch-labelselector).
        """
        now = selector.matches(labels_of(self.snapshot))
        if self.type != MODIFIED or self.previous is None:
            return self.type if now else None
        before = selector.matches(labels_of(self.previous))
        if before:
            return MODIFIED if now else DELETED
        return ADDED if now else None


def before(event: Event) -> Event | None:
    """The state that a MODIFIED replaced, as the event that a stale copy of it would make."""
    if event.previous is None:
        return None
    version = int(event.previous["metadata"]["resourceVersion"])
    return Event(MODIFIED, version, event.previous)


def labels_of(snapshot: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object."""
    labels: Mapping[str, str] = snapshot["metadata"].get("labels", {})
    return labels


def _key(event: Event) -> tuple[str, str]:
    metadata = event.snapshot["metadata"]
    return metadata["namespace"], metadata["name"]


def _old_state(event: Event) -> Mapping[str, Any]:
    old = event.previous or event.snapshot
    return {**old, "metadata": {**old["metadata"], "resourceVersion": str(event.version)}}


class Watcher:
    """One watch: a queue that the log fills and one reader empties. A slow reader loses nothing."""

    def __init__(
        self, namespace: str, selector: Selector, *, name: str | None = None, after: int = 0
    ) -> None:
        self._namespace = namespace
        self._selector = selector
        self._name = name
        self._after = after
        self._queue: deque[tuple[str, Event]] = deque()
        self._filled = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Queue the event if it is new to this watch and the selector lets it through."""
        if event.version <= self._after:
            return
        kind = event.seen_through(self._selector) if self._covers(event) else None
        if kind is not None:
            self._put(kind, event)

    def show(self, event: Event, kind: str = ADDED) -> None:
        """Queue an object as it is, if it is selected."""
        if self._covers(event) and self._selector.matches(labels_of(event.snapshot)):
            self._put(kind, event)

    def _covers(self, event: Event) -> bool:
        namespace, name = _key(event)
        return namespace == self._namespace and self._name in {None, name}

    def _put(self, kind: str, event: Event) -> None:
        self._queue.append((kind, event))
        self._filled.set()

    async def take(self) -> list[tuple[str, Event]]:
        """All queued events with the type to show; waits for the first."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        return self.queued()

    def queued(self) -> list[tuple[str, Event]]:
        """The same without waiting."""
        batch = list(self._queue)
        self._queue.clear()
        return batch


class EventLog:
    """The resource versions, the latest state of every workflow and a window of past events."""

    def __init__(self, window: int) -> None:
        self._version = 1000  # a fresh cluster has used some already; 0 and 1 mean other things
        self._latest: dict[tuple[str, str], Event] = {}
        self._ring: deque[Event] = deque(maxlen=window)
        self._oldest = self._version  # the highest version that has left the window
        self._watchers: set[Watcher] = set()
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def version(self) -> int:
        """The resource version of the latest change."""
        return self._version

    @property
    def watched(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    def next_version(self) -> int:
        """Take the next resource version; every written object carries one."""
        self._version += 1
        return self._version

    def get(self, namespace: str, name: str) -> Event | None:
        """The latest event of a workflow that exists."""
        return self._latest.get((namespace, name))

    def all(self, namespace: str) -> Iterable[Event]:
        """The latest event of every workflow of the namespace, oldest first."""
        return (event for (where, _), event in self._latest.items() if where == namespace)

    def publish(self, type_: str, snapshot: Mapping[str, Any]) -> Event:
        """Record a change whose snapshot already carries its resource version; tell watchers."""
        metadata = snapshot["metadata"]
        key = (metadata["namespace"], metadata["name"])
        old = self._latest.get(key)
        event = Event(
            type_,
            int(metadata["resourceVersion"]),
            snapshot,
            old.snapshot if old and type_ == MODIFIED else None,
        )
        if type_ == DELETED:
            self._latest.pop(key, None)
        else:
            self._latest[key] = event
        if len(self._ring) == self._ring.maxlen and self._ring:
            self._oldest = self._ring[0].version
        self._ring.append(event)
        if len(self._ring) > _WARM:
            self._ring[-_WARM].cool()
        for watcher in self._watchers:
            watcher.offer(event)
        for listener in self._listeners:
            listener(event)
        return event

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have every later event told to a function."""
        self._listeners.append(listener)

    def repeat(self, event: Event) -> None:
        """Show an event to the open watches once more, as MODIFIED."""
        for watcher in self._watchers:
            watcher.show(event, MODIFIED)

    def compact(self) -> None:
        """Forget all past events, as the Kubernetes API does after some minutes."""
        self._ring.clear()
        self._oldest = self._version

    def past(self, namespace: str, changes: int) -> tuple[int, list[Mapping[str, Any]]]:
        """The version and the workflows of the namespace before the last so many changes.

        Like a cache that lags behind. It cannot lag further than the window of past events.
        """
        undone = list(islice(reversed(self._ring), changes))
        version = undone[-1].version - 1 if undone else self._version
        found = [event for event in self.all(namespace) if event.version <= version]
        missing = {_key(event) for event in undone}
        for event in reversed(self._ring) if missing else ():
            if event.version <= version and _key(event) in missing:
                missing.remove(_key(event))
                if event.type != DELETED:
                    found.append(event)
        return version, [event.snapshot for event in found]

    def watch(self, namespace: str, *, selector: Selector, name: str | None, since: str) -> Watcher:
        """Open a watch; close it with `unwatch`.

        Args:
            namespace: only objects of this namespace exist for the watch.
            selector: on labels.
            name: only this workflow, if given.
            since: `""` or `"0"`: first everything that exists as ADDED; else what came after.

        Raises:
            ArgoError: 400 for a version that has left the window, 500 for one that is no number.
        """
        if since in {"", "0"}:
            watcher = Watcher(namespace, selector, name=name)
            for event in self._latest.values():
                watcher.show(event)
        else:
            version = _parse_version(since)
            watcher = Watcher(namespace, selector, name=name, after=version)
            for event in self._after(version):
                watcher.offer(event)
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Close a watch; harmless when it is closed."""
        self._watchers.discard(watcher)

    def _after(self, version: int) -> list[Event]:
        if version < self._oldest:
            raise too_old(str(version), self._oldest)
        found = []
        for event in reversed(self._ring):
            if event.version <= version:
                break
            found.append(event)
        return found[::-1]


def _parse_version(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise internal(
            f'resourceVersion: Invalid value: "{text}": '
            f'strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)
