"""What a look at the surroundings means: clocks, certificates, templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.domain.checkups import (
    Outcome,
    certificate_of,
    clock_of,
    differences,
    parameter_problems,
)

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def template(*parameters: dict[str, Any]) -> dict[str, Any]:
    """A WorkflowTemplate with these arguments."""
    return {"spec": {"arguments": {"parameters": list(parameters)}}}


@pytest.mark.parametrize(
    ("there", "outcome"),
    [
        (NOW + timedelta(seconds=10), Outcome.OK),
        (NOW - timedelta(seconds=11), Outcome.FAILED),
        (NOW + timedelta(seconds=11), Outcome.FAILED),
        (None, Outcome.SKIPPED),
    ],
)
def test_clocks_may_differ_as_much_as_tokens_allow(there: datetime | None, outcome: Outcome):
    """A clock that would make tokens invalid is found before anybody is refused."""
    found = clock_of("Argo", here=NOW, there=there)
    assert (found.check, found.outcome) == ("Argo clock", outcome)
    assert ("NTP" in found.mend) is (outcome is Outcome.FAILED)


@pytest.mark.parametrize(
    ("left", "said"), [(15, "ends on 2026"), (13, "it ends on"), (-1, "it ended on")]
)
def test_a_certificate_is_told_two_weeks_before_its_end(left: int, said: str):
    """There is time to renew it."""
    found = certificate_of("bridge", ends=NOW + timedelta(days=left), now=NOW)
    assert found.detail.startswith(said)
    assert (found.outcome is Outcome.OK) is (left > 14)


def test_a_template_that_fits_its_action_has_no_problems():
    """What Argo and kubectl add to a template does not matter."""
    shipped = template({"name": "a"}, {"name": "b", "default": "x", "enum": ["x", "y"]})
    installed = template(
        {"name": "a", "description": "added"}, {"name": "b", "default": "x", "enum": ["x", "y"]}
    )
    assert parameter_problems(installed, passed=["a"], shipped=shipped) == []
    assert parameter_problems(installed, passed=["a", "b"], shipped=None) == []


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        (template(), "it has no parameter a"),
        (
            template({"name": "a"}, {"name": "c"}),
            "its parameter c has no value, and the action passes none",
        ),
        (template({"name": "a"}), "it lacks the shipped parameter b"),
        (
            template({"name": "a"}, {"name": "b", "default": "x", "enum": ["x"]}),
            "its parameter b is not the shipped one",
        ),
        ({}, "it has no parameter a"),
    ],
)
def test_a_template_that_would_fail_runs_is_found(installed: dict[str, Any], problem: str):
    """An old template is told apart before somebody presses Create."""
    shipped = template({"name": "a"}, {"name": "b", "default": "x", "enum": ["x", "y"]})
    assert problem in parameter_problems(installed, passed=["a"], shipped=shipped)


@pytest.mark.parametrize(
    ("shipped", "installed", "first"),
    [
        ({"a": {"b": 1}}, {"a": {"b": "1", "c": 2}}, None),
        ({"a": {}, "b": "", "c": False, "d": None}, {}, None),
        ({"a": True}, {"a": "true"}, None),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2, "c": 3}]}, None),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "spec.a.b"),
        ({"a": {"b": 1}}, {"a": {}}, "spec.a.b"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "spec.a[0].b"),
        ({"a": [1]}, {"a": [1, 2]}, "spec.a"),
        ({"a": {"b": 1}}, {"a": [1]}, "spec.a"),
    ],
)
def test_only_what_was_shipped_counts(shipped: Any, installed: Any, first: str | None):
    """Defaults that Kubernetes writes are no differences; a changed field is named."""
    assert next(differences(shipped, installed, path="spec"), None) == first
    assert next(differences(shipped, installed), None) == (first and first.removeprefix("spec."))
