"""The uvicorn server that ``bridge serve`` owns.

Knows how to end it: uvicorn runs the lifespan's end only after all connections are closed, so open
streams must be told first (research/reliability, section 4). Must not know what is served.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

GRACE_SECONDS = 5
SWITCH_SECONDS = 0.0005
GC_THRESHOLDS = (50_000, 20, 100)


class DrainingServer(uvicorn.Server):
    """Ends streams before it waits for connections."""

    def __init__(
        self, config: uvicorn.Config, *, drain: Callable[[], None], delay: float = 0.0
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._delay = delay
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so by ``ready``."""
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT; not by them afterwards, the store is still to be closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, give load balancers *delay* seconds to notice, then stop."""
        self._drain()
        if self._delay:
            await asyncio.sleep(self._delay)
        await super().shutdown(sockets=sockets)


def run(main: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run`` on the loop that uvicorn would choose: uvloop where there is one."""
    # The store's thread must not hold up the loop for the default 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    # A full collection over thousands of open runs stops everything for a tenth of a second; what
    # a snapshot leaves behind is freed by reference counts, so such collections can be rare.
    gc.set_threshold(*GC_THRESHOLDS)
    factory = uvicorn.Config(app="", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def server_for(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    drain: Callable[[], None],
    delay: float = 0.0,
) -> DrainingServer:
    """A server that logs through the standard library and bounds its own shutdown."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return DrainingServer(config, drain=drain, delay=delay)
