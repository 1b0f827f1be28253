"""Conditions and outputs of resource templates."""

from __future__ import annotations

import pytest

from bridge.localargo.conditions import ConditionError, Conditions, jq_value, json_path_value
from bridge.localargo.paths import PathError, follow, keys

FOUND = {
    "kind": "Job",
    "metadata": {"name": "one", "labels": {"a.b/c": "x", "team": "t"}, "uid": "u-1"},
    "status": {"phase": "Active", "succeeded": 2, "ready": True, "message": None},
    "items": [{"name": "i0"}, {"name": "i1"}],
}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("", True),
        ("status.phase == Active", True),
        ("status.phase=Active", True),
        ("status.phase == Active, metadata.labels.team = t", True),
        ("status.phase == Active, metadata.labels.team = x", False),
        ("status.phase != Active", False),
        ("status.nope != Active", True),
        ("status.nope == Active", False),
        ("status.succeeded > 1", True),
        ("status.succeeded < 2", False),
        ("status.phase > 1", False),
        ("status.nope > 1", False),
        ("status.phase in (Active, Bound)", True),
        ("status.phase notin (Active, Bound)", False),
        ("status.phase in (Bound), status.ready == true", False),
        ("status.ready == true", True),
        ("status.message ==", True),
        ("metadata.labels.a\\.b/c = x", True),
        ("items.1.name = i1", True),
        ('items.1 = {"name":"i1"}', True),
        ("status.phase", True),
        ("!status.phase", False),
        ("! status.nope", True),
        ("items.#.name = i1", False),
    ],
)
def test_conditions_read_the_object_like_argo(condition, holds):
    """A step waits until exactly the object's state that the template names."""
    assert Conditions.parse(condition, "").fulfilled(FOUND) is holds


def test_a_failure_condition_is_looked_at_first():
    """A resource that failed ends the step with the condition's text."""
    conditions = Conditions.parse("status.phase == Active", "status.phase in (Failed,Active)")

    with pytest.raises(ConditionError) as caught:
        conditions.fulfilled(FOUND)

    assert str(caught.value) == (
        "failure condition '{status.phase in [Active Failed]}' evaluated true"
    )


def test_a_failure_condition_that_does_not_hold_is_passed_over():
    """Nothing fails as long as the failure condition is not met."""
    assert Conditions.parse("status.phase == Active", "status.phase == Failed").fulfilled(FOUND)


def test_conditions_that_cannot_be_read_are_refused():
    """A typing error in a condition is told, not waited for."""
    with pytest.raises(ConditionError, match="success condition 'a b' failed to parse"):
        Conditions.parse("a b", "")
    with pytest.raises(ConditionError, match="fail condition 'a ~ b' failed to parse"):
        Conditions.parse("", "a ~ b")


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{.metadata.uid}", "u-1"),
        (".metadata.name", "one"),
        ("{.metadata.labels.a\\.b/c}", "x"),
        ("{.metadata.labels['a.b/c']}-{.kind}", "x-Job"),
        ("{.items[1].name}{'\\n'}", "i1\\n"),
        ("{$.status.succeeded}", "2"),
        ("{.status.ready}", "true"),
        ("{.metadata.labels}", '{"a.b/c":"x","team":"t"}'),
        ("{.status.nope}", ""),
        ("{.items[5]}", ""),
    ],
)
def test_json_paths_print_what_kubectl_prints(template, printed):
    """An output of a resource template has the value it has on a cluster."""
    assert json_path_value(FOUND, template) == printed


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        (".metadata.name", "one"),
        (".status.succeeded", "2"),
        ('.metadata.labels["a.b/c"]', "x"),
        (".items[0]", '{"name":"i0"}'),
        (".nope", "null"),
        (".status.message", "null"),
    ],
)
def test_jq_filters_print_what_jq_prints(path, printed):
    """A `jqFilter` that is a path gives the text of `jq -rc`."""
    assert jq_value(FOUND, path) == printed


def test_filters_that_are_not_followed_are_refused():
    """What only a real jq or kubectl can do is never answered with something else."""
    for path in (".items[]", ".items | length", "keys", ".a?", ".items[0:1]"):
        with pytest.raises(PathError, match="the embedded Argo does not"):
            jq_value(FOUND, path)
    for template in ("{.items[*].name}", "{range .items}", "{.items[?(@.name=='i0')].name}"):
        with pytest.raises(PathError, match="the embedded Argo does not"):
            json_path_value(FOUND, template)


def test_paths_split_into_keys():
    """Dots, brackets, quotes and escapes mean what they mean in jq and gjson."""
    assert keys(".a.b[0]['c-d'].e\\.f") == ["a", "b", 0, "c-d", "e.f"]
    assert keys("a.0") == ["a", "0"]
    assert keys("") == keys(".") == []
    assert keys(".[0]") == [0]
    assert follow(FOUND, ".") is FOUND
    for path in ("a..b", "a[", "a[x]", "a]b.", "[0]x"):
        with pytest.raises(PathError):
            keys(path)
