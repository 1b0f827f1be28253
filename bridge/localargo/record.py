"""The calls that were carried out, kept for those who check a client.

Knows what a call was about; nothing is ever removed, also when the workflow is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.localargo.events import labels_of
from bridge.localargo.fault_rules import ACTIONS

RECORDED = ACTIONS | {"create", "delete"}


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call; `at` in Unix seconds, `changed` is false if it had no effect."""

    at: float
    call: str
    name: str
    uid: str
    labels: Mapping[str, str]
    changed: bool


class CallRecord:
    """All calls in the order in which they were carried out."""

    def __init__(self) -> None:
        self._calls: list[RecordedCall] = []

    def note(self, call: str, snapshot: Mapping[str, Any], *, at: float, changed: bool) -> None:
        """Add a call that was carried out on the workflow of a snapshot."""
        metadata = snapshot["metadata"]
        labels = dict(labels_of(snapshot))
        self._calls.append(
            RecordedCall(at, call, metadata["name"], metadata["uid"], labels, changed)
        )

    def calls(self) -> list[RecordedCall]:
        """What was noted so far."""
        return list(self._calls)
