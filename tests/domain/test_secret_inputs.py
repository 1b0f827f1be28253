"""Secret fields: where they may be declared, what a definition may do with them, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import parse_definition
from bridge.domain.errors import DefinitionInvalid, InputInvalid
from bridge.domain.secret_inputs import MASK, apart
from tests.domain.making import DOCUMENT, definition, new_run

PASSWORD = {"type": "string", "writeOnly": True, "minLength": 8, "maxLength": 100}
HANDED = {"from": "input.password", "as": "secret"}
FIELDS = DOCUMENT["spec"]["input"]["properties"]
PARAMETERS = DOCUMENT["spec"]["workflow"]["parameters"]


def keeping(schema: dict[str, Any] | None = None, **spec: Any) -> ActionDefinition:
    """A definition with a secret field, which becomes a parameter."""
    fields = {**FIELDS, "password": PASSWORD if schema is None else schema}
    parts = {
        "input": {**DOCUMENT["spec"]["input"], "properties": fields},
        "workflow": {"template": "t", "parameters": {**PARAMETERS, "password": HANDED}},
    }
    return definition(**{**parts, **spec})


def reading(source: dict[str, Any]) -> dict[str, Any]:
    """A workflow with a parameter of this source."""
    return {"template": "t", "parameters": {"x": source}}


@pytest.mark.parametrize(
    "schema",
    [PASSWORD, {"type": "string", "format": "password", "minLength": 8, "maxLength": 100}],
)
def test_a_secret_is_declared_by_its_schema(schema: dict[str, Any]):
    """The form's schema says what is secret; there is nothing else to write."""
    assert keeping(schema).secret_fields == {"password"}
    assert definition().secret_fields == frozenset()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({**PASSWORD, "type": "integer"}, "must have the type string"),
        ({**PASSWORD, "minLength": 7}, "needs a minLength of 8 or more"),
        ({"type": "string", "writeOnly": True, "maxLength": 9}, "needs a minLength of 8"),
        ({"type": "string", "writeOnly": True, "minLength": 8}, "needs a maxLength"),
        ({**PASSWORD, "default": "change-me"}, "must not have default"),
        ({**PASSWORD, "enum": ["a-password"]}, "must not have enum"),
        ({**PASSWORD, "examples": ["a-password"]}, "must not have examples"),
        ({"type": "object", "properties": {"p": PASSWORD}}, "a field of its own"),
        ({"type": "array", "items": PASSWORD}, "a field of its own"),
        ({"anyOf": [PASSWORD, {"type": "null"}]}, "a field of its own"),
    ],
)
def test_a_secret_that_could_not_be_kept_is_refused(schema: dict[str, Any], said: str):
    """A mistake in a definition is told when it is loaded, before anybody types a password."""
    with pytest.raises(ValueError, match=said):
        keeping(schema, workflow={"template": "t"})


def test_a_secret_under_a_condition_is_refused():
    """A field that is secret only sometimes cannot be kept apart."""
    branch = {"then": {"properties": {"password": PASSWORD}}, "if": {"required": ["team"]}}
    with pytest.raises(ValueError, match="a field of its own"):
        definition(input={**DOCUMENT["spec"]["input"], **branch})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"workflow": reading({"from": "input.password"})}, r"say `as: secret` if that is meant"),
        ({"workflow": reading({"from": "input.password", "as": "string"})}, "say `as: secret`"),
        ({"workflow": reading({"template": "x {input.password}"})}, "say `as: secret`"),
        ({"workflow": reading({"from": "input.name", "as": "secret"})}, "with writeOnly: true"),
        ({"lock": "a/{input.password}"}, "lock: a secret may become"),
        ({"lock": "a/{input.password|secret}"}, "lock: a secret may become"),
        ({"outputs": {"x": {"from": "input.password", "as": "secret"}}}, "outputs.x: a secret"),
        ({"outputs": {"x": {"from": "input.name", "as": "secret"}}}, "outputs.x: a secret"),
        (
            {"catalog": {"entity": {"kind": "R", "metadata": {"name": "{input.password}"}}}},
            "catalog.entity: a secret",
        ),
        ({"access": {"team": {"from": "input.password"}}}, "access.team: a secret"),
        (
            {"approval": {"node": "a", "when": {"properties": {"password": {"minLength": 9}}}}},
            "approval.when: password is secret",
        ),
        (
            {"approval": {"node": "a", "inputs": {"properties": {"p": PASSWORD}}}},
            "approval.inputs: only a field of spec.input",
        ),
        ({"output": {"properties": {"p": PASSWORD}}}, "output: only a field of spec.input"),
    ],
)
def test_a_secret_goes_to_argo_and_nowhere_else(spec: dict[str, Any], said: str):
    """What would be stored or shown must not be made of a secret."""
    with pytest.raises(ValueError, match=said):
        keeping(**spec)


def test_a_template_may_hand_a_secret_on_in_so_many_words():
    """A parameter may be a text with the secret in it."""
    source = {"template": "Bearer {input.password|secret}"}
    assert keeping(workflow=reading(source)).secret_fields == {"password"}


@pytest.mark.parametrize(
    "given",
    [
        {"password": "hunter2"},
        {"password": 12345678},
        {"password": ["hunter2"]},
        {"password": "hunter2" * 20},
        {"password": "hunter2{{x}}"},
        {"password": "hunter2\x00"},
        {"password": "hunter2", "name": 7},
    ],
)
def test_a_refusal_does_not_quote_a_secret(given: dict[str, Any]):
    """The answer to a wrong form goes through logs and browsers."""
    with pytest.raises(InputInvalid) as refused:
        keeping().check_input({"name": "a", **given})
    text = f"{refused.value.detail} {refused.value.errors}"
    assert "/password" in text
    assert "hunter2" not in text
    assert "12345678" not in text


def test_a_refusal_of_the_whole_does_not_quote_a_secret():
    """A rule over several fields is told without what they hold."""
    fields = {**FIELDS, "password": PASSWORD}
    rule = {"anyOf": [{"required": ["tags"]}, {"required": ["missing"]}]}
    made = keeping(input={**DOCUMENT["spec"]["input"], "properties": fields, **rule})
    with pytest.raises(InputInvalid) as refused:
        made.check_input({"name": "a", "password": "hunter2hunter2"})
    assert refused.value.errors[0].message == "does not fit the anyOf"
    assert "hunter2" not in f"{refused.value.detail}"


def test_other_fields_are_refused_as_ever():
    """A secret beside it does not make the sentence about another field worse."""
    with pytest.raises(InputInvalid, match=r"name: \"B\" does not match"):
        keeping().check_input({"name": "B", "password": "hunter2hunter2"})
    with pytest.raises(InputInvalid, match="name: is required"):
        keeping().check_input({"password": "hunter2hunter2"})


def test_an_input_is_shown_without_its_secrets():
    """What is kept and shown says that there was a secret, and not which."""
    given = apart({"name": "a", "password": "hunter2hunter2"}, frozenset({"password", "other"}))
    assert given.shown == {"name": "a", "password": MASK}
    assert given.secrets == {"password": "hunter2hunter2"}
    assert apart({"name": "a"}, frozenset({"password"})).secrets == {}


def test_other_secrets_make_another_fingerprint():
    """The same form with another password is another request; without secrets nothing changes."""
    prints = {new_run(mark=mark).fingerprint for mark in ("", "one", "two")}
    assert len(prints) == 3
    assert new_run().fingerprint == new_run(mark="").fingerprint


TEXT = """\
apiVersion: bridge/v1
kind: Action
metadata: {id: "thing:make", title: Make}
spec:
  input:
    type: object
    properties:
      name: {type: string, maxLength: 9}
      password: {type: string, writeOnly: true, minLength: 8, maxLength: 99}
  workflow: {template: t, parameters: {p: {from: input.password, as: secret}}}
"""


def test_without_a_key_an_action_with_secrets_is_refused_by_file_and_line():
    """Nobody finds out by a failed run that there is no place for a password."""
    assert parse_definition(TEXT, file="a").secret_fields == {"password"}
    with pytest.raises(DefinitionInvalid, match="set BRIDGE_SECRET_KEY") as refused:
        parse_definition(TEXT, file="a", secrets=False)
    assert (refused.value.file, refused.value.line) == ("a", 9)
    open_ = TEXT.replace("writeOnly: true, ", "").replace(", as: secret", "")
    assert parse_definition(open_, file="a", secrets=False)
