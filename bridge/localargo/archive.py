"""The workflow archive: what has ended, kept beyond its deletion.

Knows snapshots. Off unless `enabled` is set, as in a plain install of Argo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.localargo.events import DELETED, Event, labels_of
from bridge.localargo.workflow import FINAL_PHASES, LABEL

_STATUS_LABEL = LABEL + "workflow-archiving-status"
_PARTIAL = ("phase", "startedAt", "finishedAt", "progress", "message")

Snapshot = Mapping[str, Any]


class Archive:
    """Final states by uid, in the order of their end."""

    def __init__(self) -> None:
        self.enabled = False
        self._by_uid: dict[str, Snapshot] = {}

    def offer(self, event: Event) -> None:
        """Keep the state of an event if it is a final one; a deletion tells nothing new."""
        if not self.enabled or event.snapshot["status"].get("phase") not in FINAL_PHASES:
            return
        metadata = event.snapshot["metadata"]
        if event.type == DELETED and metadata["uid"] in self._by_uid:
            return
        labels = {**labels_of(event.snapshot), _STATUS_LABEL: "Persisted"}
        shown = {**metadata, "labels": dict(sorted(labels.items()))}
        self._by_uid[metadata["uid"]] = {**event.snapshot, "metadata": shown}

    def find(self, name: str, uid: str | None = None) -> Snapshot | None:
        """By uid if one is given, else the last that ended under the name."""
        if not self.enabled:
            return None
        if uid:
            return self._by_uid.get(uid)
        named = (s for s in reversed(self._by_uid.values()) if s["metadata"]["name"] == name)
        return next(named, None)

    def remove(self, uid: str) -> None:
        """Forget one that is there."""
        del self._by_uid[uid]

    def without(self, live: Iterable[Snapshot]) -> list[Snapshot]:
        """What is in the archive only."""
        if not self.enabled:
            return []
        uids = {snapshot["metadata"]["uid"] for snapshot in live}
        return [snapshot for uid, snapshot in self._by_uid.items() if uid not in uids]

    def listed(self) -> list[dict[str, Any]]:
        """All of them as a list of the archive shows them: without nodes, newest first."""
        return [
            {
                "metadata": snapshot["metadata"],
                "spec": {"arguments": {}},
                "status": {k: v for k, v in snapshot["status"].items() if k in _PARTIAL},
            }
            for snapshot in self.without(())[::-1]
        ]
