"""An environment that was made for the Platform API works for the bridge as it is."""

from __future__ import annotations

import socket
import time

import pytest

from bridge.adapters.memory import MemoryStore
from bridge.bootstrap import open_bridge
from bridge.domain.errors import EngineUnavailable
from bridge.settings import Settings
from tests.web.making import AUTHORIZED, SERVICE_TOKEN, bridge_for

THEIRS = {
    "ARGO_WORKFLOWS_URL": "http://argo-workflows-server.argo-workflows:2746",
    "ARGO_NAMESPACE": "workflows",
    "ARGO_TIMEOUT": "1500",
    "PLATFORM_API_TOKEN": "token-of-the-cluster-itself",
}
OURS = {
    "ARGO_WORKFLOWS_URL": ("BRIDGE_ARGO_URL", "http://argo.example:2746"),
    "ARGO_NAMESPACE": ("BRIDGE_ARGO_NAMESPACE", "own"),
    "ARGO_TIMEOUT": ("BRIDGE_ARGO_TIMEOUT", "700"),
    "PLATFORM_API_TOKEN": ("BRIDGE_PLATFORM_API_TOKEN", "token-of-the-bridge-itself"),
}


@pytest.fixture(autouse=True)
def _somebody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_TOKENS", f"tester={SERVICE_TOKEN}")


def read(name: str) -> str:
    """The setting that *name* is for, as text."""
    settings = Settings()
    token = settings.platform_api_token
    found = {
        "ARGO_WORKFLOWS_URL": settings.argo_url,
        "ARGO_NAMESPACE": settings.argo_namespace,
        "ARGO_TIMEOUT": settings.argo_timeout,
        "PLATFORM_API_TOKEN": token and token.get_secret_value(),
    }
    return str(found[name])


@pytest.mark.parametrize("name", THEIRS)
def test_each_name_of_the_platform_api_is_read(monkeypatch: pytest.MonkeyPatch, name: str):
    """Secrets and ConfigMaps that exist need no new names; where both are set, ours wins."""
    monkeypatch.setenv(name, THEIRS[name])
    theirs = read(name)
    monkeypatch.setenv(*OURS[name])
    assert (theirs, read(name)) == (THEIRS[name], OURS[name][1])


async def test_the_timeout_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch):
    """ARGO_TIMEOUT=100 gives an Argo that does not answer a tenth of a second, not a hundred."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, and answers nothing
        host, port = server.getsockname()
        monkeypatch.setenv("ARGO_WORKFLOWS_URL", f"http://{host}:{port}")
        monkeypatch.setenv("ARGO_TIMEOUT", "100")
        async with open_bridge(Settings(), store=MemoryStore()) as bridge:
            (engine,) = bridge._adapters.engines.values()
            began = time.monotonic()
            with pytest.raises(EngineUnavailable):
                await engine.get("some-workflow")
            took = time.monotonic() - began
    assert 0.1 <= took < 5


async def test_the_token_of_the_cluster_may_report(monkeypatch: pytest.MonkeyPatch):
    """Workflows that hold PLATFORM_API_TOKEN report to a bridge that was given the same one."""
    monkeypatch.setenv("PLATFORM_API_TOKEN", THEIRS["PLATFORM_API_TOKEN"])
    token = {"Authorization": f"Bearer {THEIRS['PLATFORM_API_TOKEN']}"}
    body = {"name": "team-a-dev", "status": "active"}
    async with bridge_for(Settings()) as rig:
        taken = await rig.http.post("/api/v1/namespaces", json=body, headers=token)
        listed = (await rig.http.get("/api/v1/namespaces", headers=AUTHORIZED)).json()
    assert taken.status_code == 200
    assert [item["name"] for item in listed["namespaces"]] == ["team-a-dev"]
