"""Alerts: each fires when it should, is silent when it should, and leads to a page that helps."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.monitoring import (
    CASES,
    MONITORING,
    ROOT,
    RULES,
    WRAPPED,
    cases,
    exported,
    groups,
    named,
    promtool,
    rules,
    wrapped,
)

SEED = {
    "ArgoServerDown": "critical",
    "ArgoWorkflowControllerDown": "critical",
    "PlatformAPIWorkflowIntegrationFailure": "critical",
    "HighWorkflowFailureRate": "warning",
    "LongRunningWorkflows": "warning",
    "WorkflowQueueDepthHigh": "warning",
}
OWN = {
    "BridgeDown",
    "BridgeErrorBudgetBurn",
    "BridgeWatchStale",
    "BridgeRegistrationFailing",
    "BridgeDefinitionsBroken",
}


def expectations() -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Name of the case, name of the alert and what should fire."""
    return [
        (case["name"], asked["alertname"], asked["exp_alerts"])
        for case in cases()
        for asked in case["alert_rule_test"]
    ]


def test_prometheus_takes_the_rules():
    """What is deployed can be loaded."""
    said = promtool("check", "rules", "--lint-fatal", *RULES)
    assert said.returncode == 0, said.stderr
    assert len(re.findall("SUCCESS", said.stdout)) == len(RULES) == 3


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_is_recorded_is_there_before_alerts_are_looked_at(path: Path):
    """Promtool evaluates groups in any order unless it is told one, and figures differ by it."""
    order = yaml.safe_load(path.read_text())["group_eval_order"]
    recording = {g["name"] for g in groups() if any("record" in rule for rule in g["rules"])}
    assert set(order) == {g["name"] for g in groups()}
    assert set(order[: len(recording)]) == recording


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path):
    """Somebody is called when something is wrong, with these words, and only then."""
    said = promtool("test", "rules", path)
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_has_a_case_for_both():
    """Each rule is shown to fire, each alert to stay silent, and no case asks for another alert."""
    asked = expectations()
    silent = {name for _, name, fires in asked if not fires}
    assert silent == {rule["alert"] for rule in rules("alert")} == {name for _, name, _ in asked}
    fires = [(name, fired["exp_labels"]) for _, name, every in asked for fired in every]
    for rule in rules("alert"):
        assert [
            labels
            for name, labels in fires
            if name == rule["alert"] and rule["labels"].items() <= labels.items()
        ], f"{rule['alert']} {rule['labels']} is never shown to fire"


def test_names_of_cases_are_unique():
    """A case that fails can be told from the others."""
    assert Counter(name for name, _, _ in expectations()).most_common(1)[0][1] == 1


def test_the_alerts_are_the_promised_ones():
    """The names and severities that the platform team knows are kept; the bridge adds its own."""
    found = {rule["alert"] for rule in rules("alert")}
    assert found == SEED.keys() | OWN
    for rule in rules("alert"):
        severity = rule["labels"]["severity"]
        assert severity == SEED.get(rule["alert"], severity)
        assert severity in {"critical", "warning"}


@pytest.mark.parametrize("name", sorted(SEED.keys() | OWN))
def test_an_alert_leads_to_its_runbook(name: str):
    """Who is called has a sentence that says what is wrong, and a page that says what to do."""
    for rule in (rule for rule in rules("alert") if rule["alert"] == name):
        notes = rule["annotations"]
        assert notes.keys() == {"summary", "description", "runbook_url"}
        assert notes["description"].endswith(".")
        page, _, anchor = notes["runbook_url"].partition("/blob/main/")[2].partition("#")
        assert anchor == name.lower()
        text = (ROOT / page).read_text()
        section = re.search(rf"^### {name}\n(.+?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None
        assert re.search(r"^1\. ", section[1], re.MULTILINE)


def test_rules_ask_for_what_is_exported():
    """No rule waits for a metric that nobody has, or for a label that it does not carry."""
    known = exported()
    for rule in rules("alert") + rules("record"):
        names = named(rule["expr"])
        assert names, rule["expr"]
        assert names <= known.keys(), names - known.keys()
        for name, matchers in re.findall(r"([a-z_][\w:]*)\{([^}]*)\}", rule["expr"]):
            asked = set(re.findall(r"(\w+)[=!]", matchers))
            assert asked <= set(known[name]), (name, asked)


def test_every_recorded_series_is_used():
    """Nothing is recorded for nobody."""
    used = "".join(rule["expr"] for rule in rules("alert") + rules("record"))
    used += "".join(path.read_text() for path in (MONITORING / "dashboards").glob("*.json"))
    for rule in rules("record"):
        assert rule["record"] in used, rule["record"]


def test_the_operators_manifest_has_all_rules():
    """``python -m tests.deploy.monitoring`` was run after the last change of a rule."""
    assert WRAPPED.read_text() == wrapped()
