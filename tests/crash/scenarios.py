"""What people and scaffolder tasks do with the bridge, drawn by chance.

Knows actions of this folder and the clients. Each scenario leaves its runs with an end in sight:
a run that would wait for a person is decided on or cancelled, once and durably.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.crash.clients import Client
from tests.crash.evidence import ENDS
from tests.crash.points import drawing

_JUDGES = ("judge-a", "judge-b")
_VERBS = ("approve", "reject")
_SOON = (0.05, 1.0)
_QUEUES = ("queue-a", "queue-b")


@dataclass(slots=True)
class People:
    """Scenarios under numbers, so many at a time."""

    client: Client
    rng: random.Random
    name: str
    at_once: int
    started: int = 0
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def keep_busy(self) -> None:
        """Begin scenarios, for ever, whenever there is room."""
        while True:
            while len(self.under_way) < self.at_once:
                self.started += 1
                task = asyncio.ensure_future(self._one(self.started))
                self.under_way.add(task)
                task.add_done_callback(self._over)
            await asyncio.sleep(self.rng.uniform(0.02, 0.1))

    def _over(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.client.history.faults.append(f"a scenario ended with {error!r}")

    async def _one(self, number: int) -> None:
        rng = drawing(f"{self.name}:{number}")
        scenarios: dict[Callable[[Scenario], Awaitable[None]], float] = {
            Scenario.steps: 5,
            Scenario.gate: 4,
            Scenario.fail: 2,
            Scenario.hold: 2,
            Scenario.refuse: 1.5,
            Scenario.queue: 2,
            Scenario.torn: 1,
        }
        chosen = rng.choices(tuple(scenarios), tuple(scenarios.values()))[0]
        await chosen(Scenario(self.client, rng, number))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One person with something to do."""

    client: Client
    rng: random.Random
    number: int

    # --- what they do ------------------------------------------------------------------------

    async def steps(self) -> None:
        """Two steps; perhaps asked for twice, perhaps cancelled, then perhaps tried again."""
        key, name = f"steps-{self.number}", f"steps-{self.number}"
        run = await self._submit("crash:steps", key, name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(run))
            group.create_task(self._repeat("crash:steps", key, name))
            if self.rng.random() < 0.25:
                group.create_task(self._end(run))
        if (await self.client.run(run))["status"] != "succeeded" and self.rng.random() < 0.7:
            await self._read(await self._submit("crash:steps", key, name))

    async def gate(self) -> None:
        """A gate that several people decide on; a rejected one perhaps again in Argo."""
        run = await self._submit("crash:gate", f"gate-{self.number}", f"gate-{self.number}")
        await self._through(run)
        status = (await self.client.run(run))["status"]
        if status == "failed" and self.rng.random() < 0.5:
            await self._through(await self._retry(run, "workflow"))

    async def fail(self) -> None:
        """A failure that two people want to try again at the same moment."""
        key = f"fail-{self.number}"
        run = await self._submit("crash:fail", key, key)
        await self._read(run)
        chance = self.rng.random()
        if chance < 0.6:
            mode = "workflow" if chance < 0.3 else "attempt"
            following = {await self._retry(run, mode)}
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(self._retry(run, mode))
            for each in following:
                await self._read(each)
        elif chance < 0.8:
            await self._read(await self._submit("crash:fail", key, key))

    async def hold(self) -> None:
        """A run without an end of its own."""
        key = f"hold-{self.number}"
        run = await self._submit("crash:hold", key, key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(run))
            group.create_task(self._end(run))

    async def refuse(self) -> None:
        """Two runs on one thing: one of them may be refused."""
        name = f"refuse-{self.rng.randint(1, 2)}"

        async def one(number: int) -> None:
            key = f"{name}-{self.number}-{number}"
            run = await self.client.submit("crash:refuse", {"name": name}, key=key)
            if run is not None:
                await self._read(run)

        async with asyncio.TaskGroup() as group:
            group.create_task(one(1))
            group.create_task(one(2))

    async def torn(self) -> None:
        """A failure with a lock, tried again in Argo while others may want the same thing."""
        key, name = f"torn-{self.number}", f"torn-{self.rng.randint(1, 2)}"
        run = await self.client.submit("crash:torn", {"name": name}, key=key)
        if run is None:
            return
        await self._read(run)
        await asyncio.sleep(self.rng.uniform(0, 0.3))
        again = await self._retry(run, "workflow")
        if again != run:
            await self._read(again)

    async def queue(self) -> None:
        """Runs on one thing, one after the other; one perhaps cancelled while it waits."""
        name = self.rng.choice(_QUEUES)

        async def one(number: int) -> None:
            action = "crash:remove" if self.rng.random() < 0.3 else "crash:queue"
            run = await self._submit(action, f"{name}-{self.number}-{number}", name)
            if self.rng.random() < 0.2:
                await self._end(run)
            await self._read(run)

        async with asyncio.TaskGroup() as group:
            for number in range(self.rng.randint(1, 3)):
                group.create_task(one(number))

    # --- how they do it ----------------------------------------------------------------------

    async def _submit(self, action: str, key: str, name: str) -> str:
        run = await self.client.submit(action, {"name": name}, key=key)
        if run is None:
            raise RuntimeError(f"{action} under {key} was refused")
        return run

    async def _read(self, run: str) -> None:
        """Read a run to its end, perhaps twice at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(1 + (self.rng.random() < 0.3)):
                group.create_task(self.client.read(run))

    async def _repeat(self, action: str, key: str, name: str) -> None:
        """Ask for the same again, and for other things under the same key."""
        while self.rng.random() < 0.5:
            await asyncio.sleep(self.rng.uniform(*_SOON))
            given = {"name": name}
            if self.rng.random() < 0.3:
                given["note"] = "other"
            await self.client.submit(action, given, key=key)

    async def _end(self, run: str) -> None:
        await asyncio.sleep(self.rng.uniform(*_SOON))
        verb = "terminate" if self.rng.random() < 0.3 else "cancel"
        await self.client.command(run, verb, body={"reason": "enough"})
        if self.rng.random() < 0.3:
            await self.client.command(run, "terminate")

    async def _retry(self, run: str, mode: str) -> str:
        answer = await self.client.command(run, "retry", body={"mode": mode})
        return str(answer.body.get("id", run))

    async def _through(self, run: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(run))
            for _ in range(self.rng.randint(1, 3)):
                group.create_task(self._decide(run))

    async def _decide(self, run: str) -> None:
        """Decide until somebody's decision has been taken."""
        judge, verb = self.rng.choice(_JUDGES), self.rng.choices(_VERBS, (3, 1))[0]
        while True:
            await asyncio.sleep(self.rng.uniform(0.05, 0.4))
            answer = await self.client.command(run, verb, by=judge, body={"reason": "seen"})
            if answer.status in {200, 202} or answer.body.get("code") == "already_decided":
                return
            if (await self.client.run(run))["status"] in ENDS:
                return
