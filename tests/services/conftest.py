"""A running bridge for each test."""

from __future__ import annotations

import pytest

from tests.services.world import Outside, World


@pytest.fixture
def outside() -> Outside:
    """Everything around the bridge, with no catalog."""
    return Outside()


@pytest.fixture
async def world(outside: Outside):
    """A bridge that follows."""
    made = World(outside)
    await made.start()
    yield made
    await made.tasks.aclose()
