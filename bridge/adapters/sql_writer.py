"""The one connection that writes, and the thread that owns it.

Knows how to put many small writes into one durable commit. Must not know what is written. In
SQLite one writer also keeps clear of the WAL-reset bug (research/reliability, section 5).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.adapters.sql_session import Session
from bridge.domain.errors import BridgeError

T = TypeVar("T")

_BATCH = 512
_ATTEMPTS = 8
"""Tries of one job that others disturb; each failure means that another one got through."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Session], Any]
    answer: asyncio.Future[Any]


class Writer:
    """Runs jobs in the order in which they are put, many to a transaction.

    *finish* ends each transaction, after its jobs. *on_commit* is called in the event loop with the
    ids of the runs that were written.
    """

    def __init__(
        self,
        session: Session,
        *,
        finish: Callable[[Session], object] = lambda _: None,
        on_commit: Callable[[list[str]], object] = lambda _: None,
    ) -> None:
        self._session = session
        self._finish = finish
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Job] = []
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[Session], T]) -> asyncio.Future[T]:
        """Queue *work*; the future has its result once it is committed."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Job(work, answer))
        return answer

    def _hand_over(self) -> None:
        """Give the thread all that one turn of the loop has put, for one commit.

        Woken by the first job, it would commit that one alone, and contend for the interpreter
        with the loop that is about to put the others.
        """
        if self._gathered:
            self._jobs.put(self._gathered)
            self._gathered = []

    async def aclose(self) -> None:
        """Finish what is queued and close the connection."""
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[_Job] = []
            jobs = self._jobs.get()
            while jobs is not None:
                batch += jobs
                if len(batch) >= _BATCH or self._jobs.empty():
                    break
                jobs = self._jobs.get()
            open_ = jobs is not None
            if batch:
                written: list[str] = []
                outcomes = self._commit(batch, written)
                self._loop.call_soon_threadsafe(self._answer, batch, outcomes, written)
        self._session.close()

    def _commit(self, batch: list[_Job], written: list[str]) -> list[Any]:
        """One transaction for all; if it fails, one for each, so that each fails alone."""
        try:
            return self._transaction(batch, written)
        except Exception as error:  # noqa: BLE001 - a dead writer would leave all callers waiting
            if self._session.lost:  # it may be committed all the same: never do it again
                return [self._session.told(error)] * len(batch)
        return [self._alone(job, written) for job in batch]

    def _alone(self, job: _Job, written: list[str]) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._transaction([job], written)[0]
            except Exception as error:  # noqa: BLE001 - as above
                disturbed = self._session.passing(error) and not self._session.lost
                if not disturbed or attempt == _ATTEMPTS:
                    return self._session.told(error)
        raise AssertionError("the last attempt returns")

    def _transaction(self, batch: list[_Job], written: list[str]) -> list[Any]:
        session = self._session
        session.begin()
        try:
            outcomes = [self._outcome(job) for job in batch]
            self._finish(session)
            session.commit()
        except BaseException:
            session.rolled_back()
            session.rollback()
            raise
        written += session.committed()
        return outcomes

    def _outcome(self, job: _Job) -> Any:
        """What the job gives; a refusal that comes before it wrote anything harms no other."""
        before = self._session.writes
        try:
            return job.work(self._session)
        except (BridgeError, ValueError) as refusal:
            if self._session.writes != before:
                raise
            return refusal

    def _answer(self, batch: list[_Job], outcomes: list[Any], written: list[str]) -> None:
        for job, outcome in zip(batch, outcomes, strict=True):
            if job.answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)
        if written:
            self._on_commit(written)
