"""Whether the process lives, and whether it should get requests.

Knows what readiness depends on: the store, at least one definition, and not draining. Argo being
away is told but does not take the bridge out of service: runs are accepted and wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.domain.errors import BridgeError
from bridge.ports import RunStore
from bridge.services.actions import Actions

_STORE_SECONDS = 2.0


class HealthApi:
    """``/healthz`` and ``/readyz``."""

    def __init__(
        self,
        *,
        store: RunStore,
        actions: Actions,
        following: Callable[[], bool],
        draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._actions = actions
        self._following = following
        self._draining = draining

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        del request
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """The process should get requests, and what it knows of its surroundings."""
        del request
        catalogue = self._actions.catalogue
        broken = ", ".join(f"{p.file}:{p.line}" for p in catalogue.problems)
        store = await self._store_answers()
        draining = self._draining()
        checks = {
            "store": "ok" if store else "not available",
            "definitions": f"not in use: {broken}" if broken else "ok",
            "argo": "ok" if self._following() else "not reachable; runs are accepted and wait",
            "draining": "yes" if draining else "no",
        }
        ready = store and not draining and bool(catalogue.actions)
        status = "ok" if ready else "unavailable"
        return JSONResponse({"status": status, "checks": checks}, status_code=200 if ready else 503)

    async def _store_answers(self) -> bool:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.ping()
        except (BridgeError, TimeoutError):
            return False
        return True
