"""How a figure is printed: measured, target, and how far from it.

Knows that "now" is within twice the target (design, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its target."""

    name: str
    measured: float
    target: float
    unit: str
    higher_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Below 1 the target is met; up to 2 it is near enough for now."""
        pair = (
            (self.target, self.measured) if self.higher_is_better else (self.measured, self.target)
        )
        return pair[0] / pair[1] if pair[1] else float("inf")

    def line(self) -> str:
        """The figure for people."""
        verdict = "met" if self.ratio <= 1 else "within 2 x" if self.ratio <= 2 else "MISSED"
        sign = "≥" if self.higher_is_better else "≤"
        return (
            f"{self.name:<52} {self.measured:>9.2f} {self.unit:<10} "
            f"target {sign} {self.target:g}   {self.ratio:5.2f} x {verdict}"
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
