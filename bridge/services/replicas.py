"""Several replicas over one store: who owns which run, and who hears of what.

Knows leases, claims and the news of other replicas. Must not know what is done with a run: that
is what the callbacks are for. One replica over its own store uses the same code, alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.domain.commands import Command
from bridge.domain.errors import StoreUnavailable
from bridge.domain.runs import Run
from bridge.ports import Chance, Clock, RunStore
from bridge.services.journal import Journal
from bridge.services.streams import Streams

_log = logging.getLogger(__name__)

_BATCH = 500
_ALIVE_SHARE = 3
"""A lease is renewed this often within its time, so that one lost renewal costs nothing."""


class Replicas:
    """This replica among others."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        streams: Streams,
        clock: Clock,
        chance: Chance,
        lease: float = 10.0,
        poll: float = 2.0,
    ) -> None:
        self._store = store
        self._journal = journal
        self._streams = streams
        self._clock = clock
        self._chance = chance
        self._lease = lease
        self._poll = poll
        self._news: set[str] = set()
        self._woken = asyncio.Event()
        self.on_claimed: Callable[[list[Run]], Awaitable[None]] = _nothing
        self.on_command: Callable[[Command], object] = lambda _command: None

    async def claim(self) -> int:
        """Say that we live, and take over every run that nobody owns; how many."""
        await self._store.keep_lease(seconds=self._lease)
        claimed = 0
        while taken := await self._store.claim(limit=_BATCH):
            claimed += len(taken)
            for run in taken:
                self._journal.own(run)
            await self.on_claimed(taken)
        if claimed:
            await self._carry_on()
        return claimed

    async def keep(self) -> None:
        """Renew the lease and look for runs without an owner, for ever."""
        while True:
            try:
                claimed = await self.claim()
                if claimed:
                    _log.info("took over runs", extra={"runs": claimed})
            except StoreUnavailable as error:
                _log.warning("cannot keep the lease", extra={"reason": error.detail})
            await self._clock.sleep(self._chance.jitter(self._lease / _ALIVE_SHARE))

    async def release(self) -> None:
        """Let others take over at once; without a store the lease runs out by itself."""
        try:
            await self._store.release()
        except StoreUnavailable as error:
            _log.warning("cannot release the lease", extra={"reason": error.detail})

    async def listen(self) -> None:
        """Hear of what other replicas write, for ever; what is missed is asked for."""
        while True:
            try:
                await self._store.listen(self._told)
            except StoreUnavailable as error:
                _log.warning("cannot listen", extra={"reason": error.detail})
                await self._clock.sleep(self._chance.jitter(self._poll))

    def _told(self, run_id: str) -> None:
        self._streams.refresh(run_id)
        if self._journal.owns(run_id):
            self._news.add(run_id)
            self._woken.set()

    async def dispatch(self) -> None:
        """Carry news of our runs to whom they concern, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._news:
                await self._commands_of(self._news.pop())

    async def _commands_of(self, run_id: str) -> None:
        try:
            for command in await self._store.commands(run_id):
                if command.settled_at is None:
                    self.on_command(command)
        except StoreUnavailable:
            return  # the poll finds it

    async def poll(self) -> None:
        """Ask, for ever, for what may have been missed: commands, and events of others' runs."""
        while True:
            await self._clock.sleep(self._chance.jitter(self._poll))
            try:
                await self.catch_up()
            except StoreUnavailable as error:
                _log.warning("cannot ask for news", extra={"reason": error.detail})

    async def _carry_on(self) -> None:
        for command in await self._store.open_commands():
            self.on_command(command)

    async def catch_up(self) -> None:
        """Dispatch open commands, and refresh readers that are behind the store."""
        await self._carry_on()
        positions = {
            run_id: seq
            for run_id, seq in self._streams.positions().items()
            if not self._journal.owns(run_id)
        }
        if not positions:
            return
        heads = await self._store.heads(tuple(positions))
        for run_id, seq in positions.items():
            if heads.get(run_id, 0) > seq:
                self._streams.refresh(run_id)


async def _nothing(runs: list[Run]) -> None:
    del runs
