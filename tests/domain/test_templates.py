"""WorkflowTemplates: a parameter may only stand where it is data, or is refused with the cure."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import DefinitionInvalid
from bridge.domain.templates import read_templates
from bridge.domain.templates_places import _PLACES

HEAD = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: made, finalizers: ["{{inputs.parameters.x}}"]}
spec:
"""
X = "{{workflow.parameters.x}}"


def found_in(spec: str) -> list[tuple[int, str]]:
    """Line, counted from the start of *spec*, and sentence of each finding."""
    text = HEAD + textwrap.indent(textwrap.dedent(spec), "  ")
    first = HEAD.count("\n")
    findings = read_templates(text, file="a/workflow.yaml").findings
    return [(finding.line - first, finding.message) for finding in findings]


def template(body: str) -> str:
    return "templates:\n- name: t\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "  ")


CASES = Path(__file__).parent / "templates"


def cases(file: str) -> list[Any]:
    """The cases of a file, by their names."""
    read = yaml.safe_load((CASES / file).read_text())
    return [pytest.param(case, id=case["name"]) for case in read]


@pytest.mark.parametrize("case", cases("refused.yaml"))
def test_a_value_that_would_be_acted_on_is_refused_with_the_cure(case):
    """Each such place is named with its line and field, why it is one, and what to write."""
    ((line, message),) = found_in(template(case["template"]))

    assert line == case["line"]
    assert case["says"] in message
    assert case.get("cure", "; write ") in message


@pytest.mark.parametrize("case", cases("taken.yaml"))
def test_a_value_that_stays_data_is_taken(case):
    """Nobody has to rewrite a template that handles values well."""
    assert found_in(template(case["template"])) == []


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        ("workflow.name", False),
        ("workflow['name']", False),
        ("pod.name + retries", False),
        ("steps['a-b'].status + '' + steps.a?.exitCode", False),
        ("asInt('1') + 2.5", False),
        ("/* inputs.parameters.x */ 1 // item", False),
        ("`item`", False),
        ("true ? nil : 'x'", False),
        ("sprig.trim('a').item", False),
        ("workflow", True),
        ("workflow['parameters']['x']", True),
        ("workflow['para' + 'meters']", True),
        ("/* ' */ item /* ' */", True),
        ("'unclosed item", True),
        ("item()", True),
        ("sprig.trim(item).foo", True),
        ("node.name", True),
        ("let x = 1; x", True),
        ("$env['item']", True),
    ],
)
def test_an_expression_is_known_to_be_argos_own_or_taken_for_a_value(expression, given):
    """What an expression reads is seen through comments, strings and brackets."""
    spec = f"entrypoint: >-\n  {{{{={expression}}}}}"

    assert bool(found_in(spec)) is given


@pytest.mark.parametrize(
    ("expression", "decides"),
    [
        ("item", False),
        ("item + (1 == 1)", False),
        ("item == 'a' | toJson()", False),
        ("item ?? true", False),
        ("(item)", False),
        ("toJson(item == 'a')", False),
        ("any(item, true)[0]", False),
        ("[item == 'a']", False),
        ("", False),
        ("!item", True),
        ("(item) == (item)", True),
        ("((item == 'a'))", True),
        ("none(item, {# == 'a'})", True),
        ("item matches 'a' or item startsWith 'b'", True),
    ],
)
def test_a_guard_must_be_true_or_false_by_its_form(expression, decides):
    """An expression that may give a text would put that text into the condition."""
    spec = template(f'steps: [[{{name: a, when: "{{{{={expression}}}}} && {{{{=item != 1}}}}"}}]]')

    assert (not found_in(spec)) is (decides or not expression)


def test_every_document_of_argo_is_read_and_no_other():
    """A file may hold several templates, and objects that Argo does not replace tags in."""
    text = (
        HEAD
        + f'  entrypoint: "{X}"\n---\napiVersion: v1\nkind: ConfigMap\ndata: {{a: "{X}"}}\n'
        + f'---\n- "{X}"\n---\n'
        + HEAD.replace("made", "other")
        + f'  onExit: "{X}"\n'
    )

    read = read_templates(text, file="x")

    assert read.names == ("made", "other")
    assert [finding.message.partition(":")[0] for finding in read.findings] == [
        "entrypoint",
        "onExit",
    ]
    assert [text.splitlines()[finding.line - 1].strip()[:6] for finding in read.findings] == [
        "entryp",
        "onExit",
    ]


def test_the_line_is_that_of_the_tag_also_among_its_likes():
    """The second of two equal tags is found in its own line, in a file with all of Unicode."""
    body = "script:\n  command: [sh]\n  source: |\n    # é😀 {{item}}\n\n    echo {{item}}"

    assert [line for line, _ in found_in("# 😀\n" + template(body))] == [7, 9]


def test_a_tag_that_is_written_with_escapes_has_the_line_of_its_text():
    """Where the tag does not stand in the file as such, the line is that of its field."""
    body = 'script:\n  command: [sh]\n  source: "a\\n\n    \\x7b{item}}"'

    assert [line for line, _ in found_in(template(body))] == [5]


def test_what_cannot_be_read_is_refused_like_a_definition():
    """A broken file is named with its line, and costs no more than a broken definition."""
    with pytest.raises(DefinitionInvalid) as refused:
        read_templates(HEAD + "  a: &x 1\n  b: *x\n", file="a/workflow.yaml")

    assert (refused.value.file, refused.value.line) == ("a/workflow.yaml", 6)


PIECES = st.sampled_from(
    [
        *"()'\"|>:-,[]{}#\\a0?$!\n é\ue000\ue001",
        *("{{", "}}", "{{=", "toJson(", "&&", "==", "$(", "item", "workflow.parameters.x"),
        *("workflow.name", "{{item}}", "{{=item=='a'}}"),
    ]
)


@given(
    st.sampled_from(["when", "podSpecPatch", "expression", "withParam", "image", "timeout"]),
    st.lists(PIECES, max_size=12).map("".join),
)
def test_any_text_in_any_field_is_taken_or_refused(field, text):
    """No template, however odd, takes the other actions down; what is refused has its sentence."""
    source = HEAD + f"  templates: [{{{field}: {json.dumps(text)}}}]\n"

    for finding in read_templates(source, file="x").findings:
        assert 1 <= finding.line <= source.count("\n")
        assert "; write " in finding.message


def test_every_place_for_a_value_is_documented():
    """The page that authors read names each field that the check knows."""
    page = (Path(__file__).parents[2] / "docs/reference/workflow-templates.md").read_text()
    names = {name for place in _PLACES for name in place.split(".")} - {"*", "templates"}

    assert {name for name in names if name not in page} == set()
