"""Submissions that Argo Server refuses because of a tag."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from bridge.localargo.errors import ArgoError
from bridge.localargo.validation import validate_tags

RECORDINGS = Path(__file__).parent / "recordings"
SPECS = {
    each["metadata"]["name"]: each["spec"]
    for each in yaml.safe_load_all((RECORDINGS / "templates.yaml").read_text())
}
VALUES = [
    {**case, "template": "inject-probe"}
    for case in json.loads((RECORDINGS / "parameter-values.json").read_text())
]
MANIFESTS = [
    {**case, "template": case["case"].split("/")[0]}
    for case in json.loads((RECORDINGS / "injection-manifest.json").read_text())
]


def _answer(plan: dict[str, object], parameters: dict[str, str]) -> str:
    """Return the refusal, "" for none."""
    values: dict[str, str | None] = {
        "workflow.name": "w",
        "workflow.namespace": "argo-workflows",
        "workflow.uid": "u",
        "workflow.serviceAccountName": "s",
        "workflow.mainEntrypoint": "main",
        "workflow.labels.secret": "x",
        "workflow.parameters": json.dumps([{"name": "v"}]),
    }
    values |= {f"workflow.parameters.{name}": value for name, value in parameters.items()}
    try:
        validate_tags(plan, values)
    except ArgoError as error:
        return error.message if error.status == HTTPStatus.BAD_REQUEST else repr(error)
    return ""


def _steps(*groups: list[dict[str, object]], **others: object) -> dict[str, object]:
    templates = [{"name": "main", "steps": list(groups)}, *others.pop("templates", [])]
    return {"entrypoint": "main", "templates": templates, **others}


def _script(name: str, source: str, *inputs: str, **more: object) -> dict[str, object]:
    parameters = [{"name": each} for each in inputs]
    return {
        "name": name,
        "inputs": {"parameters": parameters},
        "script": {"source": source},
        **more,
    }


@pytest.mark.parametrize("case", [*VALUES, *MANIFESTS], ids=lambda case: case["case"])
def test_values_are_taken_or_refused_as_recorded(case):
    """A submission gets the status and the text that a real Argo Server gave."""
    parameters = {"v": case["value"], "cm": "mp", "other": "OTHER-PARAMETER"}

    answer = _answer(SPECS[case["template"]], parameters)

    if case["case"] == "tag-split":  # the text goes on over the JSON of the template
        assert answer.startswith(case["error"].split('"')[0])
    else:
        assert answer == case.get("error", "")


def test_the_recorded_provisioning_template_is_taken():
    """Loops, retries, exit handler and global outputs of a real template pass."""
    spec = SPECS["namespace-provisioning"]
    parameters = {each["name"]: each.get("value", "x") for each in spec["arguments"]["parameters"]}

    assert _answer(spec, parameters) == ""


@pytest.mark.parametrize(
    ("plan", "refusal"),
    [
        (
            _steps([{"name": "ask", "template": "nope"}]),
            "templates.main.steps[0].ask template name 'nope' undefined",
        ),
        (
            _steps(
                [],
                [
                    {
                        "name": "deploy",
                        "template": "echo",
                        "arguments": {"parameters": [{"name": "text", "value": "x"}]},
                    }
                ],
                templates=[_script("echo", "{{inputs.parameters.txet}}", "text")],
            ),
            (
                "templates.main.steps[1].deploy templates.echo: "
                "failed to resolve {{inputs.parameters.txet}}"
            ),
        ),
        (
            _steps([{"name": "a", "template": "echo"}], templates=[_script("echo", "x", "text")]),
            "templates.main.steps[0].a templates.echo inputs.parameters.text was not supplied",
        ),
        (
            _steps(
                [{"name": "a", "template": "echo", "when": "{{item.x}}"}],
                templates=[_script("echo", "x")],
            ),
            "templates.main.steps failed to resolve {{item.x}}",
        ),
        (
            _steps(
                [{"name": "a", "template": "echo", "when": "{{workflow.status}}"}],
                templates=[_script("echo", "x")],
                onExit="echo",
            ),
            "templates.main.steps failed to resolve {{workflow.status}}",
        ),
        (
            {
                "entrypoint": "main",
                "templates": [
                    {
                        "name": "main",
                        "dag": {
                            "tasks": [
                                {"name": "a", "template": "echo", "when": "{{tasks.b.status}}"},
                                {"name": "b", "template": "echo", "depends": "a"},
                            ]
                        },
                    },
                    _script("echo", "x"),
                ],
            },
            "templates.main.tasks.a failed to resolve {{tasks.b.status}}",
        ),
        ({"entrypoint": "nope", "templates": []}, "template name 'nope' undefined"),
        (
            {"entrypoint": "main", "templates": [_script("main", "{{pod.name}} {{retries}}")]},
            "",
        ),
        (
            {"entrypoint": "main", "templates": [{"name": "main", "suspend": "{{pod.name}}"}]},
            "templates.main: failed to resolve {{pod.name}}",
        ),
    ],
)
def test_templates_with_names_that_cannot_be_are_refused(plan, refusal):
    """A typing error in a template is answered at once, with its place."""
    assert _answer(plan, {}) == refusal


def test_names_that_exist_later_are_taken():
    """Outputs, items, retries and the end of the workflow are known where they can be."""
    echo = _script(
        "echo",
        "{{inputs.parameters.t}} {{retries}} {{outputs.result}} {{workflow.duration}}",
        "t",
        retryStrategy={},
        outputs={"parameters": [{"name": "o", "globalName": "g", "valueFrom": {"path": "/o"}}]},
    )

    def given(value: str) -> dict[str, object]:
        return {"parameters": [{"name": "t", "value": value}]}

    tasks = [
        {"name": "a", "template": "echo", "withParam": "[1]", "arguments": given("{{item.x}}")},
        {"name": "b", "template": "echo", "dependencies": ["a"], "arguments": given("x")},
        {
            "name": "c",
            "template": "echo",
            "depends": "b.Succeeded",
            "arguments": given("{{tasks.a.outputs.parameters.o}} {{tasks.b.outputs.result}}"),
        },
    ]
    bye = _script(
        "bye", "{{workflow.status}} {{workflow.failures}} {{workflow.outputs.parameters.g}}"
    )
    plan = _steps(
        [{"name": "one", "template": "echo", "withItems": [1], "arguments": given("{{item}}")}],
        [{"name": "two", "template": "dag", "when": "{{steps.one.outputs.parameters.o}}"}],
        templates=[echo, {"name": "dag", "dag": {"tasks": tasks}}, bye],
        onExit="bye",
    )

    assert _answer(plan, {}) == ""


def test_a_template_that_calls_itself_ends():
    """Recursive templates are checked once."""
    plan = _steps([{"name": "again", "template": "main"}])

    assert _answer(plan, {}) == ""


def test_values_of_inputs_may_come_from_defaults_and_outputs():
    """An argument may be left out if the template has a value for it, or get it later."""
    inputs = [{"name": "a", "default": "x"}, {"name": "b", "valueFrom": {"expression": "'x'"}}]
    echo = {"name": "echo", "inputs": {"parameters": inputs}, "script": {"source": "x"}}
    plan = _steps([{"name": "s", "template": "echo"}], templates=[echo])

    assert _answer(plan, {}) == ""
