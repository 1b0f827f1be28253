"""Which calls a rule is for, and what it draws."""

from __future__ import annotations

import pytest

from bridge.localargo.fault_draws import Draws
from bridge.localargo.fault_rules import FaultPlan


@pytest.mark.parametrize(
    ("rule", "routes"),
    [
        ({"fault": "html"}, {"list", "get", "get-template", "create", "stop"}),
        ({"fault": "html", "route": "get-template"}, {"get-template"}),
        ({"fault": "html", "route": ["get", "stop"]}, {"get", "stop"}),
        ({"fault": "stale"}, {"list"}),
        ({"fault": "ignore"}, {"stop"}),
        ({"fault": "exists"}, {"create"}),
        ({"fault": "exists", "route": "get"}, set()),
    ],
)
def test_unary_rules_are_for_their_routes(rule, routes):
    """A rule reaches the routes it names, and none where its fault makes no sense."""
    parsed = FaultPlan.read({"unary": [rule]}).unary[0]
    every = ("list", "get", "get-template", "create", "stop")
    assert {route for route in every if parsed.matches(route)} == routes


@pytest.mark.parametrize(
    ("rule", "routes"),
    [
        ({"fault": "cut"}, {"watch", "log"}),
        ({"fault": "cut", "route": "log"}, {"log"}),
        ({"fault": "lose"}, {"log"}),
        ({"fault": "expire", "events": 1}, {"watch"}),
        *(({"fault": f}, {"watch"}) for f in ("rotate", "coalesce", "replay", "duplicate")),
    ],
)
def test_stream_rules_are_for_their_routes(rule, routes):
    """What only a watch does never happens to a log, and the other way round."""
    parsed = FaultPlan.read({"streams": [rule]}).streams[0]
    found = {route for route in ("watch", "log") if parsed.matches(route, resumes=False)}
    assert found == routes


def test_seconds_are_drawn_from_their_range():
    """A range gives other times again and again, the same ones for the same seed."""

    def draw(seed):
        rule = {"fault": "delay", "seconds": [2, 3], "seed": seed}
        rules = FaultPlan.read({"unary": [rule]}).unary
        drawn = Draws("unary", rules, seed=9).first(lambda _: True)
        return [drawn.seconds() for _ in range(5)]

    first = draw(1)
    assert len(set(first)) == 5
    assert all(2 <= seconds <= 3 for seconds in first)
    assert draw(1) == first != draw(2)
