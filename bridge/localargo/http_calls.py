"""`http` templates: one request, made in a thread with a timeout.

Knows urllib and the rules by which Argo's agent judges a response. Knows nothing of nodes.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any

from bridge.localargo.expressions import ExpressionError, evaluate
from bridge.localargo.pods import Pod, PodResult
from bridge.localargo.processes import SecretError, environment_of
from bridge.localargo.templates import as_text

_TIMEOUT_SECONDS = 30.0
_BODY_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: Mapping[str, list[str]]
    body: str


class HttpRunner:
    """Makes the requests of http templates."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._secrets = secrets

    async def run(self, pod: Pod) -> PodResult:
        """Make the request; the body of the response is the result."""
        template = pod.template["http"]
        try:
            request = self._request(template)
            timeout = float(as_text(template.get("timeoutSeconds") or _TIMEOUT_SECONDS))
            verify = not template.get("insecureSkipVerify")
            response = await asyncio.wait_for(
                asyncio.to_thread(_send, request, timeout, verify), timeout + 1.0
            )
        except (OSError, ValueError, SecretError) as error:
            return PodResult(None, f"{_reason(error)}")
        message = _judge(template.get("successCondition"), request, response)
        return PodResult(None, message, result=None if message else response.body)

    def _request(self, template: Mapping[str, Any]) -> urllib.request.Request:
        url = as_text(template["url"])
        if not url.startswith(("http://", "https://")):
            raise ValueError(f'unsupported protocol scheme in "{url}"')
        headers = environment_of({"env": template.get("headers")}, self._secrets)
        body = template.get("body")
        return urllib.request.Request(  # noqa: S310 - the scheme is checked above
            url,
            data=as_text(body).encode() if body is not None else None,
            headers=headers,
            method=as_text(template.get("method") or "GET"),
        )


def _send(request: urllib.request.Request, timeout: float, verify: bool) -> _Response:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:  # noqa: S310 - the scheme is checked by the caller
            return _read(answer.status, answer.headers, answer.read(_BODY_LIMIT))
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error.headers, error.read(_BODY_LIMIT))


def _read(status: int, headers: Message, body: bytes) -> _Response:
    listed = {name: headers.get_all(name, []) for name in headers}
    return _Response(status, listed, body.decode("utf-8", "replace"))


def _judge(condition: str | None, request: urllib.request.Request, response: _Response) -> str:
    """What is wrong with the response; empty if nothing is."""
    if not condition:
        if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            return ""
        return f"received non-2xx response code: {response.status}"
    env = {
        "request": {"method": request.get_method(), "url": request.full_url},
        "response": {
            "statusCode": response.status,
            "headers": response.headers,
            "body": response.body,
        },
    }
    try:
        holds = evaluate(condition, env)
    except ExpressionError as error:
        return str(error)
    return "" if holds is True else f"successCondition '{condition}' evaluated false"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    return str(getattr(error, "reason", error))
