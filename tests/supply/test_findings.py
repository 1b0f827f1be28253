"""What an audit may call clean."""

from __future__ import annotations

from tests.supply.findings import Finding, Verdict, of_npm_audit, of_pip_audit


def test_a_package_that_could_not_be_looked_up_is_not_called_clean():
    """A registry without advisories does not make an audit that found nothing."""
    skipped = {"name": "anyio", "skip_reason": "Dependency not found: anyio (4.16.0)"}
    clean = {"name": "click", "version": "8.5.1", "vulns": []}

    verdict = of_pip_audit({"dependencies": [skipped, clean]})

    assert verdict.checked == 1
    assert verdict.unreachable == "1 of 2 packages: Dependency not found: anyio (4.16.0)"


def test_a_vulnerable_python_package_is_named_with_its_remedy():
    """Whoever reads the table knows which version to take."""
    known = {"id": "PYSEC-2026-1", "fix_versions": ["9.0", "8.6"], "aliases": []}
    package = {"name": "click", "version": "8.5.1", "vulns": [known, {**known, "fix_versions": []}]}

    verdict = of_pip_audit({"dependencies": [package]})

    assert verdict == Verdict(
        1,
        (
            Finding("click 8.5.1", "PYSEC-2026-1", "9.0, 8.6"),
            Finding("click 8.5.1", "PYSEC-2026-1", "none yet"),
        ),
    )


def test_an_npm_registry_without_advisories_is_told():
    """What npm could not ask is not counted as checked."""
    verdict = of_npm_audit({"message": "405 Method Not Allowed", "statusCode": 405})

    assert verdict == Verdict(0, unreachable="405 Method Not Allowed")
    assert of_npm_audit({}).unreachable


def test_a_vulnerable_node_package_is_named_with_its_advisory():
    """Whoever reads the table finds the advisory, through other packages too."""
    direct = {"severity": "high", "via": [{"url": "GHSA-1"}], "fixAvailable": {"name": "x"}}
    through = {"severity": "low", "via": ["direct"], "fixAvailable": False}
    report = {
        "vulnerabilities": {"through": through, "direct": direct},
        "metadata": {"dependencies": {"total": 7}},
    }

    assert of_npm_audit(report) == Verdict(
        7,
        (
            Finding("direct", "high: GHSA-1", "an update"),
            Finding("through", "low: direct", "none yet"),
        ),
    )
