"""The benches still measure: each runs in small and gives its figures. No time is judged here.

The latency is left out: its workflows last for forty seconds.
"""

from __future__ import annotations

import math
from types import ModuleType

import pytest

from tests.bench import fanout, memory, restart, soak, submissions

SMALL: dict[ModuleType, dict[str, float]] = {
    fanout: {"READERS": 5, "EVENTS": 3, "ROUNDS": 1},
    memory: {"RUNS": 5, "SETTLE_SECONDS": 0.1},
    restart: {"RUNS": 30, "SAMPLE": 2},
    soak: {"DAYS": 4, "FULL": 2, "RUNS_A_DAY": 2, "EVENTS_A_RUN": 2},
    submissions: {"COUNT": 10, "ROUNDS": 1},
}


@pytest.mark.mass
@pytest.mark.parametrize("bench", SMALL, ids=lambda module: module.__name__.rpartition(".")[2])
async def test_a_bench_measures(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` prints figures, whatever has changed in the product since."""
    for name, value in SMALL[bench].items():
        monkeypatch.setattr(bench, name, value)

    figures = await bench.measure()

    assert figures
    assert all(math.isfinite(figure.measured) for figure in figures)
    assert all(figure.line() for figure in figures)
