"""``bridge demo``: one run in the terminal, with an embedded Argo and without Backstage.

Knows how to put the embedded Argo and the bridge side by side on loopback and to show a run as a
Backstage task would. Must not be used for anything but looking.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from bridge import localargo
from bridge.adapters.http import HttpClient, client, stream_timeout
from bridge.bootstrap import open_bridge
from bridge.domain.frames import LineSplitter, data_of
from bridge.settings import Settings
from bridge.web.server import server_for

SILENCE_SECONDS = 60.0
START_SECONDS = 10.0
_COLOURS = {"warn": "yellow", "error": "red", "debug": "bright_black"}
Echo = Callable[[str], object]


async def demo(given: Mapping[str, Any], *, actions: Path, pace: float, echo: Echo) -> bool:
    """Run ``namespace:create`` with the input *given*; whether it succeeded.

    Args:
        given: The input, as a form would send it.
        actions: Folder of action definitions, their workflows beside them.
        pace: Seconds that each pod takes at least, so that the eye can follow.
        echo: Takes each line to show.
    """
    async with _running(actions, pace=pace, echo=echo) as http:
        response = await http.post("/v1/runs", json={"action": "namespace:create", "input": given})
        run = response.json()
        if "id" not in run:
            echo(click.style(f"✗ {run['detail']}", fg="red"))
            return False
        last: Mapping[str, Any] = {}
        async for event in _events(http, run["id"]):
            _show(event, echo)
            last = event
        ref = str(last.get("entityRef") or "")
        if ref:
            document = await http.get(f"/catalog/resource/{ref.rpartition('/')[2]}.yaml")
            echo(f"\n# {ref}, as the catalog reads it\n{document.text}")
        return last.get("status") == "succeeded"


@asynccontextmanager
async def _running(actions: Path, *, pace: float, echo: Echo) -> AsyncIterator[HttpClient]:
    token = secrets.token_urlsafe(24)
    argo = localargo.LocalArgoSettings(
        templates=(actions,), secrets={"platform-api": {"token": token}}, node_seconds=pace
    )
    with tempfile.TemporaryDirectory() as folder:
        async with localargo.serve(argo) as argo_url:
            settings = Settings(
                demo=True,
                host="127.0.0.1",
                port=_free_port(),
                actions=actions,
                database=Path(folder) / "runs.db",
                argo_url=argo_url,
                platform_api_token=SecretStr(token),
            )
            echo(click.style(f"embedded Argo on {argo_url}, bridge on {settings.url}\n", dim=True))
            async with _served(settings) as http:
                yield http


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[HttpClient]:
    async with open_bridge(settings) as bridge:
        server = server_for(
            bridge.app(), host=settings.host, port=settings.port, drain=bridge.drain
        )
        serving = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(START_SECONDS):
                await server.ready.wait()
            async with client(settings.url, timeout=10, connections=4) as http:
                yield http
        finally:
            server.should_exit = True
            await serving


async def _events(http: HttpClient, run_id: str) -> AsyncIterator[dict[str, Any]]:
    headers = {"Accept": "text/event-stream"}
    path = f"/v1/runs/{run_id}/events"
    timeout = stream_timeout(read=SILENCE_SECONDS)
    async with http.stream("GET", path, headers=headers, timeout=timeout) as response:
        lines = LineSplitter()
        async for chunk in response.aiter_bytes():
            for line in lines.feed(chunk):
                data = data_of(line)
                if data is not None:
                    yield json.loads(data)


def _show(event: Mapping[str, Any], echo: Echo) -> None:
    if not event["message"]:
        return
    clock = click.style(str(event["time"])[11:23], dim=True)
    echo(f"{clock}  {click.style(event['message'], fg=_COLOURS.get(event['level']))}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
