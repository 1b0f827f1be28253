"""What people ask of a run that is under way.

Knows the verbs and who competes with whom. Must not know how a command reaches Argo, nor who may
give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What can be asked of an open run."""

    CANCEL = "cancel"
    TERMINATE = "terminate"
    APPROVE = "approve"
    REJECT = "reject"

    @property
    def asked(self) -> str:
        """The words for it once it has been asked, before ``by …``."""
        return _ASKED[self]


_ASKED = {
    Verb.CANCEL: "cancel requested",
    Verb.TERMINATE: "termination requested",
    Verb.APPROVE: "approved",
    Verb.REJECT: "rejected",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One durable request; it is carried out by the run's owner, however often that changes.

    ``by`` is the person, or the service if none is known; ``gate`` the id of the suspended node
    that is decided on, empty for the others; ``outputs`` what the approver filled in.
    """

    run_id: str
    verb: Verb
    by: str
    at: datetime
    gate: str = ""
    reason: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    outcome: str | None = None
    settled_at: datetime | None = None

    @property
    def slot(self) -> str:
        """What it competes for: the first command of a slot is the only one."""
        return f"gate:{self.gate}" if self.gate else str(self.verb)

    @property
    def because(self) -> str:
        """The reason as the end of a sentence; empty if none was given."""
        return f": {self.reason}" if self.reason else ""

    @property
    def line(self) -> str:
        """What was asked, by whom and why: for the log of the run, and for Argo."""
        return f"{self.verb.asked} by {self.by}{self.because}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a command went: what is written of it once it has been carried out."""

    slot: str
    outcome: str
