"""From a checked input to what Argo and the catalog get."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.actions import Source
from bridge.domain.errors import DefinitionInvalid, InputInvalid
from bridge.domain.mapping import (
    NO_USER,
    Site,
    WorkflowFacts,
    entity_of,
    example_outputs,
    outputs_of,
    parameters_of,
    roots_of,
    timestamp,
    value_of,
    workflow_of,
)
from bridge.domain.runs import RunContext
from tests.domain.making import NOW, RUN_ID, a_run, definition

SITE = Site(instance="one", url="https://bridge.example", callback_url="https://cb", cluster="c1")


def roots(run=None, made=None, **more):
    made = made or definition()
    return roots_of(run or a_run(), definition=made, site=SITE, **more)


def test_a_run_has_every_root_that_a_definition_may_read():
    """Each documented reference has its value, and approval is decided by the bridge."""
    facts = WorkflowFacts(url="https://argo/x", outputs={"thing": "t"})

    found = roots(workflow=facts, entity_ref="resource:default/a-thing")

    assert found["run"] == {
        "id": RUN_ID,
        "attempt": 1,
        "url": f"https://bridge.example/v1/runs/{RUN_ID}",
        "createdAt": "2026-11-22T10:00:00.000Z",
    }
    assert found["workflow"]["url"] == "https://argo/x"
    assert found["workflow"]["outputs"] == {"thing": "t"}
    assert found["entity"] == {"ref": "resource:default/a-thing"}
    assert found["approval"] == {"required": "false"}
    assert found["bridge"]["cluster"] == "c1"


def test_production_needs_an_approval():
    """Whether somebody must agree follows from the input, not from what the workflow thinks."""
    run = a_run(input={"name": "a-thing", "environment": "production"})

    assert roots(run)["approval"] == {"required": "true"}
    assert roots(run, definition(approval=None))["approval"] == {"required": "false"}


def test_a_run_without_a_user_says_so():
    """A service may ask for itself; nobody is made up."""
    assert roots(a_run(user=None))["user"] == {"ref": NO_USER}


def test_parameters_are_texts_and_absent_ones_are_left_to_the_template():
    """Argo gets strings only, and a parameter without a value keeps the template's default."""
    made = definition(
        workflow={
            "template": "t",
            "parameters": {
                "name": {"from": "input.name"},
                "tags": {"from": "input.tags", "as": "json", "default": ["a"]},
                "absent": {"from": "input.tags"},
                "fixed": {"const": 3},
                "both": {"template": "{input.name}-{run.attempt}"},
                "workflow": {"from": "workflow.name"},
            },
        }
    )

    assert parameters_of(made, roots=roots(made=made)) == {
        "name": "a-thing",
        "tags": '["a"]',
        "fixed": "3",
        "both": "a-thing-1",
        "workflow": f"thing-make-{RUN_ID}",
    }


@pytest.mark.parametrize(
    ("source", "given_input", "pointer", "message"),
    [
        ({"from": "input.name"}, {"name": "{{x}}"}, "/name", "must not contain '{{'"),
        ({"from": "input.team", "as": "entityName"}, {"team": "a b"}, "/team", "not an entity"),
        ({"from": "user.ref"}, {}, "", "must not contain"),
        ({"template": "{run.id}{user.ref}"}, {}, "", "must not contain"),
        ({"template": "{bridge.url}{input.team}"}, {"team": "$(x)"}, "/team", "'$('"),
    ],
)
def test_the_last_guard_names_the_field(source, given_input, pointer, message):
    """Whatever a definition does with a value, nothing that Argo expands leaves the bridge."""
    made = definition(workflow={"template": "t", "parameters": {"p": source}})
    run = a_run(input={"name": "n", **given_input}, user="user:default/$(ann)")

    with pytest.raises(InputInvalid) as refused:
        parameters_of(made, roots=roots(run, made))

    (error,) = refused.value.errors
    assert error.pointer == pointer
    assert message in error.message


TEXTS = st.text(max_size=20) | st.text(alphabet="${}(=) a\n\t", max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(text=TEXTS, value=VALUES, braces=st.booleans())
def test_what_passes_the_check_reaches_the_workflow_unchanged_or_is_refused(text, value, braces):
    """No value is mended, cut or escaped on its way: it is the same in Argo, or it is refused."""
    fields = {"text": {"type": "string", "x-bridge-allow-braces": braces}, "value": {}}
    parameters = {"text": {"from": "input.text"}, "value": {"from": "input.value", "as": "json"}}
    made = definition(
        input={"properties": fields}, workflow={"template": "t", "parameters": parameters}
    )
    try:
        given_input = made.check_input({"text": text, "value": value})
        found = parameters_of(made, roots=roots(a_run(input=given_input), made))
    except InputInvalid as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert refusal.errors
        return

    assert found["text"] == text
    assert json.loads(found.get("value", "null")) == value


@given(st.text(max_size=20), st.text(max_size=20), st.lists(st.text(max_size=8), max_size=3))
def test_no_parameter_holds_a_tag(name, team, tags):
    """Two harmless halves never become a tag: the value as sent is what is checked."""
    parameters = {
        "both": {"template": "{input.name}{input.team}"},
        "tags": {"from": "input.tags", "as": "json"},
    }
    made = definition(workflow={"template": "t", "parameters": parameters})
    run = a_run(input={"name": name, "team": team, "tags": tags})
    try:
        found = parameters_of(made, roots=roots(run, made))
    except InputInvalid:
        return
    assert not any(sign in text for text in found.values() for sign in ("{{", "}}", "$("))


def test_a_source_keeps_the_type_of_its_value():
    """Outputs are values and not texts, unless a filter says so."""
    at = {"workflow": {"outputs": {"n": 3}}, "input": {}}

    assert value_of(Source.model_validate({"from": "workflow.outputs.n"}), roots=at) == 3
    assert value_of(Source.model_validate({"const": [1]}), roots=at) == [1]
    assert value_of(Source.model_validate({"template": "{workflow.outputs.n}!"}), roots=at) == "3!"
    assert value_of(Source.model_validate({"from": "input.x", "default": 0}), roots=at) == 0


def test_outputs_without_a_value_are_left_out():
    """The outputs of an action are those that there are."""
    made = definition(
        outputs={
            "thing": {"from": "workflow.outputs.thing"},
            "ref": {"from": "entity.ref"},
            "n": {"from": "workflow.outputs.n", "as": "json"},
        }
    )
    found = roots(made=made, workflow=WorkflowFacts(outputs={"thing": "t", "n": 3}))

    assert outputs_of(made, roots=found) == {"thing": "t", "n": "3"}


def test_the_entity_names_its_owner_in_full():
    """A short team name becomes the reference that the catalog compares."""
    entity = entity_of(definition(), roots=roots(), run_id=RUN_ID)

    assert entity.document["spec"] == {"type": "thing", "owner": "group:default/team-a"}
    assert str(entity.ref) == "resource:default/a-thing"
    assert entity.document["metadata"]["annotations"] == {"bridge/run": RUN_ID}


def test_an_action_may_have_no_entity_or_one_without_an_owner():
    """Not everything that runs leaves an entity, and not every entity has a spec."""
    bare = {"kind": "Resource", "metadata": {"name": "{input.name}"}}

    assert entity_of(definition(catalog=None), roots=roots(), run_id=None) is None
    assert entity_of(definition(catalog={"entity": bare}), roots=roots(), run_id=None).document == {
        "kind": "Resource",
        "metadata": {"name": "a-thing"},
    }


def test_an_entity_that_no_catalog_takes_is_an_error_of_the_definition():
    """The author is told, and nothing half-made is served."""
    bad = {"kind": "Resource", "metadata": {"name": "no good {input.name}"}}

    with pytest.raises(DefinitionInvalid, match="no good a-thing"):
        entity_of(definition(catalog={"entity": bad}), roots=roots(), run_id=None)


def test_the_workflow_is_a_reference_with_arguments_and_labels():
    """What is created at Argo is nothing but the template's name, values and who asked."""
    made = definition()

    workflow = workflow_of(a_run(), definition=made, site=SITE, roots=roots())

    assert workflow == {
        "metadata": {
            "name": f"thing-make-{RUN_ID}",
            "namespace": "argo",
            "labels": {
                "bridge/instance": "one",
                "bridge/run": RUN_ID,
                "bridge/action": "thing.make",
            },
            "annotations": {
                "bridge/requested-by": "user:default/ann",
                "bridge/task": "task-1",
                "bridge/template": "template:default/thing",
                "workflows.argoproj.io/title": f"Make a thing ({RUN_ID})",
            },
        },
        "spec": {
            "workflowTemplateRef": {"name": "make-thing"},
            "arguments": {
                "parameters": [
                    {"name": "name", "value": "a-thing"},
                    {"name": "team", "value": "team-a"},
                    {"name": "tags", "value": "[]"},
                    {"name": "by", "value": "user:default/ann"},
                    {"name": "approval", "value": "false"},
                ]
            },
        },
    }


def test_unknown_context_leaves_no_empty_annotations():
    """A run that no Backstage task asked for names none."""
    run = a_run(user=None, context=RunContext())

    workflow = workflow_of(run, definition=definition(), site=SITE, roots=roots(run))

    assert set(workflow["metadata"]["annotations"]) == {
        "bridge/requested-by",
        "workflows.argoproj.io/title",
    }


def test_a_dry_run_shows_the_examples():
    """Outputs without an example are not made up."""
    properties = {"a": {"examples": [1, 2]}, "b": {"examples": []}, "c": {}, "d": True}

    assert example_outputs(definition(output={"properties": properties})) == {"a": 1}
    assert example_outputs(definition()) == {"thing": "a-thing"}


def test_times_are_utc_with_milliseconds():
    """Every time of the API has the same form."""
    assert timestamp(NOW) == "2026-11-22T10:00:00.000Z"
