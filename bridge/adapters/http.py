"""The one place that names the HTTP client (ADR 0001) and its engine (ADR 0012).

Knows httpx, httpcore and our timeouts. Must not know any peer. A swap of the client is this file.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import httpcore
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
_PORTS = {"http": 80, "https": 443}
_HEADERS = (
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip"),
    (b"User-Agent", b"backstage-argo-bridge"),
)
_JSON = ((b"Content-Type", b"application/json"),)
_TEXT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_BARE = frozenset({"GET", "DELETE"})
"""Methods whose requests say nothing of a body that they do not have."""
_ENGINE_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
)
"""Each but the last has the name that httpx gives it; the last one took no request."""
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
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    transport = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, proxy=proxy, limits=limits)
    return httpx.AsyncClient(
        base_url=base_url,
        follow_redirects=False,
        trust_env=False,
        timeout=_timeouts(timeout),
        transport=_NowhereElse(transport, base=httpx.URL(base_url), hosts=hosts),
    )


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

    By httpx's own engine: no client looks after cookies, redirects and sign-in that this peer does
    not have, and no pool after connections that there are not.
    """

    def __init__(
        self, base_url: str, *, timeout: float, verify: bool | ssl.SSLContext = True
    ) -> None:
        """Args: see :func:`client`."""
        base = httpx.URL(base_url)
        scheme, host, port = base.raw_scheme, base.raw_host, base.port or _PORTS[base.scheme]
        self._base = base.raw_path.partition(b"?")[0].rstrip(b"/")
        self._origin = httpcore.Origin(scheme, host, port)
        self._tls = verify if isinstance(verify, ssl.SSLContext) else tls_context(verify=verify)
        self._headers = [(b"Host", base.netloc), *_HEADERS]
        self._extensions = {"timeout": _timeouts(timeout).as_dict()}
        self._connection = self._unconnected()

    def _unconnected(self) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(self._origin, ssl_context=self._tls)

    async def __aenter__(self) -> Self:
        """Nothing is connected before it is needed."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def request(
        self, method: str, url: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> HttpResponse:
        """See Requester; *url* is a path at the peer, so that nothing leads to another place."""
        if not url.startswith("/"):
            raise ElsewhereRefused(f"{url!r} is no path")
        target = url if params is None else f"{url}?{httpx.QueryParams(params)}"
        sent = [*self._headers, *((n.encode(), v.encode()) for n, v in (headers or {}).items())]
        content = b""
        if json is not None:
            content = _TEXT.encode(json).encode()
            sent += _JSON
        if content or method not in _BARE:
            sent.append((b"Content-Length", str(len(content)).encode()))
        try:
            return await self._exchange(method, self._base + target.encode(), sent, content)
        except _ENGINE_ERRORS as error:
            named = getattr(httpx, type(error).__name__, httpx.ConnectError)
            raise named(str(error)) from error

    async def _exchange(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], content: bytes
    ) -> HttpResponse:
        if self._connection.is_closed() or self._connection.has_expired():
            await self._connection.aclose()
            self._connection = self._unconnected()
        origin = self._origin
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target)
        response = await self._connection.handle_async_request(
            httpcore.Request(
                method, url, headers=headers, content=content, extensions=self._extensions
            )
        )
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        return httpx.Response(response.status, headers=response.headers, content=body)


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
