"""Requests in, responses out: the shapes that every route shares.

Knows RFC 9457, entity tags and body limits. Must not know any one route.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from bridge.domain.callers import Source
from bridge.domain.entities import strong_etag
from bridge.domain.errors import (
    BodyTooLarge,
    BridgeError,
    FieldError,
    MediaTypeUnsupported,
    MethodNotAllowed,
    RequestInvalid,
    RouteUnknown,
)
from bridge.domain.json_text import BodyLimits, TooCostly, parse_json
from bridge.domain.redaction import Redactor
from bridge.web.addresses import run_address
from bridge.web.headers import secured

_log = logging.getLogger(__name__)
_ERRORS_URL = "https://backstage-argo-bridge.example/errors/"
_OURS = "Value error, "
"""What pydantic puts in front of a sentence of our own."""
_MOST_ERRORS = 50
B = TypeVar("B", bound=BaseModel)


def problem(error: BridgeError, *, scope: Scope) -> Response:
    """The RFC 9457 answer for an error of ours; what it quotes shows no secrets."""
    state = scope["app"].state if "app" in scope else None
    hide = getattr(state, "redactor", Redactor)().text
    body: dict[str, Any] = {
        "type": _ERRORS_URL + error.code,
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": hide(error.detail),
        "instance": scope["path"],
        "errors": [{"pointer": e.pointer, "message": hide(e.message)} for e in error.errors],
        "suggestions": list(error.suggestions),
    }
    headers = {"Cache-Control": "no-store"}
    if error.run_id is not None:
        there = run_address(error.run_id)
        body |= {"run": error.run_id, "links": {"run": there}}
        headers["Link"] = f'<{there}>; rel="related"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:  # noqa: PLR2004 - RFC 9110 asks for the challenge with it
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        body, status_code=error.status, headers=headers, media_type="application/problem+json"
    )


async def on_bridge_error(request: Request, error: Exception) -> Response:
    """Exception handler for the error tree."""
    if not isinstance(error, BridgeError):
        raise error
    return problem(error, scope=request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for what the router itself says no to."""
    known = isinstance(error, HTTPException)
    status = error.status_code if isinstance(error, HTTPException) else 500
    if known and status == 404:  # noqa: PLR2004 - the router's own two answers
        return problem(RouteUnknown(), scope=request.scope)
    if known and status == 405:  # noqa: PLR2004 - same
        answer = problem(MethodNotAllowed(), scope=request.scope)
        answer.headers["Allow"] = ", ".join(sorted(_methods_of(request)))
        return answer
    return problem(RequestInvalid(), scope=request.scope)


def _methods_of(request: Request) -> set[str]:
    """What an address takes; it may have a route for each method."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods
    }


async def on_crash(request: Request, error: Exception) -> Response:
    """Exception handler for faults of ours: the text stays in the log."""
    source = request.scope.get("state", {}).get("source", Source())
    where = {"path": request.scope["path"], "request": source.request}
    _log.error("request failed", exc_info=error, extra=where)
    answer = problem(BridgeError(), scope=request.scope)
    answer.raw_headers = secured(answer.raw_headers)  # no middleware stands outside of this handler
    return answer


async def read_body(
    request: Request,
    model: type[B],
    *,
    limit: BodyLimits,
    optional: bool = False,
    any_type: bool = False,
) -> B:
    """The JSON body as *model*; no body at all is an empty object if it is *optional*.

    *any_type* takes JSON whatever its Content-Type says, for clients that cannot say it.

    Raises:
        BodyTooLarge: Before more than *limit* allows is held.
        MediaTypeUnsupported: It is not said to be JSON: what a form or a page of another site can
            send is not read.
        RequestInvalid: It is not JSON, too costly, or not of that shape; ``errors`` names every
            field.
    """
    sent = await _all_of(request, limit.size)
    if sent and not any_type and not _is_json(request.headers.get("content-type", "")):
        raise MediaTypeUnsupported("Send Content-Type: application/json.")
    try:
        value = parse_json(sent or (b"{}" if optional else b""), limits=limit)
        return model.model_validate(value)
    except ValidationError as error:
        raise _shape_error(error) from error
    except TooCostly as error:
        raise RequestInvalid(f"The body costs too much to read: {error}") from error
    except ValueError as error:
        raise RequestInvalid("The body is not JSON.") from error


async def _all_of(request: Request, size: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > size:
        raise BodyTooLarge(f"The body exceeds {size} bytes.")
    chunks: list[bytes] = []
    held = 0
    try:
        async for chunk in request.stream():
            held += len(chunk)
            if held > size:
                raise BodyTooLarge(f"The body exceeds {size} bytes.")
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise RequestInvalid("The body did not arrive in full.") from error
    return b"".join(chunks)


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _shape_error(error: ValidationError) -> RequestInvalid:
    found = error.errors(include_url=False, include_input=False)[:_MOST_ERRORS]
    errors = tuple(
        FieldError("".join(f"/{part}" for part in item["loc"]), item["msg"].removeprefix(_OURS))
        for item in found
    )
    listed = "; ".join(f"{e.pointer}: {e.message}" for e in errors)
    return RequestInvalid(f"The body is not of the right shape: {listed}", errors=errors)


def shown(
    view: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """*view* as JSON, written by the model itself."""
    text = view.model_dump_json(by_alias=True)
    return Response(text, status_code=status, headers=headers, media_type="application/json")


def tagged(request: Request, text: str, *, media_type: str) -> Response:
    """*text* with a strong entity tag, or 304 when the caller has it."""
    tag = strong_etag(text)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    sent = request.headers.get("if-none-match", "")
    if tag in {part.strip() for part in sent.split(",")} or sent.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type=media_type)


def tagged_json(request: Request, value: Mapping[str, Any]) -> Response:
    """*value* as JSON with a strong entity tag."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return tagged(request, text, media_type="application/json")
