"""Entity references, catalog documents and digests."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.entities import (
    EntityRef,
    cluster_document,
    digest,
    entity_document,
    strong_etag,
)
from bridge.domain.errors import DefinitionInvalid

DOCUMENT = {"kind": "Resource", "metadata": {"name": "a-thing", "annotations": {"a": "b"}}}


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("team-a", "group:default/team-a"),
        ("Group:team-a", "group:default/team-a"),
        ("User:Default/Ann", "user:default/Ann"),
        (" other/team-b ", "group:other/team-b"),
    ],
)
def test_a_reference_is_read_in_all_its_forms(text, ref):
    """Pickers give short or full references, and both mean the same entity."""
    assert str(EntityRef.parse(text)) == ref


@pytest.mark.parametrize("text", ["", "a b", "group:", "a/b/c", ":x", "user:default/"])
def test_what_is_no_reference_is_refused(text):
    """A value that names no entity is an error and not a strange entity."""
    with pytest.raises(ValueError, match="is not an entity reference"):
        EntityRef.parse(text)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True), st.sampled_from(["user", "group"]))
def test_a_reference_is_the_same_after_writing_and_reading(name, kind):
    """What the bridge shows as a reference can be sent back to it."""
    ref = EntityRef(kind, "default", name)

    assert EntityRef.parse(str(ref)) == ref


def test_a_document_tells_which_run_made_it():
    """The catalog's copy shows the run, and the given document stays as it was."""
    entity = entity_document(DOCUMENT, run_id="r1")

    assert str(entity.ref) == "resource:default/a-thing"
    assert entity.path == "/catalog/resource/a-thing.yaml"
    assert entity.document["metadata"]["annotations"] == {"a": "b", "bridge/run": "r1"}
    assert yaml.safe_load(entity.to_yaml()) == entity.document
    assert DOCUMENT["metadata"]["annotations"] == {"a": "b"}


def test_a_document_without_a_run_is_not_stamped():
    """Documents of the bridge itself name no run."""
    assert entity_document(DOCUMENT).document == DOCUMENT


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Resource"},
        {"kind": 1, "metadata": {"name": "a"}},
        {"kind": "Resource", "metadata": {"name": "-a"}},
        {"kind": "Resource", "metadata": {"name": "a" * 64}},
        {"kind": "Resource", "metadata": {}},
    ],
)
def test_a_document_that_no_catalog_takes_is_refused(document):
    """A definition whose entity has no valid name fails with a sentence about it."""
    with pytest.raises(DefinitionInvalid, match=r"spec\.catalog\.entity"):
        entity_document(document)


def test_the_cluster_has_a_document_of_its_own():
    """A namespace's relation to its cluster does not dangle, with or without its address."""
    plain = cluster_document("local", owner="group:default/platform")
    known = cluster_document("local", owner="x", api_server="https://k8s.example")

    assert str(plain.ref) == "resource:default/local"
    assert plain.document["spec"] == {
        "type": "kubernetes-cluster",
        "owner": "group:default/platform",
    }
    assert "annotations" not in plain.document["metadata"]
    assert known.document["metadata"]["annotations"] == {
        "kubernetes.io/api-server": "https://k8s.example"
    }


def test_an_etag_changes_with_the_text():
    """A catalog reads a document again exactly when it has changed."""
    assert strong_etag("a") == strong_etag("a") != strong_etag("b")
    assert strong_etag("a").startswith('"')


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(value):
    """The same input gives the same fingerprint, however a client orders its fields."""
    backwards = dict(reversed(list(value.items())))

    assert digest(value) == digest(backwards)
    assert digest(value) != digest({**value, "one more": 1})


def test_a_digest_takes_any_decoded_json():
    """Even text that is no Unicode has a fingerprint."""
    assert digest(json.loads('"\\ud800"')) != digest("x")
