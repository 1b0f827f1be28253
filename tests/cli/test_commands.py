"""The commands that need no server: list, validate, schema, openapi, version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from click.testing import CliRunner, Result

from bridge import __version__
from bridge.cli import main
from tests.cli.processes import ACTIONS

SHIPPED = Path("backstage-actions/actions")


def run(*arguments: str | Path) -> Result:
    """The outcome of one command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_version_is_told():
    """A bug report can name the version."""
    assert run("--version").output == f"bridge, version {__version__}\n"


def test_every_command_says_what_it_is_for():
    """Nobody needs the source to find the right command."""
    listed = run("--help").output
    for name in ("serve", "migrate", "demo", "local-argo", "actions", "openapi"):
        assert f"  {name} " in listed
    embedded = run("local-argo", "--help")
    assert embedded.exit_code == 0
    assert "--templates" in embedded.output


def test_actions_are_listed():
    """A platform engineer sees which actions a folder defines."""
    result = run("actions", "list", ACTIONS)
    assert (result.exit_code, result.output) == (0, "thing:make\tmake-thing\tMake a thing\n")


def test_the_shipped_actions_are_valid():
    """What the product brings along passes its own check, by its default folder too."""
    for arguments in (("actions", "validate", SHIPPED), ("actions", "validate")):
        result = run(*arguments)
        assert result.exit_code == 0, result.stderr
        assert "✓ namespace-create/action.yaml" in result.output


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("  workflow:\n    template: make-thing\n", "  workflow:\n", 23, "workflow"),
        ("kind: Action", "kind: Aktion", 2, "kind"),
        ("id: thing:make", "id: Thing Make", 4, "metadata.id"),
        ("from: input.name", "from: input.nmae", None, "input.nmae"),
        ("  title: Make a thing", "  title: [Make", 6, ""),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int | None, sentence: str
):
    """A mistake is found by its file and line before anything is deployed."""
    shutil.copytree(ACTIONS, tmp_path / "actions")
    file = tmp_path / "actions" / "thing-make" / "action.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    shutil.copytree(SHIPPED, tmp_path / "actions", dirs_exist_ok=True)
    result = run("actions", "validate", tmp_path / "actions")
    assert result.exit_code == 1
    (problem,) = result.stderr.splitlines()
    place = problem.removeprefix("✗ thing-make/action.yaml:").partition(": ")
    assert place[0].isdigit()
    if line is not None:
        assert int(place[0]) == line
    assert sentence in place[2]
    assert "✓ namespace-create/action.yaml" in result.stdout


def test_a_value_that_a_workflow_would_run_is_named_with_the_cure(tmp_path: Path):
    """One line each says where a form could act on the cluster, and what to write instead."""
    shutil.copytree(SHIPPED, tmp_path / "actions")
    file = tmp_path / "actions" / "namespace-create" / "workflow.yaml"
    text = file.read_text()
    described = "workflow.parameters['description']"
    for safe, unsafe in (
        ("{{=workflow.status != 'Succeeded'}}", "'{{workflow.parameters.team-name}}' != 'x'"),
        (f"{{{{=toJson({described})}}}}", '"{{workflow.parameters.description}}"'),
    ):
        assert safe in text
        text = text.replace(safe, unsafe, 1)
    file.write_text(text)

    result = run("actions", "validate", tmp_path / "actions")

    assert result.exit_code == 1
    lines = text.splitlines()
    found = [
        (lines[int(problem.split(":")[1]) - 1].strip(), problem.rpartition("; write ")[2])
        for problem in result.stderr.splitlines()
    ]
    assert found == [
        (
            'platform.io/description: "{{workflow.parameters.description}}"',
            "{{=toJson(workflow.parameters.description)}}",
        ),
        (
            "when: \"'{{workflow.parameters.team-name}}' != 'x'\"",
            "\"{{=workflow.parameters['team-name'] != 'x'}}\"",
        ),
    ]


def test_a_folder_without_actions_is_a_problem(tmp_path: Path):
    """A mistyped folder does not pass as "nothing wrong"."""
    result = run("actions", "validate", tmp_path)
    assert result.exit_code == 1
    assert "no */action.yaml" in result.stderr
    assert run("actions", "validate", tmp_path / "missing").exit_code == 2


def test_the_schema_helps_an_editor():
    """An editor completes and checks an action.yaml while it is written."""
    result = run("actions", "schema")
    schema = json.loads(result.stdout)
    validator = jsonschema_rs.validator_for(schema)
    for folder in (ACTIONS, SHIPPED):
        for file in folder.glob("*/action.yaml"):
            validator.validate(yaml.safe_load(file.read_text()))
    assert not validator.is_valid({"apiVersion": "bridge/v1", "kind": "Action"})
    text = next(SHIPPED.glob("*/action.yaml")).read_text()
    assert "maxWait: 6h" in text
    for wrong in ("maxWait: six hours", "maxWait: -1"):
        assert not validator.is_valid(yaml.safe_load(text.replace("maxWait: 6h", wrong)))


def test_the_openapi_document_is_printed():
    """A client can be generated without a running bridge."""
    found = json.loads(run("openapi").stdout)
    assert found["openapi"] == "3.1.0"
    assert "/v1/runs" in found["paths"]


def test_a_wrong_setting_ends_with_its_sentence(monkeypatch: pytest.MonkeyPatch):
    """Somebody who starts the bridge without any setting reads what to set."""
    result = run("serve")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Nobody could be let in")
    monkeypatch.setenv("BRIDGE_DEMO", "perhaps")
    assert "demo" in run("serve").stderr
