"""How the bridge faces the network: from the settings to what stands before the routes.

Knows settings, the guard and the server, and joins them. A part of the composition root.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from bridge.domain.credentials import bearer_digests
from bridge.identity import rotating
from bridge.settings import Settings
from bridge.web.app import Guard
from bridge.web.connections import ConnectionLimits
from bridge.web.headers import HSTS
from bridge.web.server import DrainingServer, server_for
from bridge.web.tls import Certificate
from bridge.web.verifiers.statics import Holders


def guard_of(settings: Settings) -> Guard:
    """What the settings put before the routes."""
    addresses = (settings.url, settings.platform_callback)
    return Guard(
        https=_is_https(settings),
        own_machine_only=settings.demo,
        hosts=frozenset(host for host in map(_host_of, addresses) if host is not None),
        origins=settings.cors_origins,
        unverified=settings.max_unverified,
        requests_per_second=settings.requests_per_second,
        posts_per_second=settings.posts_per_second,
    )


def metrics_readers_of(settings: Settings) -> Holders | None:
    """Who may read the metrics; None for everybody.

    Raises:
        SettingsInvalid: The token, or its file, cannot be used.
    """
    if settings.metrics_token is None and settings.metrics_token_file is None:
        return None
    parse = partial(bearer_digests, of="BRIDGE_METRICS_TOKEN", strict=not settings.demo)
    return rotating(settings.metrics_token, settings.metrics_token_file, parse=parse)


def server_of(settings: Settings, app: ASGIApp, *, drain: Callable[[], None]) -> DrainingServer:
    """The server of ``bridge serve``.

    Raises:
        SettingsInvalid: The certificate cannot be used.
    """
    certificate = None
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        certificate = Certificate(settings.tls_cert_file, key=settings.tls_key_file)
    return server_for(
        app,
        host=settings.host,
        port=settings.port,
        drain=drain,
        delay=settings.drain_seconds,
        limits=ConnectionLimits(
            connections=settings.max_connections,
            head=settings.max_header_bytes,
            seconds=settings.request_seconds,
            stall=settings.stall_seconds,
            headers=(HSTS,) if _is_https(settings) else (),
        ),
        certificate=certificate,
    )


def _is_https(settings: Settings) -> bool:
    return settings.url.startswith("https:")


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
