"""Who is in which group, as the catalog says it; remembered for a moment.

Knows the catalog and how long an answer counts. Must not know what a group may do.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from bridge.domain.entities import EntityRef
from bridge.domain.errors import CatalogUnavailable
from bridge.ports import Catalog, Clock

COUNTS_SECONDS = 30.0
"""How long an answer counts. Whoever leaves a group may act for it so much longer, and a page that
asks ten times costs one look-up; less would make each run of a list wait for the catalog."""
LOOK_UP_SECONDS = 10.0
"""How long a request waits for the catalog, which is asked once for each level of groups."""
AGAIN_SECONDS = 5
_REMEMBERED = 10_000


class Memberships:
    """Looks each person up once at a time, and remembers a bounded number of answers."""

    def __init__(self, *, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[frozenset[str]]] = {}

    async def of(self, user: str) -> frozenset[str]:
        """References of *user* and its groups, in lower case.

        Raises:
            CatalogUnavailable: The catalog gives no answer, or none in time. An answer that has
                run out is not given in its place.
        """
        until, groups = self._answers.get(user, (0.0, frozenset()))
        if until > self._clock.monotonic():
            return groups
        task = self._asking.get(user)
        if task is None:
            task = asyncio.create_task(self._ask(user), name=f"groups of {user}")
            self._asking[user] = task
            task.add_done_callback(lambda done: self._answered(user, done))
        return await asyncio.shield(task)  # who asked first may go away; others still wait

    async def _ask(self, user: str) -> frozenset[str]:
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                groups = await self._catalog.memberships(EntityRef.parse(user))
        except (CatalogUnavailable, TimeoutError) as error:
            reason = error.detail if isinstance(error, CatalogUnavailable) else "no answer in time"
            raise CatalogUnavailable(
                f"Whether {user} may do this cannot be looked up just now: {reason}",
                retry_after=AGAIN_SECONDS,
            ) from error
        self._answers[user] = (self._clock.monotonic() + COUNTS_SECONDS, groups)
        self._answers.move_to_end(user)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return groups

    def _answered(self, user: str, task: asyncio.Task[frozenset[str]]) -> None:
        del self._asking[user]
        if not task.cancelled():
            task.exception()  # told to whoever waits; it is no fault if nobody does any more
