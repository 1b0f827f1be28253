"""Tokens that lie in files are replaced while the bridge runs, and none of them is ever told."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bridge.adapters.memory import MemoryStore
from bridge.bootstrap import Bridge, open_bridge
from bridge.domain.entities import EntityRef
from bridge.domain.redaction import Redactor
from bridge.known_secrets import KnownSecrets
from bridge.localargo import serve_app
from bridge.settings import Settings
from bridge.telemetry import redact

FIRST, SECOND = "first-token-from-a-file", "second-token-from-a-file"


class Peer:
    """Argo or Backstage, as far as it notes who asks."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.url = ""

    async def answer(self, request: Request) -> JSONResponse:
        """Note the token and say something harmless."""
        self.tokens.append(request.headers.get("authorization", ""))
        return JSONResponse({"metadata": {"resourceVersion": "1"}, "items": None})


@asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    """A served one."""
    made = Peer()
    app = Starlette(routes=[Route("/{path:path}", made.answer, methods=["GET", "POST"])])
    async with serve_app(app) as made.url:
        yield made


async def ask_argo(bridge: Bridge) -> None:
    """Let the bridge ask Argo for something."""
    await bridge._adapters.engines["default"].listing()


async def ask_backstage(bridge: Bridge) -> None:
    """Let the bridge ask the catalog for something."""
    assert bridge._adapters.catalog is not None
    await bridge._adapters.catalog.entity(EntityRef("resource", "default", "x"))


@pytest.mark.parametrize(
    ("address", "file", "ask"),
    [
        ("argo_url", "argo_token_file", ask_argo),
        ("backstage_url", "backstage_token_file", ask_backstage),
    ],
)
async def test_a_new_token_is_used_at_once_and_neither_is_told(
    address: str, file: str, ask: Callable[[Bridge], Any], tmp_path: Path
):
    """A token is replaced without a restart; the old one and the new one stay out of the log."""
    token = tmp_path / "token"
    token.write_text(f"{FIRST}\n")
    async with peer() as other:
        settings = Settings(demo=True, **{address: other.url, file: token})
        async with open_bridge(settings, store=MemoryStore()) as bridge:
            await ask(bridge)
            assert bridge.redaction.text("r", f"got {FIRST}") == "got ***"
            token.write_text(f"{SECOND}\n")
            await ask(bridge)
            now = Redactor(KnownSecrets(settings)())
    assert other.tokens == [f"Bearer {FIRST}", f"Bearer {SECOND}"]
    assert now.text(f"got {SECOND}") == "got ***"


def test_a_token_that_was_replaced_is_hidden_in_the_log(tmp_path: Path):
    """What hides secrets in the log learns of a rotation as the bridge does."""
    token, seconds = tmp_path / "token", [0.0]
    token.write_text(FIRST)
    known = KnownSecrets(Settings(demo=True, argo_token_file=token), clock=lambda: seconds[0])
    hide = redact(lambda: Redactor(known()))
    token.write_text(SECOND)
    seconds[0] = 1.0
    shown = hide(logging.getLogger(), "info", {"event": f"{FIRST} became {SECOND}"})
    assert json.loads(json.dumps(shown)) == {"event": "*** became ***"}


def test_a_value_and_a_file_are_both_hidden(tmp_path: Path):
    """A token of a variable counts beside that of a file."""
    token = tmp_path / "token"
    token.write_text(SECOND)
    settings = Settings(demo=True, tokens=SecretStr(f"ci={FIRST}"), tokens_file=token)
    assert Redactor(KnownSecrets(settings)()).text(f"{FIRST} {SECOND}") == "*** ***"
