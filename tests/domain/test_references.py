"""References, fields and filters of the definition language."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.references import (
    FILTERS,
    Reference,
    document_references,
    render_document,
    render_template,
    template_references,
)

ROOTS = {
    "input": {"name": "A-Thing", "team": "group:default/team-a", "on": True, "tags": ["x", "y"]},
    "workflow": {"outputs": {"a.b": "dotted", "n": 3}},
    "run": {"id": "r1"},
    "context": {"template": None},
}


def json_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Documents whose texts and keys are such *texts*."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=12,
    )


TEXTS = st.text(max_size=10) | st.text(alphabet='{}a"\\', max_size=6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.name", "A-Thing"),
        ("input.missing", None),
        ("input.name.deeper", None),
        ("workflow.outputs.a.b", "dotted"),
        ("workflow.outputs.n", 3),
        ("entity.ref", None),
        ("input.on", True),
    ],
)
def test_a_reference_finds_its_value(text, value):
    """A reference gives the value at its path with its own type, or nothing."""
    assert Reference.parse(text).lookup(ROOTS) == value


@pytest.mark.parametrize(
    ("text", "filter_name", "reason"),
    [
        ("input", None, "not a reference"),
        ("input..name", None, "not a reference"),
        ("input.name ", None, "not a reference"),
        ("__class__.x", None, "must start with one of input"),
        ("env.HOME", None, "must start with one of input"),
        ("input.name", "shell", "not a filter"),
    ],
)
def test_a_wrong_reference_is_refused_with_its_reason(text, filter_name, reason):
    """The author of a definition is told what is wrong with a reference."""
    with pytest.raises(ValueError, match=reason):
        Reference.parse(text, filter_name=filter_name)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("{input.name|lower}", "a-thing"),
        ("{input.team|entityName}", "team-a"),
        ("{run.id|entityRef}", "group:default/r1"),
        ("{input.on}", "true"),
        ("{input.on|bool}", "true"),
        ("{input.tags|json}", '["x","y"]'),
        ("{input.tags}", '["x","y"]'),
        ("{workflow.outputs.n}", "3"),
        ("{ input.name | string }", "A-Thing"),
        ("{input.missing|lower}", ""),
        ("{context.template}", ""),
    ],
)
def test_a_filter_makes_the_text_that_is_sent(field, text):
    """Each named filter turns a value into exactly this text."""
    assert render_template(f"<{field}>", roots=ROOTS) == f"<{text}>"


def test_filters_take_what_forms_give():
    """No filter fails on an absent value, and numbers and false look as they do in JSON."""
    assert FILTERS["string"](None) == ""
    assert FILTERS["string"](1.5) == "1.5"
    assert FILTERS["bool"](0) == "false"
    assert FILTERS["json"]("é") == '"é"'


@given(json_of(TEXTS))
def test_json_for_argo_has_no_tags(value):
    """Whatever a list or an object holds, Argo gets nothing that it would expand."""
    text = FILTERS["json"](value)

    json.loads(text)
    assert "{{" not in text
    assert "}}" not in text


@given(json_of(TEXTS.filter(lambda text: "{{" not in text and "}}" not in text)))
def test_json_for_argo_is_the_same_json(value):
    """A list or an object reaches Argo unchanged; the guard of the input refuses tags in texts."""
    assert json.loads(FILTERS["json"](value)) == value


def test_nested_objects_do_not_close_a_tag():
    """Braces in a row are parted, however many there are and objects are nested."""
    nested = {"a": {"b": {"c": {"d": {}}}}}

    assert json.loads(FILTERS["json"](nested)) == nested
    assert "}}" not in FILTERS["json"](nested)
    assert "{{" not in FILTERS["json"]("{{{")


@given(st.text(alphabet="{}|. abcinput", max_size=24))
def test_any_template_is_read_or_refused(template):
    """A template is either understood whole or refused; none is half understood."""
    try:
        found = template_references(template)
    except ValueError:
        return
    rendered = render_template(template, roots=ROOTS)
    assert "{" not in rendered or found
    assert len(found) == template.count("{") == template.count("}")


@pytest.mark.parametrize("template", ["{input.a", "input.a}", "{}", "{input.a|b|c}", "{{input.a}}"])
def test_a_template_with_stray_braces_is_refused(template):
    """A brace that belongs to no field is a mistake and not text."""
    with pytest.raises(ValueError, match=r"brace|reference|filter"):
        template_references(template)


def test_a_document_keeps_types_and_drops_what_has_no_value():
    """A rendered document has no empty keys and no links without an address."""
    document = {
        "name": "{input.name|lower}",
        "n": "{workflow.outputs.n}",
        "text": "n={workflow.outputs.n}",
        "gone": "{entity.ref}",
        "gone-filtered": "{entity.ref|lower}",
        "fixed": 7,
        "links": [
            {"url": "{entity.ref}", "title": "no address"},
            {"url": "{run.id}", "title": "an address"},
            "{context.template}",
            "{input.name}",
        ],
    }

    assert render_document(document, roots=ROOTS) == {
        "name": "a-thing",
        "n": 3,
        "text": "n=3",
        "fixed": 7,
        "links": [{"url": "r1", "title": "an address"}, "A-Thing"],
    }


def test_all_references_of_a_document_are_found_when_it_is_loaded():
    """A mistake anywhere in a document is found before any run meets it."""
    document = {"a": ["{input.name}", 1], "b": {"c": "x {run.id|lower} y"}}

    assert [".".join(ref.path) for ref in document_references(document)] == ["input.name", "run.id"]
    with pytest.raises(ValueError, match="must start with"):
        document_references({"deep": [{"er": "{nope.x}"}]})
