"""The history of a SQL store's schema.

Knows the migrations that come with this version and whether a store's history is a part of them.
Must not know any database: a store says what it has, and applies what is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from bridge.domain.errors import StoreUnavailable

HISTORY = "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, digest TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its file's name, its statements, and the SHA-256 (hex) of these."""

    name: str
    script: str

    @property
    def digest(self) -> str:
        """What tells whether it was changed."""
        return hashlib.sha256(self.script.encode()).hexdigest()


def migrations(database: str) -> list[Migration]:
    """The steps that come with this version for *database*, a folder's name, in order."""
    folder = files("bridge.adapters") / "migrations" / database
    scripts = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [Migration(script.name, script.read_text()) for script in scripts]


def missing(database: str, *, done: Mapping[str, str]) -> list[Migration]:
    """The steps that a store does not have.

    Args:
        database: The kind of database.
        done: The digest of each step that the store has, by name.

    Raises:
        StoreUnavailable: The store has another history: a step was changed after it was
            applied, or it comes from a newer version.
    """
    steps = migrations(database)
    unknown = sorted(done.keys() - {step.name for step in steps})
    if unknown:
        raise StoreUnavailable(
            f"This version of the bridge is older than its run store, which has migration "
            f"{unknown[0]}: start the version that wrote it, or a newer one."
        )
    for step in steps:
        if done.get(step.name, step.digest) != step.digest:
            raise StoreUnavailable(f"Migration {step.name} was changed after it was applied.")
    return [step for step in steps if step.name not in done]
