"""The run stores under test."""

from __future__ import annotations

import pytest

from bridge.adapters.memory import MemoryStore
from bridge.adapters.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with SqliteStore(tmp_path / "runs.db") as opened:
            yield opened
