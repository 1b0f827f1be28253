"""Findings as people and programs read them.

Knows the shapes of the two outputs. Must not know how anything was found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from bridge.domain.checkups import Finding, Outcome

_MARKS = {Outcome.OK: "✓", Outcome.FAILED: "✗", Outcome.SKIPPED: "·"}


def failing(findings: Sequence[Finding]) -> bool:
    """Whether anything must be mended."""
    return any(finding.outcome is Outcome.FAILED for finding in findings)


def as_table(findings: Sequence[Finding]) -> str:
    """A line for each check: mark, check, outcome, detail; below what failed, how to mend it."""
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        mark, outcome = _MARKS[finding.outcome], f"{finding.outcome:<7}"
        lines.append(f"{mark} {finding.check:<{width}}  {outcome}  {finding.detail}")
        if finding.mend:
            lines.append(f"  {'':<{width}}  → {finding.mend}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """``{"ok": bool, "checks": [{check, outcome, detail, mend}]}``."""
    checks = [asdict(finding) for finding in findings]
    return json.dumps({"ok": not failing(findings), "checks": checks}, indent=2)
