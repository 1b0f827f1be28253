"""Answers of the REST API: bodies and headers as the gRPC gateway sends them.

Knows headers, JSON and the shape of typed objects. Knows no route.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from bridge.localargo.encoding import encode, go_json_error, type_name
from bridge.localargo.errors import ArgoError, invalid, unavailable
from bridge.localargo.masks import FieldMask

VERSION = "v4.1.2+embedded"
_LIMIT = 1000
_PER_CALL = 2  # the HTTP and the gRPC layer of Argo Server both count
_TRAILERS = (b"Grpc-Status", b"Grpc-Message", b"Grpc-Status-Details-Bin")
_BODY_LIMIT = 3_145_728
_BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)

Headers = list[tuple[bytes, bytes]]


class RateWindow:
    """The `X-Ratelimit-*` headers. They are counted as Argo Server counts; nothing is refused."""

    def __init__(self) -> None:
        self._second = 0
        self._used = 0

    def headers(self) -> Headers:
        """Count one call; the headers that show it."""
        second = int(time.time())
        if second != self._second:
            self._second, self._used = second, 0
        self._used += _PER_CALL
        return [
            (b"x-ratelimit-limit", str(_LIMIT).encode()),
            (b"x-ratelimit-remaining", str(max(0, _LIMIT - self._used)).encode()),
            (b"x-ratelimit-reset", self.reset().encode()),
        ]

    def reset(self) -> str:
        """When the window ends: a date as Argo Server writes it, which HTTP does not know."""
        at = datetime.fromtimestamp(int(time.time()) + 1, UTC)
        return at.strftime("%a, %d %b %Y %H:%M:%S UTC")

    def stream_headers(self) -> Headers:
        """The headers of a stream and of a unary call that failed."""
        grpc = [(b"grpc-metadata-content-type", b"application/grpc")]
        return [*self.headers(), *grpc, *((b"grpc-metadata-trailer", name) for name in _TRAILERS)]


def reply(window: RateWindow, body: bytes) -> Response:
    """A success of a unary call: always 200."""
    headers = [*window.stream_headers(), (b"grpc-metadata-argo-version", VERSION.encode())]
    return _response(body, 200, headers)


def refusal(window: RateWindow, error: ArgoError) -> Response:
    """A unary call that failed."""
    return _response(encode(error.body()), int(error.status), window.stream_headers())


def unreachable(window: RateWindow) -> Response:
    """What the gateway says while it cannot reach its own server, without gRPC's headers."""
    error = unavailable()
    return _response(encode(error.body()), int(error.status), window.headers())


def rate_limited(window: RateWindow, retry_after: int | None) -> Response:
    """The 429 of Argo Server's own limit, or with a number of seconds that of a proxy.

    The date in its `Retry-After` is not a valid one (argo-recordings/rate-limit).
    """
    wait = window.reset() if retry_after is None else str(retry_after)
    headers = {"Retry-After": wait, "X-Content-Type-Options": "nosniff"}
    response = PlainTextResponse("Too Many Requests\n", HTTPStatus.TOO_MANY_REQUESTS, headers)
    response.raw_headers.extend(window.headers())
    return response


def bad_gateway() -> Response:
    """The page of a proxy that cannot reach Argo Server."""
    return HTMLResponse(_BAD_GATEWAY, HTTPStatus.BAD_GATEWAY)


def not_implemented(window: RateWindow) -> Response:
    """What the gateway says to every path and method that it does not know."""
    body = encode({"code": 12, "message": "Not Implemented"})
    return _response(body, 501, window.headers())


def _response(body: bytes, status: int, headers: Headers) -> Response:
    response = Response(body, status, media_type="application/json")
    response.raw_headers.extend(headers)
    return response


def typed(snapshot: Mapping[str, Any], mask: FieldMask) -> dict[str, Any]:
    """A workflow through a mask, with the zero values that Go's types always show."""
    kept = mask.apply(dict(snapshot))
    spec, status = kept.get("spec") or {}, kept.get("status") or {}
    shown: dict[str, Any] = {"metadata": kept.get("metadata") or {}}
    shown["spec"] = spec if "arguments" in spec else {"arguments": {}, **spec}
    head = {"phase": status["phase"]} if "phase" in status else {}
    times = {key: status.get(key) for key in ("startedAt", "finishedAt")}
    shown["status"] = {**head, **times, **status}
    return shown


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; empty for an empty body.

    Names at the top may be in any letter case, unknown ones are passed on, the content type is
    not looked at (argo-recordings/submit-malformed-body).

    Raises:
        ArgoError: 400 with Go's text.
    """
    raw = await request.body()
    if len(raw) > _BODY_LIMIT:
        raise invalid(f"Request entity too large: limit is {_BODY_LIMIT}")
    text = raw.decode("utf-8", "replace").lstrip()
    if not text:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        reason = "unexpected EOF" if text[0] in '{["' else go_json_error(text)
        raise invalid(reason) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = type_name(type(value))
        raise invalid(f"json: cannot unmarshal {kind} into Go value of type workflow request")
    return {_NAMES.get(str(key).lower(), str(key)): item for key, item in value.items()}


_NAMES = {
    name.lower(): name
    for name in (
        "workflow",
        "template",
        "namespace",
        "serverDryRun",
        "createOptions",
        "nodeFieldSelector",
        "outputParameters",
        "message",
        "phase",
        "parameters",
        "restartSuccessful",
    )
}


def text_field(body: Mapping[str, Any], name: str, request_type: str) -> str:
    """A field of a request that must be a string.

    Raises:
        ArgoError: 400 with Go's text.
    """
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = type_name(type(value))
        raise invalid(
            f"json: cannot unmarshal {kind} into Go struct field {request_type}.{name} of type "
            "string"
        )
    return value
