"""Rounds of requests: as published, aimed at what exists, and by somebody without a token.

Knows how the share of each is weighed. Must not know how many rounds there will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fuzz.aiming import NAMES, aimed
from tests.fuzz.stage import Target
from tests.fuzz.throwing import Tally, throw

_PUBLISHED, _AIMED, _NOBODY = 1, 2, 0.5
"""How often a request is drawn each way, as multiples of the same number."""


@dataclass(slots=True)
class Rounds:
    """What came of the requests of a caller who is let in, and of one who is not."""

    target: Target
    seed: int
    known: Tally = field(default_factory=Tally)
    nobody: Tally = field(default_factory=Tally)
    played: int = 0

    @property
    def requests(self) -> int:
        """All requests so far."""
        return self.known.requests + self.nobody.requests

    def play(self, *, examples: int) -> None:
        """One round; new runs are there for each, because commands end them."""
        published = self.target.document()
        runs = self.target.run_ids(*NAMES[: len(NAMES) // 2])
        near = aimed(published, actions=self.target.actions(), runs=runs)
        headers = {"Authorization": self.target.authorization}
        for document, share, sent, tally in (
            (published, _PUBLISHED, headers, self.known),
            (near, _AIMED, headers, self.known),
            (published, _NOBODY, {}, self.nobody),
        ):
            throw(
                document,
                url=self.target.url,
                headers=sent,
                tally=tally,
                examples=max(1, round(examples * share)),
                seed=self.seed + self.played,
            )
        self.played += 1

    def complaints(self) -> list[str]:
        """What is wrong, with a request that shows it."""
        told = [
            f"{operation}: {what}\n    {request}"
            for tally in (self.known, self.nobody)
            for (operation, what), request in tally.wrong.items()
        ]
        let_in = {
            f"{operation}: answered {status} to somebody without a token"
            for operation, counted in self.nobody.statuses.items()
            for status in counted
            if self.target.closed(operation) and status != 401
        }
        return [*told, *sorted(let_in), *self.target.faults()]
