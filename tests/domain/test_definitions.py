"""Definitions: read whole, or refused with the line of every mistake."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import (
    Catalogue,
    Problem,
    merge,
    parse_definition,
)
from bridge.domain.errors import ActionUnknown, DefinitionInvalid
from bridge.domain.yaml_text import MAX_BYTES
from tests.domain.making import DOCUMENT, definition, document

TEXT = yaml.safe_dump(json.loads(json.dumps(DOCUMENT)), sort_keys=False)
SMALL = """\
apiVersion: bridge/v1
kind: Action
metadata:
  id: thing:make
  title: Make a thing
spec:
  input: {type: object, properties: {name: {type: string}}}
  workflow:
    template: make-thing
    parameters:
      name: {from: input.name}
"""

TEAM = "spec:\n  access: {{team: {{from: {}}}}}"


def line_of(text: str, sign: str) -> int:
    """The line of *text* in which *sign* first stands."""
    return next(n for n, line in enumerate(text.splitlines(), start=1) if sign in line)


def refused(text: str) -> DefinitionInvalid:
    with pytest.raises(DefinitionInvalid) as caught:
        parse_definition(text, file="thing/action.yaml")
    assert caught.value.file == "thing/action.yaml"
    return caught.value


def test_a_definition_is_read_and_kept_as_it_was_written():
    """What a run stores of its definition reads back as the same definition."""
    made = parse_definition(TEXT, file="x")

    assert made.id == "thing:make"
    assert made.document == DOCUMENT
    assert ActionDefinition.model_validate(made.document).digest == made.digest
    assert made.spec.max_wait == 21_600


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("template: make-thing", "tmplate: x", "workflow:", "spec.workflow.template: field requ"),
        ("id: thing:make", "id: Thing", "id: Thing", "metadata.id: string should match"),
        ("bridge/v1", "bridge/v2", "bridge/v2", "apiVersion: input should be 'bridge/v1'"),
        ("from: input.name", "from: input.nme", "spec:", "input.nme is not a field of spec.input"),
        ("from: input.name", "from: workflow.uid", "spec:", "workflow.uid has no value before"),
        ("from: input.name", "from: nope.x", "name: {from", "'nope.x' must start with one of"),
        ("from: input.name", "const: 1, from: run.id", "name: {const", "needs exactly one of"),
        ("{from: input.name}", "{}", "name: {}", "needs exactly one of from, const and template"),
        ("{from: input.name}", "{from: input.name, as: x}", "as: x", "'x' is not a filter"),
        ("{from: input.name}", "{template: '{input.name'}", "name: {temp", "belongs to no"),
        ("{type: string}", "{type: strin}", "input:", "spec.input: "),
        ("spec:", TEAM.format("input.team"), "spec:", "access.team: input.team is not a field"),
        ("spec:", TEAM.format("run.id"), "spec:", "access.team: run.id is not a field"),
        ("kind: Action", "kind: Action\nextra: 1", "extra", "extra: extra inputs are not"),
    ],
)
def test_a_mistake_is_named_with_its_line(old, new, at, message):
    """The author of a definition is led to the line to mend."""
    text = SMALL.replace(old, new)

    error = refused(text)

    assert message in error.detail
    assert error.line == line_of(text, at)


def test_all_mistakes_are_told_at_once():
    """A definition with two mistakes is mended in one go."""
    error = refused(SMALL.replace("thing:make", "Bad").replace("template: make-thing", "x: y"))

    assert "metadata.id: " in error.detail
    assert "spec.workflow.template: field required" in error.detail
    assert error.line == 4


def test_a_mistake_in_a_list_has_the_line_of_its_item():
    """Also below a list the line is the item's own."""
    text = SMALL + "  examples:\n    - {description: a, input: {}}\n    - {input: {}}\n"

    error = refused(text)

    assert error.detail == "spec.examples.1.description: field required"
    assert error.line == line_of(text, "- {input: {}}")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [1\nb: 2\n", 2, "is not YAML: "),
        ("", 1, "must be a mapping"),
        ("- a\n", 1, "must be a mapping"),
        ("a: &x 1\nb: *x\n", 2, "must not use YAML aliases"),
        ("a: \x07\n", 1, "is not YAML: "),
        ("a: 1\n---\nb: 2\n", 3, "holds more than one YAML document"),
        ("x" * (MAX_BYTES + 1), 1, "is larger than 256 KiB"),
        ("a:\n  b: !foo 1\n", 2, "is not YAML: could not determine a constructor"),
        ("a: 1\n? [b]\n: 1\n", 2, "is not YAML: found unhashable key"),
        ("a: 2001-13-45\n", 1, "is not YAML: month must be in 1..12"),
        ("a:\n  " + "[" * 120_000 + "]" * 120_000, 2, "is nested more than 64 levels deep"),
    ],
    ids=["flow", "empty", "list", "alias", "control", "two", "large", "tag", "key", "date", "deep"],
)
def test_what_is_no_definition_at_all_is_refused(text, line, message):
    """Text that is no YAML mapping is refused with its line and never read further."""
    error = refused(text)

    assert error.detail.startswith(message)
    assert error.line == line


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_definition_or_refused_with_a_line(text):
    """No file, however broken, takes the other definitions down."""
    try:
        parse_definition(text, file="x")
    except DefinitionInvalid as error:
        refusal = error
    assert refusal.line >= 1
    assert refusal.detail


@given(st.data())
def test_a_definition_with_a_torn_line_is_read_or_refused_with_a_line(data):
    """A file that is saved half is refused with a line of that very file."""
    lines = TEXT.splitlines()
    torn = data.draw(st.integers(min_value=0, max_value=len(lines) - 1))
    keep = data.draw(st.integers(min_value=0, max_value=len(lines[torn])))
    rest = lines[torn + 1 :] if data.draw(st.booleans()) else []
    text = "\n".join([*lines[:torn], lines[torn][:keep], *rest])
    try:
        assert parse_definition(text, file="x").id
    except DefinitionInvalid as error:
        refusal = error
        assert 1 <= refusal.line <= len(lines) + 1


def places(value, path=()):
    """Every path in a document."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in items:
            yield from places(child, (*path, key))


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=12)
    | st.sampled_from(["input.name", "{input.name}", "input.", "{", "(a+)+$", "$ref", "6h", "^["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(places(json.loads(json.dumps(DOCUMENT))), key=str)), ODD)
def test_a_definition_with_anything_anywhere_is_read_or_refused_with_a_line(path, odd):
    """Whatever somebody writes into a field, the answer is a sentence and a line."""
    changed = json.loads(json.dumps(DOCUMENT))
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    if path:
        holder[path[-1]] = odd
    text = yaml.safe_dump(changed if path else odd, sort_keys=False, allow_unicode=True)
    try:
        assert parse_definition(text, file="x").digest
    except DefinitionInvalid as error:
        refusal = error
        assert 1 <= refusal.line <= len(text.splitlines()) + 1
        assert refusal.detail


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("1d", 86400), (5, 5)]
)
def test_a_duration_is_read(text, seconds):
    """Waits are written as people say them."""
    assert definition(maxWait=text).spec.max_wait == seconds


@pytest.mark.parametrize("text", ["soon", "6 h", "-1s", "1w", "0s", -5])
def test_what_is_no_duration_is_refused(text):
    """A wait that is none is a mistake of the definition."""
    with pytest.raises(ValueError, match=r"must be a duration|greater than"):
        definition(maxWait=text)


def test_locks_and_entities_are_read_when_they_are_loaded():
    """A mistake in a lock or an entity is found before any run meets it."""
    assert definition(lock="thing/{input.name}").spec.lock
    with pytest.raises(ValueError, match="belongs to no"):
        definition(lock="thing/{input.name")
    with pytest.raises(ValueError, match="must start with one of"):
        definition(catalog={"entity": {"metadata": {"name": "{nope.x}"}}})


def test_the_name_of_the_workflow_is_known_before_the_run():
    """A workflow may be told its own name; nothing else of it exists yet."""
    parameters = {"self": {"from": "workflow.name"}}

    assert definition(workflow={"template": "t", "parameters": parameters})


def test_an_input_is_checked_by_its_definition():
    """The definition applies its own schema, and compiles it once."""
    made = definition()

    assert made.check_input({"name": "a"})["team"] == "team-a"
    assert made.input_schema is made.input_schema


# --- the catalogue ----------------------------------------------------------------------------


def other(action_id: str) -> ActionDefinition:
    changed = document()
    changed["metadata"] = {**changed["metadata"], "id": action_id}
    return ActionDefinition.model_validate(changed)


def test_a_file_that_goes_bad_keeps_its_last_good_version():
    """An edit with a mistake takes nothing down: the old version stays and the mistake is told."""
    good = definition()
    last = merge([("a", good), ("b", other("b:make"))], last_good=Catalogue(files={}))
    bad = DefinitionInvalid("is not YAML", file="a", line=7)
    new = DefinitionInvalid("is not YAML", file="c", line=7)

    now = merge([("a", bad), ("b", other("b:make")), ("c", new)], last_good=last)

    assert now.files["a"] is good
    assert set(now.actions) == {"thing:make", "b:make"}
    assert now.problems == (Problem("a", 7, "is not YAML"), Problem("c", 7, "is not YAML"))


def test_a_file_that_is_gone_is_gone():
    """Taking a folder away takes its action away."""
    last = Catalogue(files={"a": definition()})

    assert merge([], last_good=last) == Catalogue(files={})


def test_a_second_action_of_the_same_id_is_refused():
    """Two folders cannot quarrel over one id: the first keeps it."""
    now = merge([("a", definition()), ("b", definition())], last_good=Catalogue(files={}))

    assert list(now.files) == ["a"]
    assert now.problems == (Problem("b", 1, "metadata.id 'thing:make' is already defined in a"),)


def test_an_unknown_action_names_those_that_come_close():
    """A typing mistake in an action's id is answered with the id that was meant."""
    catalogue = Catalogue(files={"a": definition(), "b": other("other:make")})

    with pytest.raises(ActionUnknown, match=r"Did you mean thing:make") as close:
        catalogue.get("thing:mke")
    with pytest.raises(ActionUnknown, match=r"^There is no action 'zzz'\.$") as far:
        catalogue.get("zzz")
    assert close.value.suggestions[0] == "thing:make"
    assert far.value.suggestions == ()
    assert catalogue.get("thing:make").id == "thing:make"


@pytest.mark.parametrize("lock", ["thing/{workflow.uid}", {"key": "thing/{entity.ref}"}])
def test_a_lock_cannot_rest_on_what_comes_after_the_run(lock):
    """What a run may work on is known before it begins, or the definition is refused."""
    with pytest.raises(ValueError, match="has no value before the run"):
        definition(lock=lock)
