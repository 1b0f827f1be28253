"""The one connection that writes, and the thread that owns it.

Knows how to put many small writes into one durable commit. Must not know what is written. One
writer connection also keeps clear of SQLite's WAL-reset bug (research/reliability, section 5).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.domain.errors import StoreUnavailable
from bridge.domain.runs import Run

Work = Callable[["Session"], Any]

_BATCH = 512


class Session:
    """What a job works with: the connection, and the runs that this one writer has written.

    With a single writer the last written state of a run is its state, so it need not be read
    back. What a transaction remembers counts only once it is committed.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection
        self._known: dict[str, Run] = {}
        self._fresh: dict[str, Run] = {}

    def recall(self, run_id: str) -> Run | None:
        """The state of an open run, if it is remembered."""
        return self._fresh.get(run_id) or self._known.get(run_id)

    def remember(self, run: Run) -> None:
        """Take the state that this transaction gives a run."""
        self._fresh[run.id] = run

    def committed(self) -> None:
        """Keep what the transaction remembered; an ended run will not be written again."""
        self._known.update(self._fresh)
        for run in self._fresh.values():
            if run.finished:
                del self._known[run.id]
        self._fresh.clear()

    def rolled_back(self) -> None:
        """Forget what the transaction remembered."""
        self._fresh.clear()


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    answer: asyncio.Future[Any]


class Writer:
    """Runs jobs in the order in which they are put, many to a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._session = Session(connection)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def put(self, work: Work) -> asyncio.Future[Any]:
        """Queue *work*; the future has its result once it is committed."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, answer))
        return answer

    async def aclose(self) -> None:
        """Finish what is queued and close the connection."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _BATCH or self._jobs.empty():
                    break
                job = self._jobs.get()
            open_ = job is not None
            if batch:
                outcomes = self._commit(batch)
                self._loop.call_soon_threadsafe(_answer, batch, outcomes)
        self._session.db.close()

    def _commit(self, batch: list[_Job]) -> list[Any]:
        """One transaction for all; if any fails, one for each, so that it fails alone."""
        try:
            return self._transaction(batch)
        except Exception as error:  # noqa: BLE001 - a dead writer would leave all callers waiting
            if len(batch) == 1:
                return [_told(error)]
        return [outcome for job in batch for outcome in self._commit([job])]

    def _transaction(self, batch: list[_Job]) -> list[Any]:
        session = self._session
        session.db.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [job.work(session) for job in batch]
            session.db.execute("COMMIT")
        except BaseException:
            session.rolled_back()
            if session.db.in_transaction:
                session.db.execute("ROLLBACK")
            raise
        session.committed()
        return outcomes


def _told(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        told = StoreUnavailable(f"The run store failed: {error}")
        told.__cause__ = error
        return told
    return error


def _answer(batch: list[_Job], outcomes: list[Any]) -> None:
    for job, outcome in zip(batch, outcomes, strict=True):
        if job.answer.cancelled():
            continue
        if isinstance(outcome, Exception):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)
