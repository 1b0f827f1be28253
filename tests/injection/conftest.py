"""One stage for all values: a bridge and an Argo that nothing from outside changes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.injection.stage import Stage, open_stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A bridge with the shipped actions."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("BRIDGE_", "ARGO_")) or name == "PLATFORM_API_TOKEN":
                patch.delenv(name)
        async with open_stage(tmp_path_factory.mktemp("injection")) as opened:
            yield opened
