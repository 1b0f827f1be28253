"""The files of ``deploy/monitoring``, and Prometheus' own programs to judge them.

``python -m tests.deploy.monitoring`` writes ``prometheusrule.yaml`` again, which wraps the rules
for the Prometheus Operator. Knows nothing of the bridge but the names of its metrics.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bridge.metrics import Metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
CASES = sorted((MONITORING / "tests").glob("*.yaml"))
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
WRAPPED = MONITORING / "prometheusrule.yaml"
PROGRAMS = ROOT / ".run" / "prometheus" / "usr" / "bin"

_HEAD = "# Made from rules/ by `python -m tests.deploy.monitoring`; change those.\n"
_KEPT = re.compile(r"^sum by \((\w+)\)")
_NOT_NAMES = re.compile(
    r'"[^"]*"|#[^\n]*|\[[^\]]*\]|\{[^}]*\}|\$\w+'  # strings, comments, ranges, matchers
    r"|\b\d+[smhdw]\b|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
_NAME = re.compile(r"[a-zA-Z_:][\w:]*(?!\s*\()\b(?!\s*\()")
_WORDS = frozenset({"or", "and", "unless", "bool", "offset", "by", "without", "on", "ignoring"})


def program(name: str) -> str:
    """Where ``prometheus`` or ``promtool`` is; ``make prometheus`` gets them."""
    found = shutil.which(name) or shutil.which(name, path=str(PROGRAMS))
    assert found is not None, f"{name} is missing: make prometheus"
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool; what it says is in ``stdout`` and ``stderr``."""
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def groups() -> list[dict[str, Any]]:
    """All groups of rules."""
    return [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that are ``alert`` or ``record``."""
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def cases() -> Iterator[dict[str, Any]]:
    """All cases of promtool."""
    for path in CASES:
        yield from yaml.safe_load(path.read_text())["tests"]


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by their file's name."""
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that draw something, those in folded rows too."""
    every = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


def named(expression: str) -> set[str]:
    """The metrics and recorded series that an expression of PromQL names."""
    words = set(_NAME.findall(_NOT_NAMES.sub(" ", expression)))
    return {word for word in words - _WORDS if not word[0].isdigit()}


def exported() -> dict[str, Sequence[str]]:
    """What can be asked for: each name that something exports or records, and its labels."""
    own: dict[str, Sequence[str]] = {}
    kinds: dict[str, str] = {}
    for name, kind, labels, _ in Metrics().described():
        own[name], kinds[name] = labels, kind
    foreign = yaml.safe_load((MONITORING / "foreign-metrics.yaml").read_text())
    for section in foreign.values():
        for name, fact in section["names"].items():
            own[name], kinds[name] = fact["labels"], fact["type"]
    found = dict(own)
    for name, labels in own.items():
        if kinds[name] == "histogram":
            del found[name]
            found |= {f"{name}_{part}": labels for part in ("sum", "count")}
            found[f"{name}_bucket"] = (*labels, "le")
    return found | {rule["record"]: _KEPT.findall(rule["expr"]) for rule in rules("record")}


class _Dumper(yaml.SafeDumper):
    """Writes expressions as blocks, whatever other libraries have taught PyYAML's own dumper."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def wrapped() -> str:
    """The manifest of the Prometheus Operator with all rules."""
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "argo-bridge", "labels": {"app.kubernetes.io/name": "argo-bridge"}},
        "spec": {"groups": groups()},
    }
    text = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return _HEAD + text


if __name__ == "__main__":
    WRAPPED.write_text(wrapped())
