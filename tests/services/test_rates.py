"""How often a caller may ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.services.rates import Rates
from tests.services.fakes import FakeClock


async def test_a_pause_is_paid_back_by_a_burst_of_ten_seconds():
    """Whoever asks rarely may ask much at once; whoever goes on, at the rate."""
    clock = FakeClock()
    rates = Rates(clock=clock, per_second=2)

    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("a") == pytest.approx(0.5)  # a refusal is not counted
    await clock.advance(0.5)
    assert rates.take("a") == 0.0
    assert rates.take("a") == pytest.approx(0.5)
    await clock.advance(1_000)
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") > 0


def test_callers_do_not_pay_for_each_other():
    """One caller's loop takes nothing from the others."""
    rates = Rates(clock=FakeClock(), per_second=1)
    while not rates.take("loop"):
        pass

    assert rates.take("person") == 0.0


async def test_a_rate_below_one_in_ten_seconds_lets_one_through():
    """The smallest rate is still a rate."""
    clock = FakeClock()
    rates = Rates(clock=clock, per_second=0.01)

    assert rates.take("a") == 0.0
    assert rates.take("a") == pytest.approx(100)
    await clock.advance(100)
    assert rates.take("a") == 0.0


@given(st.floats(0, 1e9), st.integers(1, 500))
def test_a_burst_is_as_long_whatever_the_clock_shows(started, rate):
    """Nobody is refused the last request of a burst, or the first at a small rate, by rounding."""
    clock = FakeClock()
    clock.time = started
    often, seldom = Rates(clock=clock, per_second=rate), Rates(clock=clock, per_second=1 / rate)

    assert {often.take("a") for _ in range(10 * rate)} == {0.0}
    assert often.take("a") > 0
    assert seldom.take("a") == 0.0


def test_memory_does_not_grow_with_callers():
    """The one that asked longest ago is forgotten first."""
    rates = Rates(clock=FakeClock(), per_second=0.1, most_callers=2)
    for caller in ("old", "new", "old", "newest"):
        rates.take(caller)

    assert len(rates) == 2
    assert rates.take("old") > 0  # remembered: it asked after "new" did
    assert rates.take("new") == 0.0


@given(st.lists(st.floats(0, 3), max_size=200))
def test_no_sequence_gets_more_than_the_rate_and_one_burst(pauses: list[float]):
    """However requests are spaced, a caller gets at most its rate and ten seconds' worth."""
    clock = FakeClock()
    rates = Rates(clock=clock, per_second=3)
    allowed, begin = 0, clock.monotonic()
    for pause in pauses:
        clock.time += pause
        allowed += rates.take("a") == 0.0

    assert allowed <= 3 * (clock.monotonic() - begin) + 30 + 1e-6
