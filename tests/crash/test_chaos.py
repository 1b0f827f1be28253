"""A short chaos on both stores: replicas die, and nothing happens twice or is lost."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.crash.chaos import Order, chaos, tell
from tests.crash.world import Outcome

KILLS = 60


@pytest.mark.mass
@pytest.mark.timeout(300)
async def test_a_short_chaos_breaks_no_promise(tmp_path: Path):
    """Users get every run to its end, once, while replicas are killed at any point."""
    told: list[str] = []

    def done(outcome: Outcome) -> None:
        told.extend(tell(outcome))

    order = Order(seed=secrets.token_hex(4), kills=KILLS, at_once=6)
    found = await chaos(order, folder=tmp_path, done=done)
    text = "\n".join(told)
    assert found.violations == 0, f"replay with SEED={order.seed} KILLS={KILLS} make chaos\n{text}"
    assert found.kills >= KILLS, text
    assert found.points.total() >= KILLS // 10, text
