"""What SECURITY.md says of threats is held by tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.naming import ROOT, exists, named_tests

PAGE = (ROOT / "SECURITY.md").read_text()
THREATS = [
    line
    for line in PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| threat |")
]


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_control_is_held_by_a_test(row: str):
    """Each threat has a control, and at least one test that exists holds it."""
    threat, control, tests = (cell.strip() for cell in row.strip("|").split("|"))

    assert threat
    assert control
    assert named_tests(tests)
    assert not [found for found in named_tests(tests) if not exists(*found)]


def test_threats_stand_in_tables_only():
    """Nothing is claimed between the lines: every part has a table, and every row is checked."""
    parts = re.split(r"\n### ", PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0])[1:]

    assert len(parts) > 5
    for part in parts:
        lines = [line for line in part.splitlines()[1:] if line]
        assert lines[:2] == ["| threat | control | test |", "|---|---|---|"]
        assert all(line in THREATS for line in lines[2:])
    assert len(THREATS) > 40
