"""The trail of who did what: its records, and the chain that shows where it was changed.

Knows a record's fields, its canonical text and how hashes link one record to the next. Must not
know who writes records, nor where they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request came from.

    ``address`` is the peer's that connected, which may be a proxy's; ``request`` the id of the
    request, which its client may have chosen.
    """

    address: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class AuditDraft:
    """Who did what, before it has its place in the trail.

    ``caller`` is the verified service, named after the verifier that vouched for it, ``user`` the
    person it spoke for; ``outcome`` one word or a stable error code.
    """

    action: str
    caller: str
    user: str | None = None
    run_id: str | None = None
    reason: str = ""
    outcome: str = "done"
    data: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the trail; ``number`` grows, records are never changed or removed."""

    number: int
    time: datetime
    draft: AuditDraft
