"""Guards of steps: the language of `when`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.localargo.govaluate import WhenError, should_execute
from bridge.localargo.tags import Scope, substitute

RECORDINGS = Path(__file__).parent / "recordings"
GOVALUATE = json.loads((RECORDINGS / "govaluate.json").read_text())["cases"]
RECORDED = json.loads((RECORDINGS / "injection-when.json").read_text())
TEMPLATES = {
    each["metadata"]["name"]: each["spec"]
    for each in yaml.safe_load_all((RECORDINGS / "templates.yaml").read_text())
}
PIECES = st.sampled_from(
    [
        *"()[],'\"?:!~-+*/%<>&|=.\\ 1a",
        "==",
        "!=",
        "&&",
        "||",
        "=~",
        "!~",
        " in ",
        "true",
        "'a'",
        "a.B",
        "**",
        ">>",
        "0x",
        "é",
        "_",
        "production",
        "1.5",
        "??",
        "a.b",
        "a.",
        "((((",
    ]
)


def _outcome(when: str) -> dict[str, object]:
    try:
        return {"runs": should_execute(when)}
    except WhenError as error:
        return {"error": str(error)}


@pytest.mark.parametrize("case", GOVALUATE, ids=lambda case: case["when"])
def test_guards_decide_as_govaluate_does(case):
    """A guard runs, skips or fails its step exactly as on a cluster."""
    assert {"when": case["when"], **_outcome(case["when"])} == case


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["case"])
def test_values_flip_and_break_guards_as_recorded(case):
    """What a hostile value does to a guard shows here as on a real Argo."""
    spec = TEMPLATES[case["case"].split("/")[0]]
    name = f"w{case['case'][5:8]}-{case['case'].split('/')[1]}"
    scope = Scope({"workflow.name": name, "workflow.parameters.v": case["value"]})
    when = substitute(spec["templates"][0], scope)["steps"][0][0]["when"]

    outcome = _outcome(when)

    if "error" in outcome:
        assert case["message"] == f"failed to resolve references: {outcome['error']}"
    elif outcome["runs"]:
        assert case["guard"] == "Suspend Succeeded"
    else:
        assert case["guard"] == f"Skipped Skipped: when '{when}' evaluated false"


def test_no_guard_means_yes():
    """A step without `when` runs."""
    assert should_execute("") is True


def test_symbols_outside_quotes_are_explained():
    """The error for an odd character says how to write the guard."""
    with pytest.raises(WhenError, match=r"Invalid token: '{{' \(hint: try wrapping"):
        should_execute("{{x}} == y")


def test_a_pattern_that_is_none_is_an_error():
    """A broken regular expression fails the step, not the server."""
    with pytest.raises(WhenError, match="Failed to evaluate"):
        should_execute("a =~ '['")


def test_long_patterns_and_guards_are_refused():
    """A guard cannot hang the server."""
    for when in (f"a =~ '{'x' * 201}'", " && ".join(["true"] * 300), "(" * 60 + "1" + ")" * 60):
        with pytest.raises(WhenError):
            should_execute(when)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=24).map("".join)))
def test_nothing_but_a_when_error_leaves_a_guard(when):
    """Whatever a guard became by substitution, the answer is yes, no or a WhenError."""
    outcome = _outcome(when)

    assert outcome.get("runs") in (True, False, None)
    assert "runs" in outcome or outcome["error"]
