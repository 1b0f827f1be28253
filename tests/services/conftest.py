"""A running bridge for each test."""

from __future__ import annotations

import pytest

from tests.services.world import Outside, World


@pytest.fixture
async def outside():
    """Everything around the bridge, with no catalog; every process over it ends with the test."""
    made = Outside()
    yield made
    await made.aclose()


@pytest.fixture
async def world(outside: Outside) -> World:
    """A bridge that follows."""
    made = World(outside)
    await made.start()
    return made
