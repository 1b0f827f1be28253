"""The one place that names the HTTP client (ADR 0001).

Knows httpx and our timeouts. Must not know any peer. A swap of the client is this file.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import httpx

from bridge.domain.errors import SettingsInvalid

HttpClient = httpx.AsyncClient
HttpResponse = httpx.Response
HttpError = httpx.HTTPError
InvalidUrl = httpx.InvalidURL


class ElsewhereRefused(httpx.TransportError):
    """A request to a place that the settings do not name; nothing was sent."""


NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, ElsewhereRefused)
"""Failures before the first byte of a request: refused, no such host, TLS, no free connection, or
a place where nothing may be sent.

Any other failure may have come after the peer read the request.
"""

CONNECT_SECONDS = 5.0
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "backstage-argo-bridge"}
Token = Callable[[], str | None]


def client(
    base_url: str,
    *,
    timeout: float,
    connections: int,
    verify: bool | ssl.SSLContext = True,
    hosts: Iterable[str] = (),
    proxy: str | None = None,
) -> HttpClient:
    """A client for one configured peer: no redirects, no environment proxies, no other place.

    Args:
        base_url: The peer's address, from the settings only.
        timeout: Seconds for a whole unary answer to begin and for each of its parts.
        connections: How many may be open at a time.
        verify: Whether TLS certificates are checked.
        hosts: More hosts, with their ports, where the same may be asked.
        proxy: Address of an HTTP proxy to go by, from the settings only.
    """
    transport = _transport(connections=connections, verify=verify, proxy=proxy)
    return httpx.AsyncClient(
        base_url=base_url,
        follow_redirects=False,
        trust_env=False,
        timeout=_timeouts(timeout),
        transport=_NowhereElse(transport, base=httpx.URL(base_url), hosts=hosts),
    )


def _transport(
    *, connections: int, verify: bool | ssl.SSLContext, proxy: str | None = None
) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, proxy=proxy, limits=limits)


def _timeouts(timeout: float) -> httpx.Timeout:
    return httpx.Timeout(timeout, connect=CONNECT_SECONDS)


class _NowhereElse(httpx.AsyncBaseTransport):
    """Sends to the configured places only, whatever address an answer or a document led to."""

    def __init__(
        self, transport: httpx.AsyncHTTPTransport, *, base: httpx.URL, hosts: Iterable[str]
    ) -> None:
        self._transport = transport
        self._scheme = base.raw_scheme
        others = (httpx.URL(f"{base.scheme}://{host}").netloc for host in hosts)
        self._places = {base.netloc, *others}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.raw_scheme != self._scheme or url.netloc not in self._places:
            place = f"{url.scheme}://{url.netloc.decode()}"
            raise ElsewhereRefused(f"{place} is not a configured place", request=request)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


def tls_context(*, verify: bool = True, ca_file: Path | None = None) -> ssl.SSLContext:
    """The system's authorities and those of *ca_file*, read once for many clients.

    Without *verify* no certificate is checked.

    Raises:
        SettingsInvalid: The file cannot be used.
    """
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    if ca_file is not None and verify:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise SettingsInvalid(f"BRIDGE_CA_FILE {ca_file} cannot be used: {error}") from error
    return context


class Requester(Protocol):
    """Whatever sends unary requests: a client, or lanes of them."""

    async def request(
        self, method: str, url: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> HttpResponse:
        """One request; raises HttpError."""
        ...


class Lane:
    """One connection for unary requests to one configured peer; made anew when it was closed.

    Below httpx's client: this peer gets no cookies, redirects or sign-in that a client would
    look after at each request.
    """

    def __init__(
        self, base_url: str, *, timeout: float, verify: bool | ssl.SSLContext = True
    ) -> None:
        """Args: see :func:`client`."""
        self._base = base_url.rstrip("/")
        self._transport = _transport(connections=1, verify=verify)
        self._extensions = {"timeout": _timeouts(timeout).as_dict()}

    async def __aenter__(self) -> Self:
        """Nothing is connected before it is needed."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connection."""
        await self._transport.aclose()

    async def request(
        self, method: str, url: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> HttpResponse:
        """See Requester; *url* is a path at the peer, so that nothing leads to another place."""
        if not url.startswith("/"):
            raise ElsewhereRefused(f"{url!r} is no path")
        request = httpx.Request(
            method,
            self._base + url,
            params=params,
            json=json,
            headers={**_HEADERS, **(headers or {})},
            extensions=self._extensions,
        )
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response


class Lanes:
    """Requesters of one connection each, for many small calls to one peer.

    A shared pool looks at each of its idle connections before every request, by a system call
    each; a lane looks at its own only. The lane used last is taken first, so that few stay open.
    """

    def __init__(self, lanes: Sequence[Requester], *, wait: float = 30.0) -> None:
        """Args: *wait* is for how many seconds a request waits for a lane."""
        self._wait = wait
        self._idle: asyncio.LifoQueue[Requester] = asyncio.LifoQueue()
        for one in lanes:
            self._idle.put_nowait(one)

    async def request(
        self, method: str, url: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> HttpResponse:
        """See Requester; waits for a lane first, and fails as NOT_SENT when none comes free."""
        try:
            async with asyncio.timeout(self._wait):
                lane = await self._idle.get()
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"no connection came free in {self._wait:g} s") from error
        try:
            return await lane.request(method, url, params=params, json=json, headers=headers)
        finally:
            self._idle.put_nowait(lane)


def stream_timeout(*, read: float) -> httpx.Timeout:
    """For streams: *read* is the longest silence, the first byte included."""
    return httpx.Timeout(read, connect=CONNECT_SECONDS)


def token_source(*, value: str | None, file: Path | None) -> Token:
    """A bearer token, read again from its file at each use, because tokens rotate.

    The returned function raises SettingsInvalid when the file cannot be read.
    """

    def read() -> str | None:
        if file is None:
            return value
        try:
            return file.read_text().strip()
        except OSError as error:
            raise SettingsInvalid(f"the token file {file} cannot be read: {error}") from error

    return read


def authorization(token: Token) -> dict[str, str]:
    """The header for a bearer token, or none."""
    text = token()
    return {"Authorization": f"Bearer {text}"} if text else {}
