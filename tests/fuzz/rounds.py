"""Rounds of requests by several callers: as published, and aimed at what exists.

Knows how often each asks. Must not know how many rounds there will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fuzz.aiming import NAMES, aimed
from tests.fuzz.stage import Target
from tests.fuzz.throwing import Tally, throw

_SHARES = {
    "a service that is an admin": (1.0, 1.5),
    "a person who may approve": (0.0, 0.5),
    "a workflow": (0.0, 0.25),
    "nobody": (0.25, 0.0),
}
"""How often each asks as published, and aimed, as multiples of the same number."""


@dataclass(slots=True)
class Rounds:
    """What came of all requests, by caller."""

    target: Target
    seed: int
    tallies: dict[str, Tally] = field(default_factory=lambda: {who: Tally() for who in _SHARES})
    played: int = 0

    @property
    def requests(self) -> int:
        """All requests so far."""
        return sum(tally.requests for tally in self.tallies.values())

    def play(self, *, examples: int) -> None:
        """One round; new runs are there for each, because commands end them."""
        published = self.target.document()
        runs = self.target.run_ids(*NAMES[: len(NAMES) // 2])
        near = aimed(published, actions=self.target.actions(), runs=runs)
        callers = self.target.callers()
        for who, shares in _SHARES.items():
            for document, share in zip((published, near), shares, strict=True):
                throw(
                    document,
                    url=self.target.url,
                    headers=callers[who],
                    tally=self.tallies[who],
                    examples=round(examples * share),
                    seed=self.seed + self.played,
                )
        self.played += 1

    def complaints(self) -> list[str]:
        """What is wrong, with a request that shows it."""
        told = [
            f"{operation}: {what}\n    {request}"
            for tally in self.tallies.values()
            for (operation, what), request in tally.wrong.items()
        ]
        let_in = [
            f"{operation}: answered {status} to somebody without a token"
            for operation, counted in self.tallies["nobody"].statuses.items()
            for status in counted
            if self.target.closed(operation) and status != 401
        ]
        return [*told, *let_in, *self.target.faults()]
