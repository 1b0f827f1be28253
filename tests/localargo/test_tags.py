"""Tags: what a value becomes on its way through templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.localargo.tags import (
    Scope,
    TagError,
    UnparsableTagError,
    UnresolvedTagError,
    UnsupportedTagError,
    check_expressions,
    go_quote,
    substitute,
    tags_of,
)

RECORDINGS = Path(__file__).parent / "recordings"
VALUES = json.loads((RECORDINGS / "parameter-values.json").read_text())
MANIFESTS = json.loads((RECORDINGS / "injection-manifest.json").read_text())
TEMPLATES = {
    each["metadata"]["name"]: {part["name"]: part for part in each["spec"]["templates"]}
    for each in yaml.safe_load_all((RECORDINGS / "templates.yaml").read_text())
}
PROBE = TEMPLATES["inject-probe"]
STEP_OUTPUT = {"steps.first.outputs.parameters.o": "OUTPUT-OF-A-STEP"}
ODD_TEXT = st.text(st.sampled_from("{}= '\"\\\n\x1b\x7fé\U000e0001a1+.w"), max_size=20)


def _globals(case: str, value: str) -> Scope:
    return Scope(
        {
            "workflow.name": f"inj-{case}",
            "workflow.namespace": "argo-workflows",
            "workflow.uid": "fb33b723-8e35-4a65-a72e-98512e1279c5",
            "workflow.serviceAccountName": "platform-provisioner",
            "workflow.mainEntrypoint": "main",
            "workflow.creationTimestamp": "2026-11-21T22:30:16Z",
            "workflow.labels.secret": "LABEL-VALUE",
            "workflow.parameters.v": value,
            "workflow.parameters.other": "OTHER-PARAMETER",
        }
    )


def _ran(case: dict[str, str]) -> bool:
    """Leave out what another layer changes: Kubernetes' `$(…)`, and an answer that never came."""
    return case.get("show_phase", case.get("phase")) == "Succeeded"


@pytest.mark.parametrize(
    "case", [case for case in VALUES if _ran(case)], ids=lambda case: case["case"]
)
def test_values_expand_where_a_real_argo_expanded_them(case):
    """A value with tags in it reaches the step's input as it did on a cluster."""
    scope = _globals(case["case"], case["value"])
    steps = substitute(PROBE["main"], scope)["steps"]

    step = substitute(steps[1][0], scope.extended(STEP_OUTPUT), strict=("steps", "tasks"))

    (given_value,) = step["arguments"]["parameters"]
    assert given_value["value"] == case["node_input_value"]


@pytest.mark.parametrize(
    "case",
    [case for case in VALUES if _ran(case) and not case["case"].startswith("kube-env")],
    ids=lambda case: case["case"],
)
def test_values_expand_inside_a_pod_as_recorded(case):
    """What a script finds in its environment is what it found on a cluster."""
    inputs = {"inputs.parameters.p": case["node_input_value"]}
    scope = _globals(case["case"], case["value"]).extended(inputs)

    show = substitute(PROBE["show"], scope)

    read_back = [entry["value"].replace("\r\n", "\n") for entry in show["script"]["env"]]
    assert read_back == [case["global-env"], case["input-env"]]


@pytest.mark.parametrize(
    "case", [case for case in VALUES if case.get("stuck")], ids=lambda case: case["case"]
)
def test_values_that_do_not_parse_are_told_apart(case):
    """The engine can see that such a workflow never gets a phase."""
    with pytest.raises(UnparsableTagError):
        check_expressions({"parameters": [{"name": "v", "value": case["value"]}]})


def test_other_values_are_no_reason_to_be_stuck():
    """Every other recorded value lets its workflow begin."""
    for case in VALUES:
        if not case.get("stuck"):
            check_expressions({"parameters": [{"name": "v", "value": case["value"]}]})


@pytest.mark.parametrize(
    "case",
    [case for case in VALUES if str(case.get("message")).startswith("failed to resolve ref")],
    ids=lambda case: case["case"],
)
def test_expressions_that_fail_have_the_recorded_text(case):
    """The workflow's message says what is wrong in the words of a real Argo."""
    scope = _globals(case["case"], case["value"])

    with pytest.raises(TagError) as caught:
        substitute(PROBE["main"], scope)

    assert case["message"] == f"failed to resolve references: {caught.value}"


def test_an_expression_broken_by_escapes_fails_in_the_second_pass():
    """A text escaped twice fails with the recorded message."""
    (case,) = (each for each in MANIFESTS if each["case"] == "manifest-tojson/inject-doc-in-expr")
    scope = Scope({"workflow.parameters.v": case["value"], "workflow.parameters.cm": "mp"})

    with pytest.raises(UnparsableTagError) as caught:
        substitute(TEMPLATES["manifest-tojson"]["main"], scope)

    recorded = case["message"].removeprefix("error in entry template execution: ")
    assert str(caught.value).split("\n")[0] == recorded.split("\n")[0]


def test_values_side_by_side_make_a_tag():
    """Two harmless values can be an expression together (argo-recordings/injection-manifest)."""
    scope = Scope({"workflow.parameters.a": "{", "workflow.parameters.b": "{=1+1}}"})

    joined = substitute("{{workflow.parameters.a}}{{workflow.parameters.b}}", scope)
    apart = substitute("{{workflow.parameters.a}}-{{workflow.parameters.b}}", scope)

    assert (joined, apart) == ("2", "{-{=1+1}}")


def test_a_tag_may_run_over_the_end_of_its_string():
    """An unclosed tag swallows text up to the next closing, as in Argo's JSON."""
    scope = Scope({"workflow.parameters.v": "{{open", "inputs.parameters.p": "P"})

    filled = substitute(["{{workflow.parameters.v}}", "{{inputs.parameters.p}}"], scope)

    assert filled == ["{{open", "P"]
    assert tags_of(["{{open", "{{p}}"]) == ['open","{{p']


def test_unknown_names_stay_as_text():
    """What is no tag of Argo (a Helm template, say) goes through unchanged."""
    text = "{{ .Values.x }} {{workflow.nope}} {{=nothing.here}} {{=item.x}} {{= retries + 1}} {{x"

    assert substitute(text, Scope({"workflow.name": "w"})) == text


def test_outputs_of_steps_must_be_there():
    """A step never starts with a literal tag in the place of an output."""
    scope = Scope({"steps.a.outputs.parameters.x": "1"})

    for text in ("{{steps.a.outputs.parameters.y}}", "{{=steps.b.outputs.result}}", "{{tasks.x}}"):
        with pytest.raises(UnresolvedTagError, match=r"failed to resolve|is missing"):
            substitute(text, scope, strict=("steps", "tasks"))
    assert substitute("{{steps.b.outputs.artifacts.x}}", scope, strict=("steps",)).startswith("{{")


def test_missing_outputs_can_be_replaced_in_an_expression():
    """A skipped step's output falls back with `??`; a simple tag of it is an error."""
    scope = Scope({"steps.a.outputs.parameters.x": None, "workflow.parameters.y": "1"})

    assert substitute("{{=steps.a.outputs.parameters.x ?? 'none'}}", scope) == "none"
    assert substitute("{{=workflow.parameters.nope ?? 'none'}}", scope) == "none"
    with pytest.raises(TagError, match=r"failed to resolve {{steps.a.*}} to string"):
        substitute("{{steps.a.outputs.parameters.x}}", scope)


def test_names_with_dashes_and_items():
    """Parameters and items of a loop can be read in both kinds of tags."""
    scope = Scope(
        {
            "workflow.parameters": "[]",
            "workflow.parameters.a-b": "x",
            "item": '{"name":"n"}',
            "item.name": "n",
        }
    )
    text = "{{workflow.parameters}} {{=workflow.parameters['a-b']}} {{item}} {{=item.name}}"

    assert substitute(text, scope) == '[] x {"name":"n"} n'


def test_results_that_are_no_strings_are_written_as_json():
    """Numbers, booleans and lists arrive as their JSON text."""
    text = "{{=1/2}} {{=1 == 1}} {{=['a\"', 1.0]}} {{=fromJSON('{\"b\": [null]}')}}"

    assert substitute(text, Scope()) == '0.5 true ["a\\"",1] {"b":[null]}'


def test_what_cannot_be_json_is_an_error():
    """Infinite numbers and functions have no text."""
    for text in ("{{=1/0}}", "{{=sprig}}", "{{=[toJson]}}"):
        with pytest.raises(TagError, match="json: unsupported"):
            substitute(text, Scope())


def test_forgiving_substitution_leaves_failing_expressions():
    """A check before the run does not fail for values that only running gives."""
    text = "{{=int('x')}} {{=1+}} {{=nil}} {{=max(1)}} {{=1+1}} {{=\"}}"

    assert substitute(text, Scope(), forgiving=True) == text.replace("{{=1+1}}", "2")


def test_expressions_only_a_real_argo_evaluates_are_refused():
    """A template with one can be refused before anything runs."""
    with pytest.raises(UnsupportedTagError, match=r"does not evaluate the operator \|"):
        check_expressions({"args": ["{{workflow.name}} {{=workflow.name | upper()}}"]})
    with pytest.raises(UnsupportedTagError):
        substitute("{{=1 .. 3}}", Scope())


def test_quoting_is_that_of_go():
    """Values are escaped by Go's rules, which decides what is still JSON afterwards."""
    text = 'a"\\\n\t\r\b\f\a\v\x1b\x7f\x80\u200bé✓\ufffe\U000e0001🚀'

    assert go_quote(text) == (
        'a\\"\\\\\\n\\t\\r\\b\\f\\a\\v\\x1b\\x7f\\u0080\\u200bé✓\\ufffe\\U000e0001🚀'
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ODD_TEXT, ODD_TEXT)
def test_nothing_but_a_tag_error_leaves_substitution(template, value):
    """Whatever stands in a template and a value, the answer is text or a TagError."""
    scope = Scope({"w": value, "w.a": value})
    try:
        assert isinstance(substitute({"t": template + "{{w}}"}, scope)["t"], str)
    except TagError as error:
        assert str(error)  # noqa: PT017 - either end is right, an empty reason is not
