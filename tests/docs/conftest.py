"""What every test of the documents stands on."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a developer must not change what a test sees."""
    for name in os.environ:
        if name.startswith(("BRIDGE_", "ARGO_")) or name == "PLATFORM_API_TOKEN":
            monkeypatch.delenv(name)
