"""How replicas tell each other which runs changed.

Knows NOTIFY's price: the transaction that notifies takes a lock on the whole database at its
commit (research/reliability, section 5), so ids are collected and told apart from the writes.
Nothing rests on a notice: it may be lost, and who must know asks as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

import psycopg

from bridge.adapters.postgres_session import conninfo
from bridge.domain.errors import StoreUnavailable

CHANNEL = "bridge_runs"

_EVERY_SECONDS = 0.1
_IDS_AT_ONCE = 200
"""With 26 characters an id, and a name of the replica, below the 8000 bytes of a payload."""
_SILENCE_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_PAUSES = (0.2, 5.0)

_log = logging.getLogger(__name__)


class Notices:
    """What this replica has to tell; *send* carries one payload to the database."""

    def __init__(self, *, replica: str, send: Callable[[str], Awaitable[object]]) -> None:
        self._replica = replica
        self._send = send
        self._changed: dict[str, None] = {}
        self._sending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def changed(self, run_ids: Iterable[str]) -> None:
        """Tell of these runs soon: at once after a quiet time, else with others."""
        self._changed.update(dict.fromkeys(run_ids))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def aclose(self) -> None:
        """Tell what is left, and stop."""
        self._closing.set()
        if self._sending is not None:
            await self._sending

    async def _send_all(self) -> None:
        while self._changed:
            await self._send_some()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _EVERY_SECONDS)
        self._sending = None

    async def _send_some(self) -> None:
        run_ids, self._changed = list(self._changed), {}
        for start in range(0, len(run_ids), _IDS_AT_ONCE):
            payload = " ".join([self._replica, *run_ids[start : start + _IDS_AT_ONCE]])
            try:
                await self._send(payload)
            except StoreUnavailable as error:
                _log.info("other replicas were not told of changes: %s", error)


async def listen(dsn: str, *, replica: str, told: Callable[[str], object]) -> None:
    """Call *told* with every run id that another replica tells of, until cancelled."""
    pause = _PAUSES[0]
    while True:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                connection = await psycopg.AsyncConnection.connect(conninfo(dsn), autocommit=True)
            async with connection:
                await _ask(connection, f"LISTEN {CHANNEL}")
                pause = _PAUSES[0]
                while True:
                    async for notice in connection.notifies(timeout=_SILENCE_SECONDS):
                        for run_id in told_by_others(notice.payload, replica=replica):
                            told(run_id)
                    await _ask(connection, "SELECT 1")  # silence may be a dead connection
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            _log.info("not listening to other replicas: %s", error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _PAUSES[1])


async def _ask(connection: psycopg.AsyncConnection, statement: str) -> None:
    async with asyncio.timeout(_ANSWER_SECONDS):
        await connection.execute(statement.encode())


def told_by_others(payload: str, *, replica: str) -> Iterator[str]:
    """The run ids of a notice, none if it is this replica's own."""
    sender, *run_ids = payload.split(" ")
    if sender != replica:
        yield from run_ids
