"""Putting the embedded Argo together and serving it.

The composition root of the package: the only place that knows all its parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from bridge.localargo.cluster import Cluster, MemoryCluster
from bridge.localargo.connections import ClosableProtocol
from bridge.localargo.encoding import timestamp
from bridge.localargo.engine import Engine
from bridge.localargo.http_calls import HttpRunner
from bridge.localargo.kubectl import KubectlCluster
from bridge.localargo.objects import ObjectStore
from bridge.localargo.processes import ProcessRunner
from bridge.localargo.resources import ResourceRunner
from bridge.localargo.runners import Runners
from bridge.localargo.server import ArgoServer
from bridge.localargo.settings import LocalArgoSettings
from bridge.localargo.templates import read_files

_LOGGER = logging.getLogger("bridge.localargo")


def build_engine(settings: LocalArgoSettings, cluster: Cluster) -> Engine:
    """An engine with its templates loaded, whose resource templates go to `cluster`.

    A template that cannot be run here is kept, with a warning: a workflow of it is refused with
    the same sentence.

    Raises:
        OSError: a path of templates that cannot be read.
        ManifestError: a file of templates that is not YAML.
    """
    runners = Runners(
        processes=ProcessRunner(settings.secrets, grace_seconds=settings.grace_seconds),
        resources=ResourceRunner(cluster, poll_seconds=settings.poll_seconds),
        requests=HttpRunner(settings.secrets),
    )
    engine = Engine(settings, runners)
    created = timestamp(engine.now()) or ""
    for file, document in read_files(settings.templates):
        version = engine.log.next_version()
        stored = engine.templates.load(document, version=version, created=created)
        if stored.problem is not None:
            _LOGGER.warning("%s: %s", file, stored.problem)
    return engine


def create_app(settings: LocalArgoSettings) -> Starlette:
    """The ASGI application.

    For demonstrations, tests and benches its `state.engine` is the Engine, and `state.objects`
    the ObjectStore of the cluster in memory (None with a kubeconfig).

    Raises:
        OSError: a path of templates that cannot be read.
        ManifestError: a file of templates that is not YAML.
    """
    objects = None
    cluster: Cluster
    if settings.kubeconfig is not None:
        cluster = KubectlCluster(settings.kubeconfig)
    else:
        names = dict.fromkeys((*settings.namespaces, settings.namespace))
        objects = ObjectStore(namespaces=tuple(names))
        cluster = MemoryCluster(objects)
    app = ArgoServer(build_engine(settings, cluster)).app
    app.state.objects = objects
    return app


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone: another program embeds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _CommandServer(uvicorn.Server):
    """A uvicorn server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, file=sys.stderr, flush=True)  # noqa: T201 - the one line of a command


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        access_log=False,
        log_level="critical",
        server_header=False,
        http=ClosableProtocol,
        ws="none",
        timeout_graceful_shutdown=0,  # open streams are cut, as the real server cuts them
        backlog=4096,
    )


@contextlib.asynccontextmanager
async def serve_app(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application until the block ends; yields its URL. Port 0 takes a free one."""
    with _listen(host, port) as listener:
        server = _Server(_config(app))
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if serving.done():
                    serving.result()
                    raise RuntimeError("the embedded Argo did not start")
                await asyncio.sleep(0.005)
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def serve(
    settings: LocalArgoSettings, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve an embedded Argo until the block ends; yields its URL. Port 0 takes a free one."""
    async with serve_app(create_app(settings), host=host, port=port) as url:
        yield url


def run(settings: LocalArgoSettings, *, host: str, port: int) -> bool:
    """Serve until SIGTERM or SIGINT; False if the server could not start."""
    app = create_app(settings)
    with _listen(host, port) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        names = ", ".join(t.document["metadata"]["name"] for t in app.state.engine.templates.all())
        ready = f"embedded Argo ready on {address}, namespace {settings.namespace}"
        server = _CommandServer(_config(app), f"{ready}, templates: {names or 'none'}")
        server.run(sockets=[listener])
        return server.started


def _listen(host: str, port: int) -> AbstractContextManager[socket.socket]:
    listener = socket.create_server((host, port), backlog=4096)
    # Accepted sockets inherit it. asyncio sets it only where the protocol number is known, which
    # it is not here, and each answer would wait 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)  # noqa: FBT003 - the only way to say it
    return listener
