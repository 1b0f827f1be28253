"""What the tests of the run stores share: runs with plain defaults, and writing to them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from bridge.domain.entities import EntityDocument, entity_document
from bridge.domain.events import EventDraft, log
from bridge.domain.runs import Run, RunChanges, RunStatus
from bridge.ports import Appended, Entry, RunStore
from tests.domain.making import NOW, new_run

LATER = NOW + timedelta(seconds=1)
ACCEPTED = log("accepted")


def run_id(number: int) -> str:
    """Ids that sort by their number."""
    return f"01kagw9zq6x3v5t7y8r2m4{number:04}"


async def accept(store: RunStore, number: int = 0, **fields) -> Run:
    """Accept a run that is like no other number's."""
    new = new_run(run_id(number), **{"key": f"key-{number}", **fields})
    return (await store.accept(new, first=ACCEPTED)).run


def write(
    store: RunStore, written: str, *events: EventDraft, fence: int | None = None, **changes
) -> asyncio.Future[Appended | None]:
    """Change a run in the plainest way."""
    return store.append(written, Entry(RunChanges(**changes), events), fence=fence, now=LATER)


async def move(store: RunStore, run: Run, *statuses: RunStatus, **fields) -> Run:
    """Take *run* through *statuses*; an end gets its time."""
    for status in statuses:
        finished = LATER if status.finished else None
        await write(store, run.id, status=status, **{"finished_at": finished, **fields})
    return await store.run(run.id)


def entity(
    name: str, *, kind: str = "Resource", title: str = "t", run: str | None = "r1"
) -> EntityDocument:
    """A document of the catalog."""
    return entity_document({"kind": kind, "metadata": {"name": name, "title": title}}, run_id=run)
