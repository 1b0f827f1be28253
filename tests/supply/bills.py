"""Whether a CycloneDX bill of materials has everything that a lock file pins.

Knows the formats of locks and bills. Must not know how a bill is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

Package = tuple[str, str]
"""Name and version."""
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)


def pinned_by_pip(lock: str) -> frozenset[Package]:
    """What a requirements file pins."""
    return frozenset((name.lower(), version) for name, version in _PINNED.findall(lock))


def pinned_by_npm(lock: Mapping[str, Any]) -> frozenset[Package]:
    """What a package-lock.json pins, by real names where a package is installed under another."""
    return frozenset(
        (entry.get("name") or path.rpartition("node_modules/")[2], entry["version"])
        for path, entry in fetched(lock).items()
    )


def fetched(lock: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Entries of a package-lock.json that are from a registry: not the project's own parts."""
    return {
        path: entry
        for path, entry in lock["packages"].items()
        if "node_modules/" in path and not entry.get("link") and not _is_own(entry)
    }


def _is_own(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("resolved", "")).startswith("file:")


def left_out(bill: Mapping[str, Any], pinned: frozenset[Package]) -> frozenset[Package]:
    """What is pinned and not in the bill, by its package URLs."""
    return pinned - {_package(part["purl"]) for part in bill["components"]}


def _package(url: str) -> Package:
    """Name and version of ``pkg:npm/%40scope/name@1.0.0?…``."""
    name, _, version = url.partition("?")[0].partition("/")[2].rpartition("@")
    return unquote(name), unquote(version)
