"""The golden cases of every shipped action: its folder's ``cases/*.yaml``."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import parse_definition
from bridge.domain.errors import InputInvalid
from bridge.domain.mapping import (
    Site,
    WorkflowFacts,
    entity_of,
    example_outputs,
    outputs_of,
    parameters_of,
    roots_of,
)
from bridge.domain.references import render_template
from bridge.domain.runs import NewRun, Run, RunContext

ROOT = Path(__file__).parents[2] / "backstage-actions" / "actions"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/action.yaml"))
CASES = [case for folder in FOLDERS for case in sorted(folder.glob("cases/*.yaml"))]


def definition_in(folder: Path) -> ActionDefinition:
    return parse_definition((folder / "action.yaml").read_text(), file=folder.name)


def case_id(path: Path) -> str:
    return f"{path.parents[1].name}/{path.stem}"


def run_of(case: dict, definition: ActionDefinition, given: dict) -> Run:
    context = case.get("context", {})
    run = case.get("run", {})
    new = NewRun(
        id=run.get("id", "01kagw9zq6x3v5t7y8r2m4n6p8"),
        action=definition.id,
        definition=definition.document,
        definition_digest=definition.digest,
        caller="plugin:scaffolder",
        user=case.get("user", {}).get("ref"),
        key="key",
        input=given,
        context=RunContext(context.get("taskId"), context.get("stepId"), context.get("template")),
        target="default",
        namespace="argo-workflows",
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    return Run.accepted(new, attempt=run.get("attempt", 1))


@pytest.mark.parametrize("path", CASES, ids=case_id)
def test_golden_case(path: Path):
    """Each case gives just the parameters, lock, outputs and entity that it says, or its errors."""
    case = yaml.safe_load(path.read_text())
    definition = definition_in(path.parents[1])
    expect = case["expect"]

    if "errors" in expect:
        with pytest.raises(InputInvalid) as refused:
            definition.check_input(case["input"])
        assert {item["pointer"] for item in expect["errors"]} == {
            error.pointer for error in refused.value.errors
        }
        return

    given = definition.check_input(case["input"])
    bridge = case["bridge"]
    site = Site(url=bridge["url"], callback_url=bridge["callbackUrl"], cluster=bridge["cluster"])
    run = run_of(case, definition, given)
    workflow = case.get("workflow", {})
    facts = WorkflowFacts(url=workflow.get("url"), outputs=workflow.get("outputs"))
    roots = roots_of(run, definition=definition, site=site, workflow=facts)
    entity = entity_of(definition, roots=roots, run_id=run.id)
    got = {
        "input": given,
        "lock": render_template(
            definition.spec.lock.key if definition.spec.lock else "", roots=roots
        ),
        "approval": definition.approval_required(given),
        "parameters": parameters_of(definition, roots=roots),
        "outputs": outputs_of(definition, roots={**roots, "entity": {"ref": str(entity.ref)}}),
        "entity": entity.document,
    }

    for name, value in expect.items():
        assert value == got[name], name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_action_has_accepted_and_refused_cases(folder: Path):
    """No action is shipped without cases that pass and cases that are refused."""
    cases = [yaml.safe_load(path.read_text()) for path in folder.glob("cases/*.yaml")]

    assert any("errors" in case["expect"] for case in cases)
    assert any("parameters" in case["expect"] for case in cases)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_examples_of_the_definition_are_accepted(folder: Path):
    """What an action shows as an example works, and a dry run shows its outputs."""
    definition = definition_in(folder)

    for example in definition.spec.examples:
        assert definition.check_input(example.input)
    assert set(example_outputs(definition)) == set(definition.spec.outputs)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_parameters_are_those_of_the_template(folder: Path):
    """Argo takes unknown parameters in silence, so a definition must name the template's own."""
    definition = definition_in(folder)
    template = yaml.safe_load((folder / "workflow.yaml").read_text())
    declared = {p["name"]: p for p in template["spec"]["arguments"]["parameters"]}

    assert template["metadata"]["name"] == definition.spec.workflow.template
    assert set(definition.spec.workflow.parameters) <= set(declared)
    required = {name for name, parameter in declared.items() if "value" not in parameter}
    assert required <= set(definition.spec.workflow.parameters)
