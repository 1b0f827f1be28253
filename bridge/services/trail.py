"""The audit trail as a whole: read a page at a time, written out as JSON lines, verified.

Knows how much of it is held at a time. Must not know where it comes from or goes to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

from bridge.domain.audit import AuditRecord, Verifier, record_json
from bridge.ports import AuditFilter, RunStore

PAGE = 500


async def pages(
    store: RunStore, chosen: AuditFilter, *, size: int = PAGE
) -> AsyncIterator[Sequence[AuditRecord]]:
    """Every record that matches, newest first, in pages of *size*; the filter's limit is not used.

    Raises:
        StoreUnavailable: The store cannot be read; from the first page on.
    """
    chosen = replace(chosen, limit=size)
    while page := await store.audit_records(chosen):
        yield page
        if len(page) < size:
            return
        chosen = replace(chosen, before=page[-1].number)


def lines_of(records: Iterable[AuditRecord]) -> bytes:
    """Records as JSON lines, in their order."""
    shown = (json.dumps(record_json(record), ensure_ascii=False) for record in records)
    return "".join(f"{line}\n" for line in shown).encode("utf-8", "backslashreplace")


async def check_stored(store: RunStore, verifier: Verifier) -> None:
    """Give every record of *store* to *verifier*. Raises StoreUnavailable."""
    async for page in pages(store, AuditFilter()):
        for record in page:
            verifier.add(record_json(record))


def check_lines(lines: Iterable[bytes], verifier: Verifier) -> None:
    """Give every record of an export, newest first, to *verifier*.

    Raises:
        ValueError: A line is no JSON object; the text says which.
    """
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not JSON") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no record")  # noqa: TRY004 - bad text, no bad call
        verifier.add(record)
