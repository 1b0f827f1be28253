"""YAML of manifests, read as kubectl reads it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.localargo.manifests import ManifestError, documents, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: N", {"a": False}),
        ("a: [y, no, ON, true]", {"a": [True, False, True, True]}),
        ("a: 2026-11-21", {"a": "2026-11-21"}),
        ("a: 2026-11-21T22:30:16Z", {"a": "2026-11-21T22:30:16Z"}),
        ("a: 0123", {"a": 83}),
        ("1: u\ntrue: v\nnull: w", {"1": "u", "true": "v", "null": "w"}),
        ("a: !!binary aGVsbG8=", {"a": "hello"}),
        ("a: !!set {v, u}", {"a": {"u": None, "v": None}}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: {<<: {b: 1}, c: 2}", {"a": {"b": 1, "c": 2}}),
        ("# nothing", None),
    ],
)
def test_scalars_have_the_types_that_go_gives_them(text, value):
    """A manifest means here what it means on a cluster, YAML 1.1 traps included."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2", 'yaml: unmarshal errors:\n  line 2: key "a" already set in map'),
        ("a: b: c", "yaml: line 1: mapping values are not allowed here"),
        ("a: @x", "yaml: line 1: found character '@' that cannot start any token"),
        ("a:\n\tb: 1", "yaml: line 2: found character '\\t' that cannot start any token"),
        ("a: !x 1", "yaml: line 1: could not determine a constructor for the tag '!x'"),
        ("? [1]\n: 2", "yaml: line 1: invalid map key: [1]"),
        ("a: \x00", "yaml: "),
        ("[" * 5000, "yaml: "),
        ("a" * 1_000_001, "yaml: the manifest is longer than 1000000 characters"),
    ],
    ids=["twice", "colon", "at", "tab", "tag", "key", "nul", "deep", "long"],
)
def test_what_is_no_yaml_is_refused(text, complaint):
    """A broken manifest has an error with its line."""
    with pytest.raises(ManifestError) as caught:
        list(documents(text))

    assert str(caught.value).startswith(complaint)


def test_numbers_to_base_60_are_text():
    """A time of day stays what it is; thousands of digits take no time."""
    (found,) = documents("a: 12:30\nb: 1:59.5\nc: 7\nd: 1.5\ne: " + ":".join(["59"] * 20_000))

    assert {**found, "e": ""} == {"a": "12:30", "b": "1:59.5", "c": 7, "d": 1.5, "e": ""}


def test_aliases_cannot_multiply_without_end():
    """A small document that stands for billions of values is refused, as kubectl does."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    with pytest.raises(ManifestError, match="yaml: document contains excessive aliasing"):
        parse("\n".join(lines))
    assert parse("\n".join(lines[:2]))["b"] == [["x"] * 10] * 10


def test_documents_come_one_after_the_other():
    """What stands before a broken document has been read, as kubectl has applied it."""
    found = documents('a: 1\n---\n# empty\n--- # next\nb: "---"\n---\n"\n')

    assert [next(found), next(found)] == [{"a": 1}, {"b": "---"}]
    with pytest.raises(ManifestError, match="yaml: line 2: found unexpected end of stream"):
        next(found)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([*"[]{}:,-?!&*|>'\"#%@ \n\ta1.", "---\n", "<<", "\x85"]), max_size=30)
)
def test_nothing_but_a_manifest_error_leaves_the_reader(pieces):
    """Whatever a manifest became by substitution, it is read or refused."""
    try:
        assert all(value is not None for value in documents("".join(pieces)))
    except ManifestError as error:
        assert str(error).startswith("yaml: ")  # noqa: PT017 - either end is right
