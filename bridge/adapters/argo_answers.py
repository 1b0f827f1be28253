"""What an answer of the Argo Server means.

Knows its error bodies and texts as recorded (tests/adapters/recordings; research/argo, section
1.3). Pure: status, headers and bytes in, an error of ours out. Must not send anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from bridge.domain.errors import (
    EngineConflict,
    EngineError,
    EngineForbidden,
    EngineUnavailable,
    TemplateMissing,
    WatchExpired,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)

Call = Literal["create", "get", "list", "watch", "log", "control", "delete", "ping"]

_RATE_LIMIT_SECONDS = 1
"""Argo's Retry-After is not a valid HTTP date and its window is a second (rate-limit)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed answer, however it was framed."""

    status: int
    message: str
    is_json: bool = True


class WatchRotated(Exception):
    """kube-apiserver closed the watch; go on from the last version."""


def read_failure(status: int, *, content_type: str, body: bytes) -> Failure:
    """A failed HTTP answer: ``{code,message}``, a stream's ``{error:{…}}``, or no JSON at all."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("data:"):
        text = text[5:].strip()
    try:
        value = json.loads(text)
    except ValueError:
        kind = "a web page" if "html" in content_type else f"{text[:120]!r}"
        return Failure(status, kind, is_json=False)
    return frame_failure(value, status=status) or Failure(status, text[:200])


def frame_failure(frame: Any, *, status: int = 200) -> Failure | None:
    """The failure in a decoded body or stream frame; None if it is none.

    A frame without ``result`` and ``error`` is an error that a ``fields`` filter blanked
    (argo-recordings, 1.4).
    """
    if not isinstance(frame, Mapping):
        return Failure(status, f"{str(frame)[:120]!r}")
    error = frame.get("error")
    if isinstance(error, Mapping):
        return Failure(int(error.get("http_code") or status), str(error.get("message", "")))
    if "message" in frame and "code" in frame:
        return Failure(status, str(frame["message"]))
    return Failure(status, "an error without a text") if not frame else None


def error_of(call: Call, failure: Failure) -> EngineError:
    """The error that *failure* means for *call*.

    Raises:
        WatchRotated: It is only the normal end of a watch.
    """
    status, message = failure.status, failure.message
    if not failure.is_json:
        return _not_json(status, message)
    if status == HTTPStatus.TOO_MANY_REQUESTS and message == "EOF":
        raise WatchRotated
    if message.startswith("timed out waiting for the condition") and call == "control":
        return EngineConflict(f"Argo did not apply it: {message}")
    specific = _by_text(call, status, message)
    if specific is not None:
        return specific
    return _by_status(status, message)


def _not_json(status: int, message: str) -> EngineError:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return EngineUnavailable(
            "Argo limits the rate of requests", retry_after=_RATE_LIMIT_SECONDS
        )
    return EngineUnavailable(
        f"Something answered {status} with {message} in place of Argo; "
        "check ARGO_WORKFLOWS_URL and the proxies before it"
    )


def _by_text(call: Call, status: int, message: str) -> EngineError | None:
    match status:
        case 400 if "too old resource version" in message:
            return WatchExpired(message)
        case 504 if "Too large resource version" in message:
            return WatchExpired(message)
        case 404 if call == "create":
            return TemplateMissing(message)
        case 404:
            return WorkflowGone(message)
        case 409 if "already exists" in message:
            return WorkflowExists(message)
        case 409:
            return EngineConflict(message)
        case 500 if "request is too large" in message and call == "create":
            return WorkflowRejected(f"Argo rejects the workflow: {message}")
        case 500 if call == "get" and _means_gone(message):
            return WorkflowGone(message)
        case _:
            return None


def _means_gone(message: str) -> bool:
    """With the archive off, a get by another uid fails like this (get-workflow)."""
    return "nil pointer dereference" in message or "archived workflows not supported" in message


def _by_status(status: int, message: str) -> EngineError:
    match status:
        case 401 | 403:
            return EngineForbidden(f"Argo refuses the bridge's credentials: {message}")
        case 400 | 413 | 422:
            return WorkflowRejected(f"Argo rejects the workflow: {message}")
        case 429:
            return EngineUnavailable(
                f"Argo limits the rate of requests: {message}", retry_after=_RATE_LIMIT_SECONDS
            )
        case 501:
            return EngineUnavailable(f"Argo does not know this request: {message}")
        case _:
            return EngineUnavailable(f"Argo answered {status}: {message}")


def is_completed_shutdown(error: EngineError) -> bool:
    """Whether a stop failed only because the workflow has ended already (stop-terminate)."""
    return "cannot shutdown a completed workflow" in error.detail
