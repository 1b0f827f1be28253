"""What may happen to a workflow beside what its template says.

Knows the questions that the engine asks. Who answers otherwise than `Undisturbed` is a test tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.localargo.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Removal:
    """Deletion `seconds` after the end; `unseen`: together with the end, in one change."""

    seconds: float = 0.0
    unseen: bool = False


class Fate(Protocol):
    """Asked once about each workflow when it is created, and at each of its ends."""

    def overlooks(self, workflow: Workflow) -> bool:
        """Whether the controller never looks at it."""
        ...

    def removal(self, workflow: Workflow) -> Removal | None:
        """When it is deleted; None leaves that to its own TTL."""
        ...


class Undisturbed:
    """Nothing else happens."""

    def overlooks(self, _workflow: Workflow) -> bool:
        """Never."""
        return False

    def removal(self, _workflow: Workflow) -> Removal | None:
        """As its TTL says."""
        return None
