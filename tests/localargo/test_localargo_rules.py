"""The small rules of the embedded Argo, each by itself."""

from __future__ import annotations

import pytest

from bridge.localargo.depends import DependsError, condition_of, holds, tasks_in
from bridge.localargo.durations import humanize, parse_duration
from bridge.localargo.encoding import encode, nano_timestamp, timestamp
from bridge.localargo.errors import ArgoError
from bridge.localargo.fanout import ItemsError, items_of
from bridge.localargo.locks import Mutexes
from bridge.localargo.masks import FieldMask
from bridge.localargo.names import node_id, pod_name
from bridge.localargo.nodes import ERROR, FAILED, SUCCEEDED, Node
from bridge.localargo.retries import Verdict, decide
from bridge.localargo.selectors import parse_fields, parse_labels


def test_ids_are_those_of_argo():
    """Node ids and pod names carry the hash that a real Argo computes."""
    assert node_id("prov-ok", "prov-ok[0].validate") == "prov-ok-4028023857"
    assert node_id("w", "w") == "w"
    assert pod_name("prov-ok", "prov-ok[0].validate", "validate") == "prov-ok-validate-4028023857"
    assert pod_name("w", "w", "main") == "w"
    assert pod_name("w", "w.x", "t" * 300).startswith("w-" + "t" * 240 + "-")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8", 8), ("8s", 8), ("1m30s", 90), ("1.5h", 5400), ("10ms", 0.01), ("2d", 172800)],
)
def test_durations_are_read(text, seconds):
    """Plain seconds and Go's durations are both read."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1x", "1m x"])
def test_durations_that_are_none(text):
    """What is no duration is refused with Go's text."""
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7, "7 seconds"),
        (61, "1 minutes 1 seconds"),
        (3660, "1 hours 1 minutes"),
        (90000, "1 days 1 hours"),
    ],
)
def test_durations_are_said(seconds, text):
    """A backoff is told with its two largest units."""
    assert humanize(seconds) == text


def test_json_is_written_as_go_does():
    """Angle brackets and ampersands are escaped, other characters are not."""
    assert encode({"a": "<b>&ü\u2028"}) == b'{"a":"\\u003cb\\u003e\\u0026\xc3\xbc\\u2028"}'
    assert encode("\ud800") == b'"?"'


def test_times_are_written_as_kubernetes_does():
    """Whole seconds in a status, nanoseconds in a log."""
    assert timestamp(0.9) == "1970-01-01T00:00:00Z"
    assert timestamp(None) is None
    assert nano_timestamp(1_000_000_007) == "1970-01-01T00:00:01.000000007Z"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a", True),
        ("b", False),
        ("b.Failed && !a.Failed", True),
        ("a && b || a", True),
        ("!(a || b)", False),
        ("  ", None),
        ("a b", None),
        ("a.Nonsense", None),
        ("(a", None),
        ("a ||", None),
        ("a $", None),
    ],
)
def test_conditions_over_tasks(condition, expected):
    """`&&` binds closer than `||`; what cannot be read is an error."""

    def result(name, kind):
        return (name, kind) in {("a", ""), ("b", "Failed")}

    if expected is None:
        with pytest.raises(DependsError):
            holds(condition, result)
    else:
        assert holds(condition, result) is expected


def test_conditions_name_their_tasks():
    """Dependencies are a condition too; each task is named once."""
    assert condition_of({"dependencies": ["a", "b"]}) == "a && b"
    assert tasks_in("a.Succeeded && (b-c || !a)") == ("a", "b-c")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("", "unexpected end of JSON input"),
        ("[1", "unexpected end of JSON input"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ('{"a":1}', "json: cannot unmarshal object into Go value of type []v1alpha1.Item"),
        ('"s"', "json: cannot unmarshal string into Go value of type []v1alpha1.Item"),
    ],
)
def test_lists_that_are_none(text, reason):
    """`withParam` that is no JSON list is told with Go's text."""
    with pytest.raises(ItemsError) as caught:
        items_of({"withParam": text})
    assert str(caught.value).endswith(f"{text}: {reason}")


def test_items_are_labelled_as_argo_does():
    """Labels show values bare, maps sorted, lists in brackets, and no parentheses."""
    items = items_of({"withItems": ["a(b)", 1, True, {"k": "v", "a": 2}, ["x", 1]]})
    assert [item.label for item in items] == ["ab", "1", "true", "a:2,k:v", "[x 1]"]
    assert items[3].values == {"item": '{"k":"v","a":2}', "item.k": "v", "item.a": "2"}
    assert items[2].values == {"item": "true"}


def test_masks_keep_and_drop():
    """A list keeps parts, lists inside are gone through; a dash drops them."""
    value = {"m": {"a": 1, "b": {"c": 2}}, "items": [{"x": 1, "y": 2}], "n": None}
    keep = FieldMask.parse("m.b.c,items.x,n,m.a.deeper")
    assert keep.apply(value) == {"m": {"b": {"c": 2}}, "items": [{"x": 1}], "n": None}
    drop = FieldMask.parse("-m.b.c,items.x")
    assert drop.apply(value) == {"m": {"a": 1, "b": {}}, "items": [{"y": 2}], "n": None}
    assert FieldMask.parse("").apply(value) is value
    assert list(FieldMask.parse("n,m").frame(value)) == ["m", "n"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("a=1", True),
        ("a==1,b!=3", True),
        ("a in (1,2), c notin (x)", True),
        ("!c", True),
        ("a,!b", False),
        ("c!=x", True),
        ("c in (x)", False),
        ("b notin (2)", False),
        ("", True),
    ],
)
def test_label_selectors(selector, expected):
    """All operators of Kubernetes' label selectors."""
    assert parse_labels(selector).matches({"a": "1", "b": "2"}) is expected


@pytest.mark.parametrize("selector", ["a===b", "a in 1", "=b", "a b"])
def test_label_selectors_that_cannot_be_read(selector):
    """A selector that is none is a 400."""
    with pytest.raises(ArgoError, match="unable to parse requirement"):
        parse_labels(selector)


def test_field_selectors():
    """Fields are compared for equality and its opposite."""
    assert parse_fields("a=1,b!=1").matches({"a": "1", "b": "2"})
    assert not parse_fields("a!=1").matches({"a": "1"})


def attempt(phase=FAILED, *, began=0.0, ended=1.0, message="boom"):
    """One attempt of a Retry node."""
    node = Node("i", "n", "d", "Pod", phase, began)
    node.finished_at, node.message = ended, message
    return node


@pytest.mark.parametrize(
    ("strategy", "attempts", "verdict"),
    [
        ({"limit": 1}, [attempt(SUCCEEDED)], Verdict(SUCCEEDED)),
        ({"limit": 1}, [attempt()], Verdict()),
        ({"limit": "1"}, [attempt(), attempt()], Verdict(FAILED, "No more retries left")),
        ({}, [attempt()] * 50, Verdict()),
        ({"retryPolicy": "OnError"}, [attempt(ERROR)], Verdict()),
        ({"retryPolicy": "OnFailure"}, [attempt(ERROR)], Verdict(ERROR, "boom")),
        ({"retryPolicy": "Nonsense"}, [attempt()], Verdict(FAILED, "boom")),
        (
            {"retryPolicy": "OnTransientError"},
            [attempt(message="dial tcp: i/o timeout")],
            Verdict(),
        ),
        (
            {"limit": 5, "backoff": {"duration": "2", "factor": 3}},
            [attempt(), attempt(ended=8.0)],
            Verdict(message="Backoff for 6 seconds", wait_until=14.0),
        ),
        (
            {"limit": 5, "backoff": {"duration": "4", "factor": "9", "cap": "5s"}},
            [attempt(), attempt(ended=8.0)],
            Verdict(message="Backoff for 5 seconds", wait_until=13.0),
        ),
        ({"limit": 5, "backoff": {"duration": "1"}}, [attempt(ended=2.0)], Verdict()),
        (
            {"limit": 5, "backoff": {"duration": "1", "maxDuration": "5"}},
            [attempt(ended=2.0)],
            Verdict(FAILED, "Max duration limit exceeded"),
        ),
        (
            {"limit": 5, "backoff": {"duration": "20", "maxDuration": "15"}},
            [attempt(ended=2.0)],
            Verdict(FAILED, "Backoff would exceed max duration limit"),
        ),
        ({"expression": "x"}, [attempt(ERROR)], Verdict()),
        (
            {"expression": ""},
            [attempt(ERROR)],
            Verdict(ERROR, "boom"),
        ),
    ],
)
def test_verdicts_on_retries(strategy, attempts, verdict):
    """Limits, policies and backoff give the verdicts and messages of Argo."""
    found = decide(strategy, attempts, now=10.0, stopped="", expression=bool)
    assert found == verdict


def test_a_stop_ends_retries():
    """A workflow that is stopped makes no more attempts."""
    found = decide({}, [attempt()], now=10.0, stopped="enough", expression=bool)
    assert found == Verdict(FAILED, "enough")


def test_mutexes_go_by_priority_then_age():
    """The next holder is the most urgent, then the oldest; who leaves frees all."""
    locks = Mutexes()
    assert locks.acquire(("m",), "a", priority=0, created=1) is None
    assert locks.acquire(("m",), "b", priority=0, created=2) == "m"
    assert locks.acquire(("m",), "c", priority=5, created=3) == "m"
    assert locks.holder("m") == "a"
    assert set(locks.release("a")) == {"b", "c"}
    assert locks.acquire(("m",), "b", priority=0, created=2) == "m"
    assert locks.acquire(("m",), "c", priority=5, created=3) is None
    assert locks.release("c") == ["b"]
    assert locks.acquire(("m", "n"), "b", priority=0, created=2) is None
    assert locks.holder("n") == "b"
    assert locks.holder("none") == ""
