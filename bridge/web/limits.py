"""How much is taken on: before anybody is known, and from each caller.

Knows callers and the state of a request. Must not know routes, nor addresses of clients: what a
proxy says of them can be forged, and behind one all are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.domain.callers import Caller
from bridge.domain.errors import Overloaded, RateLimited
from bridge.services.rates import Rates
from bridge.web.answers import problem

ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered however busy the bridge is: a probe that fails would end it, and all that it serves, and
who looks after it has to see how busy it is."""

_KNOWN = "caller_known"


class BoundUnverified:
    """Middleware around the one that verifies: few requests at a time of nobody we know."""

    def __init__(self, app: ASGIApp, *, at_most: int) -> None:
        self._app = app
        self._at_most = at_most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request until its caller is known, or it ends."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._at_most:
            error = Overloaded(retry_after=1)
            await problem(error, scope=scope)(scope, receive, send)
            return
        self._under_way += 1
        known = _Once(self._one_less)
        scope.setdefault("state", {})[_KNOWN] = known
        try:
            await self._app(scope, receive, send)
        finally:
            known()

    def _one_less(self) -> None:
        self._under_way -= 1


class _Once:
    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


class BoundCallers:
    """Middleware within the one that verifies: so many requests a second for each caller."""

    def __init__(self, app: ASGIApp, *, requests: Rates, posts: Rates) -> None:
        self._app = app
        self._requests = requests
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what comes too often."""
        caller = scope.get("state", {}).get("caller")
        if isinstance(caller, Caller):
            scope["state"].pop(_KNOWN)()
            wait = self._wait(caller_key(caller), scope["method"])
            if wait:
                error = RateLimited(f"Try again in {wait} s.", retry_after=wait)
                await problem(error, scope=scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _wait(self, caller: str, method: str) -> int:
        """Whole seconds, 0 if the request may go on."""
        wait = self._requests.take(caller)
        if not wait and method == "POST":
            wait = self._posts.take(caller)
        return ceil(wait)


def caller_key(caller: Caller) -> str:
    """What counts as one caller: a person, whoever speaks for them, or a service of its own."""
    return f"{caller.tenant}\t{caller.name}"
