"""What a form may hold: all mistakes at once, and nothing that Argo would act on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import InputInvalid
from bridge.domain.inputs import BRACES_ALLOWED, InputSchema, forbidden_text, with_defaults
from bridge.localargo.tags import go_quote

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "size"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "default": 1},
        "note": {"type": "string", BRACES_ALLOWED: True},
        "more": {
            "type": "object",
            "default": {},
            "properties": {"deep": {"type": "string", "default": "d"}, "bare": True},
        },
        "list": {"type": "array", "items": {"type": "string", BRACES_ALLOWED: True}},
        "any": True,
        "tilde/slash~": {"type": "integer"},
    },
}
HOSTILE = ["{{workflow.name}}", "{{=1+1}}", "}}", "$(id)", "a\x00b", "\x1b[31m", "\u202e", "\x7f"]


def refused(value: object, schema: dict = SCHEMA) -> dict[str, str]:
    with pytest.raises(InputInvalid) as caught:
        InputSchema.compile(schema).check(value)
    return {error.pointer: error.message for error in caught.value.errors}


def test_every_mistake_is_told_at_once_with_its_pointer():
    """The user of a form sees all fields that need attention, not one after the other."""
    errors = refused({"name": "Bad 1", "count": "two", "extra": 1, "tilde/slash~": "x"})

    assert set(errors) == {"/name", "/count", "/extra", "/size", "/tilde~1slash~0"}
    assert errors["/size"] == "is required"
    assert errors["/extra"] == "is not a field of this action"


def test_the_sentence_names_the_fields():
    """The one-line answer says how many fields are wrong and which."""
    with pytest.raises(InputInvalid, match=r"^1 field needs attention: size: is required$"):
        InputSchema.compile(SCHEMA).check({"name": "a"})
    with pytest.raises(InputInvalid, match=r"^2 fields need attention: "):
        InputSchema.compile(SCHEMA).check({})


def test_defaults_are_filled_in_without_touching_what_was_given():
    """An absent field gets its default, also below an object; a given one stays."""
    given_input = {"name": "a", "size": "small", "more": {}, "any": 1}

    checked = InputSchema.compile(SCHEMA).check(given_input)

    assert checked == {**given_input, "count": 1, "more": {"deep": "d"}}
    assert given_input["more"] == {}


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_an_input_must_be_an_object(value):
    """Whatever else is sent is refused as a whole."""
    assert refused(value) == {"": "must be an object"}
    assert with_defaults(value, SCHEMA) == value


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["/note", "/any", "/list/0", "/more/bare", "/any/0/x"])
def test_hostile_text_is_refused_wherever_it_stands(text, place):
    """No tag, shell expansion or control character gets in, even where braces are allowed."""
    value: dict = {"name": "a", "size": "small"}
    match place:
        case "/note" | "/any":
            value[place[1:]] = text
        case "/list/0":
            value["list"] = [text]
        case "/more/bare":
            value["more"] = {"bare": text}
        case _:
            value["any"] = [{"x": text}]

    errors = refused(value)

    assert list(errors) == [place]
    assert errors[place].startswith("must not contain")


def test_hostile_names_are_refused_too():
    """The names of free objects reach Argo as well, so they are checked like values."""
    errors = refused({"name": "a", "size": "small", "any": {"{{x}}": 1}})

    assert errors == {
        "/any": "has a name that must not contain '{{': Argo or Kubernetes would expand it"
    }


def test_single_braces_need_the_consent_of_the_field():
    """Free text may have braces where its author allowed them, and nowhere else."""
    base = {"name": "a", "size": "small"}

    assert InputSchema.compile(SCHEMA).check({**base, "note": "{ok}", "list": ["{ "]})
    assert refused({**base, "any": "{no}"}) == {"/any": "must not contain braces"}


def test_what_is_nested_too_deeply_is_refused():
    """A value cannot exhaust the stack."""
    deep: object = "x"
    for _ in range(40):
        deep = [deep]

    errors = refused({"name": "a", "size": "small", "any": deep})

    assert list(errors.values()) == ["is nested more than 16 levels deep"]


def test_a_schema_whose_properties_are_odd_is_still_guarded():
    """The guard does not depend on how the schema is written."""
    schema = {"type": "object", "items": [{}], "properties": {"l": {"items": [{}]}}}

    assert refused({"l": ["{{x}}"]}, schema) == {
        "/l/0": "must not contain '{{': Argo or Kubernetes would expand it"
    }
    assert list(refused({"x": "$(x)"}, {})) == ["/x"]


@pytest.mark.parametrize("text", ["plain", "é ü 漢字 🚀", "tab\tand\nnewline", "a$b (c)", "$ (x)"])
def test_ordinary_text_passes(text):
    """People may write in their own language."""
    assert forbidden_text(text) is None


@given(st.text(max_size=40))
def test_what_passes_holds_nothing_that_argo_acts_on(text):
    """Whatever survives the check has no tag, no expansion and no control character."""
    schema = InputSchema.compile({"type": "object"})
    try:
        checked = schema.check({"x": text})
    except InputInvalid:
        return
    kept = checked["x"]
    assert kept == text
    assert not any(sign in kept for sign in ("{", "}", "$("))
    codes = {ord(char) for char in kept} - {9, 10}
    assert not codes & {*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)}
    assert not codes & set(range(0xE0000, 0xF0000))


@pytest.mark.parametrize("schema", [{"type": "nope"}, {"type": "string", "pattern": "("}])
def test_a_schema_that_is_none_is_refused_when_it_is_loaded(schema):
    """The author of a definition learns of a bad schema before anybody runs it."""
    with pytest.raises(ValueError, match=r"\w"):
        InputSchema.compile(schema)


def test_a_costly_pattern_is_bounded():
    """A pattern that backtracks without end costs a refusal and not the server."""
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": r"^(a|a)*\1$"}}}

    assert list(refused({"x": "a" * 60 + "b"}, schema)) == ["/x"]


def test_a_condition_is_asked_without_errors():
    """A ``when`` schema says yes or no."""
    schema = InputSchema.compile({"properties": {"size": {"const": "large"}}})

    assert schema.matches({"size": "large"})
    assert not schema.matches({"size": "small"})


def test_a_refusal_does_not_repeat_a_long_value():
    """The answer to a huge value is short."""
    schema = {"properties": {"x": {"type": "string", "maxLength": 3}}}

    errors = refused({"x": "a" * 50_000 + "end"}, schema)

    assert len(errors["/x"]) < 320
    assert errors["/x"].startswith('"aaa')
    assert errors["/x"].endswith('aend" is longer than 3 characters')


def test_a_refusal_names_no_more_fields_than_somebody_reads():
    """Ten thousand wrong fields are not ten thousand sentences."""
    closed = {"properties": {"a": {}}, "additionalProperties": False}

    assert len(refused({f"n{number}": 1 for number in range(10_000)}, closed)) == 50
    assert len(refused({f"n{number}": "{{" for number in range(10_000)})) == 50


def test_the_name_of_a_field_has_an_end():
    """A name of any length is not compared with patterns, nor repeated in the answer."""
    assert refused({"name": "a", "size": "small", "any": {"n" * 201: 1}}) == {
        "/any": "has a name that is longer than 200 characters"
    }
    assert InputSchema.compile(SCHEMA).check({"name": "a", "size": "small", "any": {"n" * 200: 1}})


@pytest.mark.parametrize(
    ("text", "braces", "reason"),
    [
        ("costs 5$", False, "must not end with '$': with what follows"),
        ("a {", True, "must not end with '{': with what follows"),
        ("\U000f0000", False, "must not contain the character U+F0000, which Argo cannot hold"),
        ("\U0010ffff", False, "must not contain the character U+10FFFF, which Argo cannot hold"),
    ],
)
def test_what_argo_could_not_hold_or_would_complete_is_refused(text, braces, reason):
    """Half a tag at the end, and characters that leave a workflow invalid, are named."""
    assert str(forbidden_text(text, braces=braces)).startswith(reason)


@given(st.text(max_size=20), st.text(alphabet="${}(=a", max_size=6), st.booleans())
def test_texts_that_pass_make_no_tag_side_by_side(first, second, braces):
    """A template may put two values into one text; together they are as harmless as alone."""
    for one, other in ((first, second), (second, first), (second, second)):
        if forbidden_text(one, braces=braces) or forbidden_text(other, braces=braces):
            continue
        assert not any(sign in one + other for sign in ("{{", "$("))


@given(st.text(max_size=40))
def test_texts_that_pass_are_held_by_argo_as_they_are(text):
    """Argo writes values into JSON in Go's manner; what passes reads back unchanged."""
    if forbidden_text(text) is None:
        assert json.loads(f'"{go_quote(text)}"') == text


def test_a_refusal_is_one_line_whatever_it_repeats():
    """Neither a value nor the name of a field can add a line to a log."""
    closed = {
        "properties": {"a": {"type": "string", "maxLength": 1}},
        "additionalProperties": False,
    }

    with pytest.raises(InputInvalid) as caught:
        InputSchema.compile(closed).check({"a": "x\u2028✓ done", "b\n✓ done": 1})

    assert caught.value.detail.splitlines() == [caught.value.detail]
    assert all(len(error.message.splitlines()) == 1 for error in caught.value.errors)
