"""The stores that every scenario is played on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.services import pods
from tests.scenarios.argo import Argo, embedded_argo
from tests.scenarios.stage import FAST, Stage, open_stage


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a developer must not change what a test sees."""
    for name in os.environ:
        if name.startswith(("BRIDGE_", "ARGO_")) or name == "PLATFORM_API_TOKEN":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _time_for_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lines of a pod have their 1.5 seconds, however fast the clock is."""
    monkeypatch.setattr(pods, "_GRACE", pods._GRACE * FAST)


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of an empty store of each kind."""
    if request.param == "sqlite":
        return {"database": tmp_path / "bridge.db"}
    return {"database_url": request.getfixturevalue("postgres_dsn")}


@pytest.fixture
async def argo() -> AsyncIterator[Argo]:
    """An Argo that outlives a bridge."""
    async with embedded_argo() as opened:
        yield opened


@pytest.fixture
async def stage(kept: dict[str, Any]) -> AsyncIterator[Stage]:
    """A bridge and an Argo, without a catalog."""
    async with open_stage(kept) as opened:
        yield opened
