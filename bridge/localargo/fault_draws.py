"""Which rule applies to what happens now: counters and chance, the same for the same seed.

Knows rules, not what their faults do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

from bridge.localargo.fault_rules import Rule

R = TypeVar("R", bound=Rule)


class Drawn(Generic[R]):
    """One rule in force and how often it was met and applied."""

    def __init__(self, rule: R, source: Random) -> None:
        self.rule = rule
        self.applied = 0
        self._met = 0
        self._source = source

    def admits(self) -> bool:
        """Whether the rule applies to this match of it; counts both."""
        self._met += 1
        rule = self.rule
        drawn = rule.chance == 1 or self._source.random() < rule.chance
        used_up = rule.times is not None and self.applied >= rule.times
        if self._met <= rule.skip or used_up or not drawn:
            return False
        self.applied += 1
        return True

    def seconds(self) -> float:
        """The wait of this application, drawn from a range if there is one; 0 if none is told."""
        asked = self.rule.seconds
        if isinstance(asked, tuple):
            return self._source.uniform(*asked)
        return asked or 0.0


class Draws(Generic[R]):
    """The rules of one part in their order. Each draws from a source of its own."""

    def __init__(self, part: str, rules: Sequence[R], *, seed: int) -> None:
        self._all = [
            Drawn(rule, Random(f"{seed if rule.seed is None else rule.seed}/{part}/{at}"))  # noqa: S311 - a replay, not a secret
            for at, rule in enumerate(rules)
        ]

    def matching(self, wanted: Callable[[R], bool]) -> Iterator[Drawn[R]]:
        """The rules that match, none of them counted yet."""
        return (drawn for drawn in self._all if wanted(drawn.rule))

    def first(self, wanted: Callable[[R], bool]) -> Drawn[R] | None:
        """The first rule that matches and applies; the rest do not count the match."""
        return next((drawn for drawn in self.matching(wanted) if drawn.admits()), None)

    def applied(self) -> list[int]:
        """How often each rule was applied."""
        return [drawn.applied for drawn in self._all]
