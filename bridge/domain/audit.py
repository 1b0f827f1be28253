"""The trail of who did what: its records, and the chain that shows where it was changed.

Knows a record's fields, its canonical text and how hashes link one record to the next. Must not
know who writes records, nor where they are kept.

A record's hash is the SHA-256 of its JSON without ``hash``: sorted keys, no blanks, all but ASCII
escaped. ``previous``, the hash of the record before it, is a part of that. Whoever can write the
store can compute every hash anew, so a hash that is known from elsewhere is what the chain hangs
on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from bridge.domain.callers import DEFAULT_TENANT, Source
from bridge.domain.mapping import timestamp

GENESIS = "0" * 64
"""What stands in the place of a hash before the first record."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


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
    tenant: str = DEFAULT_TENANT
    source: Source = field(default_factory=Source)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the trail; records are never changed or removed.

    ``number`` counts from 1 without gaps. Records of before there was a chain have no hashes.
    """

    number: int
    time: datetime
    draft: AuditDraft
    previous: str = ""
    hash: str = ""


def linked(draft: AuditDraft, *, now: datetime, number: int, previous: str | None) -> AuditRecord:
    """The record after the one with the hash *previous*, or the first one that has a hash.

    Its time is cut to the milliseconds that are shown: what is shown is what the hash covers.
    """
    time = now.replace(microsecond=now.microsecond // 1000 * 1000)
    before = previous or GENESIS
    unsealed = AuditRecord(number, time, draft, before)
    return AuditRecord(number, time, draft, before, hash_of(record_json(unsealed)))


def record_json(record: AuditRecord) -> dict[str, Any]:
    """A record as the API and an export show it."""
    draft = record.draft
    return {
        "number": record.number,
        "time": timestamp(record.time),
        "tenant": draft.tenant,
        "action": draft.action,
        "run": draft.run_id,
        "caller": draft.caller,
        "user": draft.user,
        "source": {"address": draft.source.address, "request": draft.source.request},
        "reason": draft.reason,
        "outcome": draft.outcome,
        "data": dict(draft.data),
        "previous": record.previous,
        "hash": record.hash,
    }


def hash_of(record: Mapping[str, Any]) -> str:
    """The hash, in hex, that belongs to a shown record, whatever hash it shows."""
    covered = {name: value for name, value in record.items() if name != "hash"}
    return sha256(_CANONICAL.encode(covered).encode()).hexdigest()


class Verifier:
    """Follows a chain from its newest record back to its first, one record at a time."""

    def __init__(self, *, head: str | None = None) -> None:
        """Args: *head* is a hash that the trail is known to have had at some time."""
        self._head = head
        self._newer: Mapping[str, Any] | None = None
        self._problem: str | None = None
        self.newest = ""
        self.linked = 0
        self.older = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take the next older record, as it is shown."""
        number, found = record.get("number"), str(record.get("hash") or "")
        newer, self._newer = self._newer, record
        if self._head is not None and found == self._head:
            self._head = None
        if not found:
            self.older += 1
            if newer is not None and newer.get("previous") not in {"", GENESIS}:
                self._problem = f"record {number} has no hash, but there is a chain before it"
            return
        self.newest = self.newest or found
        self.linked += 1
        if hash_of(record) != found:
            self._problem = f"record {number} was changed"
        elif newer is not None and not _follows(newer, record):
            self._problem = _unlinked(number, newer)

    def problem(self) -> str | None:
        """What is wrong with the oldest record that is not as it was; None for a sound chain.

        Everything before that record is as it was.
        """
        last = self._newer or {}
        if last.get("previous") not in {None, "", GENESIS}:
            return f"the records before {last.get('number')} are missing"
        if self._problem is None and self._head is not None:
            return (
                f"no record has the hash {self._head}: the trail was cut or written anew, or the "
                "hash is that of another trail"
            )
        return self._problem


def _follows(newer: Mapping[str, Any], older: Mapping[str, Any]) -> bool:
    number = older.get("number")
    adjacent = isinstance(number, int) and newer.get("number") == number + 1
    is_linked = bool(newer.get("hash")) and newer.get("previous") == older.get("hash")
    return adjacent and is_linked


def _unlinked(number: object, newer: Mapping[str, Any]) -> str:
    following = newer.get("number")
    if isinstance(number, int) and isinstance(following, int) and following > number + 1:
        one = following == number + 2
        gap = f"record {number + 1} is" if one else f"records {number + 1} to {following - 1} are"
        return f"{gap} missing between {number} and {following}"
    return (
        f"record {following} was not written after record {number} as it stands: one was changed, "
        "put in, or moved"
    )
