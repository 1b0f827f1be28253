"""``make audit``: known vulnerabilities of what is shipped, and CycloneDX bills of materials.

Everything lands in one folder; the table says what was looked up and what could not be. Ends
with 1 when something was found, with ``--strict`` also when something could not be looked up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge import __version__
from tests.supply.bills import Package, left_out, pinned_by_npm, pinned_by_pip
from tests.supply.findings import Verdict, of_npm_audit, of_pip_audit

ROOT = Path(__file__).parents[2]
RUNTIME = "requirements/runtime.txt"
NODE_PROJECTS = {"module": "backstage-actions/scaffolder-module", "example": "examples/backstage"}
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a tool wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """Its last word, for what went wrong."""
        return next(iter(reversed(self.stderr.strip().splitlines())), f"status {self.status}")


def run(*command: str, cwd: Path = ROOT) -> Ended:
    """Run a tool to its end."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Ended(-1, "", f"no answer within {_SECONDS:.0f} s")
    return Ended(done.returncode, done.stdout, done.stderr)


def audit(ended: Ended, judge: Callable[[Mapping[str, Any]], Verdict], *, kept: Path) -> Verdict:
    """The verdict on what an audit wrote, which is kept as it is."""
    kept.write_text(ended.stdout)
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        return Verdict(0, unreachable=ended.last_line)
    return judge(report)


def audits(tools: Path, out: Path) -> dict[str, Verdict]:
    """All verdicts, by the lock file they are about."""
    pip = run(
        str(tools / "pip-audit"),
        *("--requirement", RUNTIME, "--disable-pip", "--require-hashes"),
        *("--format", "json", "--progress-spinner", "off"),
    )
    verdicts = {RUNTIME: audit(pip, of_pip_audit, kept=out / "pip-audit.json")}
    for name, folder in NODE_PROJECTS.items():
        npm = run("npm", "audit", "--json", "--package-lock-only", cwd=ROOT / folder)
        kept = out / f"npm-audit-{name}.json"
        verdicts[f"{folder}/package-lock.json"] = audit(npm, of_npm_audit, kept=kept)
    return verdicts


def bills(tools: Path, out: Path) -> dict[Path, int]:
    """Write all bills of materials; how many components each lists."""
    python = run(
        str(tools / "cyclonedx-py"),
        *("requirements", RUNTIME, "--pyproject", "pyproject.toml", "--output-reproducible"),
    )
    bill = _bill(python, pinned_by_pip((ROOT / RUNTIME).read_text()))
    # The version stands in the code alone, where the tool does not look.
    bill["metadata"]["component"]["version"] = __version__
    found = {out / "sbom-bridge.cdx.json": bill}
    npm = ("npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only", "--loglevel=error")
    for name, folder in NODE_PROJECTS.items():
        lock = json.loads((ROOT / folder / "package-lock.json").read_text())
        made = _bill(run(*npm, cwd=ROOT / folder), pinned_by_npm(lock))
        found[out / f"sbom-{name}.cdx.json"] = made
    for path, content in found.items():
        path.write_text(json.dumps(content, indent=2) + "\n")
    return {path: len(content["components"]) for path, content in found.items()}


def _bill(ended: Ended, pinned: frozenset[Package]) -> dict[str, Any]:
    if ended.status != 0:
        sys.exit(f"A bill of materials could not be made: {ended.last_line}")
    content: dict[str, Any] = json.loads(ended.stdout)
    missing = left_out(content, pinned)
    if missing:
        sys.exit(f"A bill of materials leaves packages out: {sorted(missing)}")
    return content


def table(verdicts: Mapping[str, Verdict], components: Mapping[Path, int]) -> Sequence[str]:
    """The lines of the summary."""
    lines = []
    for name, verdict in verdicts.items():
        counted = f"{verdict.checked} packages looked up, {len(verdict.findings)} vulnerabilities"
        lines.append(f"{name}: {counted if verdict.checked else 'NOT AUDITED'}")
        lines += [f"  {f.package}: {f.advisory}; remedy: {f.remedy}" for f in verdict.findings]
        if verdict.unreachable:
            lines.append(f"  advisories not reachable: {verdict.unreachable}")
    lines += [f"{path}: {n} components" for path, n in components.items()]
    return lines


def main() -> int:
    """Audit, write, tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tools", type=Path, required=True, help="folder of the tools")
    options.add_argument("--out", type=Path, default=Path(".run/audit"))
    options.add_argument("--strict", action="store_true", help="fail on what is not reachable")
    given = options.parse_args()
    tools = given.tools.absolute()
    given.out.mkdir(parents=True, exist_ok=True)
    verdicts = audits(tools, given.out)
    sys.stdout.write("\n".join([*table(verdicts, bills(tools, given.out)), ""]))
    found = any(verdict.findings for verdict in verdicts.values())
    unknown = any(verdict.unreachable for verdict in verdicts.values())
    return int(found or (given.strict and unknown))


if __name__ == "__main__":
    sys.exit(main())
