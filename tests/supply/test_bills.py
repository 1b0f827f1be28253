"""What a lock pins, and what a bill of materials has to list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.supply.bills import fetched, left_out, pinned_by_npm, pinned_by_pip

ROOT = Path(__file__).parents[2]
PYTHON = sorted((ROOT / "requirements").glob("*.txt"))
NODE = [
    ROOT / folder / "package-lock.json"
    for folder in ("backstage-actions/scaffolder-module", "examples/backstage", "tests/seed")
]


def test_every_pinned_package_is_in_the_bill():
    """A bill of materials that leaves a package out is not taken for one."""
    pip = pinned_by_pip("Click==8.5.1 \\\n    --hash=sha256:ab\npsycopg[binary]==3.3 ; x\n")
    npm = pinned_by_npm(
        {
            "packages": {
                "": {"version": "1.0.0"},
                "node_modules/@scope/a": {"version": "1.0.0"},
                "node_modules/x/node_modules/b": {"version": "2.0.0"},
                "node_modules/alias": {"name": "real", "version": "3.0.0"},
                "node_modules/here": {"link": True},
                "node_modules/own": {"version": "0.1.0", "resolved": "file:../own"},
            }
        }
    )
    assert pip == {("click", "8.5.1"), ("psycopg", "3.3")}
    assert npm == {("@scope/a", "1.0.0"), ("b", "2.0.0"), ("real", "3.0.0")}

    urls = ("pkg:pypi/click@8.5.1", "pkg:npm/%40scope/a@1.0.0?x=y", "pkg:npm/real@3.0.0")
    bill = {"components": [{"name": "alias", "purl": url} for url in urls]}
    assert left_out(bill, pip | npm) == {("psycopg", "3.3"), ("b", "2.0.0")}


@pytest.mark.parametrize("lock", PYTHON, ids=lambda path: path.stem)
def test_every_python_package_is_pinned_by_hash(lock: Path):
    """A package that was swapped is not installed, and no lock says where packages come from."""
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", text)

    assert len(pinned_by_pip(text)) == len(entries) > 20
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


@pytest.mark.parametrize("lock", NODE, ids=lambda path: path.parent.name)
def test_every_node_package_is_pinned_by_hash(lock: Path):
    """A package that was swapped is not installed, and no lock says where packages come from."""
    found = fetched(json.loads(lock.read_text()))

    assert len(found) > 10
    assert not [path for path, entry in found.items() if not entry.get("integrity")]
    assert not [path for path, entry in found.items() if "resolved" in entry]
