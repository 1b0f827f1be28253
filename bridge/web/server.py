"""The uvicorn server that ``bridge serve`` owns.

Knows how to end it: uvicorn runs the lifespan's end only after all connections are closed, so open
streams must be told first (research/reliability, section 4). Must not know what is served.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from bridge.web.connections import ConnectionLimits, bounded
from bridge.web.tls import Certificate

GRACE_SECONDS = 5
SWITCH_SECONDS = 0.0005
RENEW_TICKS = 100
MOST_FILES = 65_536
SPARE_FILES = 128
"""Open files that are no connections of clients: the store, Argo, Backstage, logs."""
GC_THRESHOLDS = (50_000, 20, 100)


class DrainingServer(uvicorn.Server):
    """Ends streams before it waits for connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain: Callable[[], None],
        delay: float = 0.0,
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._delay = delay
        self._certificate = certificate
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so by ``ready``."""
        await super().startup(sockets=sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end. Now and then a new certificate is looked for."""
        if self._certificate is not None and counter % RENEW_TICKS == 0:
            self._certificate.renew()
        return await super().on_tick(counter)

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
    _raise_most_files()
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
    limits: ConnectionLimits | None = None,
    certificate: Certificate | None = None,
) -> DrainingServer:
    """A server that logs through the standard library and bounds connections and its shutdown."""
    limits = limits or ConnectionLimits()
    most = min(limits.connections, _most_files() - SPARE_FILES)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=bounded(replace(limits, connections=most)),
        ws="none",
        ssl_context_factory=(lambda _config, _default: certificate.context)
        if certificate
        else None,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return DrainingServer(config, drain=drain, delay=delay, certificate=certificate)


def _most_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else MOST_FILES


def _raise_most_files() -> None:
    """Take as many open files as the system grants; what it gives at first is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
