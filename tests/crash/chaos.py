"""Worlds one after the other, those of different stores at the same time, until enough have died.

Knows how many kills which store gets, and how an outcome is told. Must not print.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.checker import report
from tests.crash.processes import Zygote, zygote
from tests.crash.world import Outcome, Plan, Store, go_round
from tests.postgres import PostgresServer, postgres

_KILLS_PER_WORLD = {"sqlite": 70, "postgres": 50}
_SHARES: dict[Store, float] = {"sqlite": 0.5, "postgres": 0.5}
STORES: tuple[Store, ...] = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Order:
    """How much chaos is wanted: every draw comes from ``seed``.

    ``patience`` is the longest time of a world before all is to be quiet, and ``quiet`` the
    longest until it is, in seconds; ``per_world`` the kills of one world, by default as many as
    suit its store.
    """

    seed: str
    kills: int
    stores: tuple[Store, ...] = STORES
    mutation: str = ""
    patience: float = 150.0
    quiet: float = 45.0
    per_world: int | None = None
    until_violated: bool = False
    at_once: int = 8


@dataclass(slots=True)
class Sum:
    """What all worlds add up to."""

    kills: int = 0
    pauses: int = 0
    restarts: int = 0
    runs: int = 0
    violations: int = 0
    points: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Take one world in."""
        self.kills += outcome.tally.kills
        self.pauses += outcome.tally.pauses
        self.restarts += outcome.tally.restarts
        self.runs += len(outcome.evidence.stored.runs)
        self.violations += len(outcome.violations)
        self.points += outcome.points


def tell(outcome: Outcome) -> Iterator[str]:
    """What is said of one world."""
    stored, plan = outcome.evidence.stored, outcome.plan
    ends = Counter(run.status for run in stored.runs)
    yield (
        f"{plan.seed}: {outcome.tally.kills} kills ({outcome.points.total()} at chosen points), "
        f"{outcome.tally.pauses} pauses, {len(stored.runs)} runs {dict(ends)}, "
        f"{len(stored.events)} events, {outcome.seconds:.0f} s, "
        f"quiet after {outcome.quiet_after:.1f} s, violations: {len(outcome.violations)}"
    )
    yield from report(outcome.violations, outcome.evidence)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all worlds stand on."""

    folder: Path
    forks: Zygote
    server: PostgresServer | None

    @contextmanager
    def database(self, store: Store) -> Iterator[str | None]:
        """A new database, if the store needs one."""
        if store == "sqlite" or self.server is None:
            yield None
            return
        with self.server.database() as dsn:
            yield dsn


async def chaos(order: Order, *, folder: Path, done: Callable[[Outcome], object]) -> Sum:
    """As many kills as *order* says; *done* is told of each world, and *folder* keeps its files."""
    found = Sum()
    whole = sum(_SHARES[store] for store in order.stores)
    async with AsyncExitStack() as stack:
        forks = await stack.enter_async_context(zygote())
        server = stack.enter_context(postgres()) if "postgres" in order.stores else None
        ground = _Ground(folder, forks, server)

        async def worlds_of(store: Store) -> None:
            wanted = round(order.kills * _SHARES[store] / whole)
            async for outcome in _worlds(order, store, wanted, ground):
                found.add(outcome)
                done(outcome)

        async with asyncio.TaskGroup() as group:
            for store in order.stores:
                group.create_task(worlds_of(store))
    return found


async def _worlds(
    order: Order, store: Store, wanted: int, ground: _Ground
) -> AsyncIterator[Outcome]:
    """Worlds of one store until *wanted* replicas have died in them, or nobody dies any more."""
    kills, number, last = 0, 0, 1
    while kills < wanted and last > 0:
        number += 1
        plan = Plan(
            seed=f"{order.seed}/{store}/{number}",
            store=store,
            kills=min(order.per_world or _KILLS_PER_WORLD[store], wanted - kills),
            longest=order.patience,
            quiet=order.quiet,
            mutation=order.mutation,
            at_once=order.at_once,
        )
        place = ground.folder / f"{store}-{number}"
        place.mkdir()
        with ground.database(store) as address:
            outcome = await go_round(plan, zygote=ground.forks, folder=place, database=address)
        last = outcome.tally.kills
        kills += last
        yield outcome
        if order.until_violated and outcome.violations:
            return
