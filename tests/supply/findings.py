"""What pip-audit and npm audit say, in one shape.

Knows their JSON, and that a tool whose registry has no advisories may still say "no known
vulnerabilities": what was not looked up is not clean. Must not know how the tools are run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a package; ``remedy`` is a version or what the tool advises."""

    package: str
    advisory: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one lock file: how many packages were looked up, and what was found.

    ``unreachable`` says why packages could not be looked up; empty if all were.
    """

    checked: int
    findings: tuple[Finding, ...] = ()
    unreachable: str = ""


def of_pip_audit(report: Mapping[str, Any]) -> Verdict:
    """The verdict of ``pip-audit --format json``; it skips packages without advisories' address."""
    packages = report["dependencies"]
    skipped = [package for package in packages if "skip_reason" in package]
    looked_up = [package for package in packages if "skip_reason" not in package]
    findings = tuple(
        Finding(
            f"{package['name']} {package['version']}",
            vulnerability["id"],
            ", ".join(vulnerability["fix_versions"]) or "none yet",
        )
        for package in looked_up
        for vulnerability in package["vulns"]
    )
    why = f"{len(skipped)} of {len(packages)} packages: {_first(skipped)}" if skipped else ""
    return Verdict(len(looked_up), findings, why)


def of_npm_audit(report: Mapping[str, Any]) -> Verdict:
    """The verdict of ``npm audit --json``; a registry without advisories makes it an error."""
    if "vulnerabilities" not in report:
        summary = report.get("message") or report.get("error", {}).get("summary")
        return Verdict(0, unreachable=str(summary or "npm audit gave no report"))
    findings = tuple(
        Finding(name, _advisory(found), "an update" if found["fixAvailable"] else "none yet")
        for name, found in sorted(report["vulnerabilities"].items())
    )
    return Verdict(int(report["metadata"]["dependencies"]["total"]), findings)


def _advisory(found: Mapping[str, Any]) -> str:
    via = [cause if isinstance(cause, str) else cause["url"] for cause in found["via"]]
    return f"{found['severity']}: {', '.join(via)}"


def _first(skipped: list[Mapping[str, Any]]) -> str:
    return str(skipped[0]["skip_reason"])
