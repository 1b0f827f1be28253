"""What an answer of the Argo Server means.

Knows its error bodies and texts as recorded (tests/adapters/recordings; research/argo, section
1.3). Pure: status, headers and bytes in, an error of ours out. Must not send anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

from bridge.domain.errors import (
    EngineConflict,
    EngineError,
    EngineForbidden,
    EngineUnavailable,
    EngineUnreached,
    GateClosed,
    TemplateMissing,
    WatchExpired,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.domain.workflows import Snapshot

Call = Literal["create", "get", "list", "watch", "log", "control", "delete", "ping"]

_RATE_LIMIT_SECONDS = 1
"""Argo's Retry-After is not a valid HTTP date and its window is a second (rate-limit)."""
_LONGEST_WAIT_SECONDS = 60
"""A proxy that asks for an hour must not stop the bridge for so long."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed answer, however it was framed."""

    status: int
    message: str
    is_json: bool = True
    retry_after: int | None = None


class WatchRotated(Exception):
    """kube-apiserver closed the watch; go on from the last version."""


def read_failure(status: int, *, headers: Mapping[str, str], body: bytes) -> Failure:
    """A failed HTTP answer: ``{code,message}``, a stream's ``{error:{…}}``, or no JSON at all.

    Args:
        status: The status.
        headers: The headers by lower-case name.
        body: The body, or its beginning.
    """
    wait = _seconds(headers.get("retry-after", ""))
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("data:"):
        text = text[5:].strip()
    try:
        value = json.loads(text)
    except ValueError:
        is_page = "html" in headers.get("content-type", "")
        kind = "a web page" if is_page else f"{text[:120]!r}"
        return Failure(status, kind, is_json=False, retry_after=wait)
    failure = frame_failure(value, status=status) or Failure(status, text[:200])
    return replace(failure, retry_after=wait)


def _seconds(text: str) -> int | None:
    """A Retry-After in seconds, 60 at most; None for a date."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:9]), _LONGEST_WAIT_SECONDS)


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
        return _not_json(failure)
    if status == HTTPStatus.TOO_MANY_REQUESTS and message == "EOF":
        raise WatchRotated
    if message.startswith("timed out waiting for the condition") and call == "control":
        return EngineConflict(f"Argo did not apply it: {message}")
    specific = _by_text(call, status, message)
    if specific is not None:
        return specific
    return _by_status(failure)


def _not_json(failure: Failure) -> EngineError:
    if failure.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(failure, "")
    return EngineUnavailable(
        f"Something answered {failure.status} with {failure.message} in place of Argo; "
        "check ARGO_WORKFLOWS_URL and the proxies before it",
        retry_after=failure.retry_after,
    )


def _limited(failure: Failure, reason: str) -> EngineUnreached:
    wait = failure.retry_after or _RATE_LIMIT_SECONDS
    return EngineUnreached(f"Argo limits the rate of requests{reason}", retry_after=wait)


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
        case 500:
            return _internal(call, message)
        case _:
            return None


def _internal(call: Call, message: str) -> EngineError | None:
    """What Argo's plain errors mean: they all are 500 and differ by their text."""
    if "request is too large" in message and call == "create":
        return WorkflowRejected(f"Argo rejects the workflow: {message}")
    if "no suspend nodes matching" in message:
        return GateClosed(message)
    if "node is not expecting" in message:
        return WorkflowRejected(f"Argo rejects the outputs: {message}")
    return WorkflowGone(message) if call == "get" and _means_gone(message) else None


def _means_gone(message: str) -> bool:
    """With the archive off, a get by another uid fails like this (get-workflow)."""
    return "nil pointer dereference" in message or "archived workflows not supported" in message


def _by_status(failure: Failure) -> EngineError:
    message, wait = failure.message, failure.retry_after
    match failure.status:
        case 401 | 403:
            return EngineForbidden(f"Argo refuses the bridge's credentials: {message}")
        case 400 | 413 | 422:
            return WorkflowRejected(f"Argo rejects the workflow: {message}")
        # gRPC's own limit is one of sizes, and the answer may be what was too large.
        case 429 if not message.startswith("grpc: "):
            return _limited(failure, f": {message}")
        case 501:
            return EngineUnavailable(f"Argo does not know this request: {message}")
        # The gateway could not reach the server behind it, in the same process, to ask it
        # (watch-server-restart). A connection cut later has other texts.
        case 503 if "transport: Error while dialing" in message:
            return EngineUnreached(f"Argo is starting: {message}", retry_after=wait)
        case status:
            return EngineUnavailable(f"Argo answered {status}: {message}", retry_after=wait)


def is_completed_shutdown(error: EngineError) -> bool:
    """Whether a stop failed only because the workflow has ended already (stop-terminate)."""
    return "cannot shutdown a completed workflow" in error.detail


def is_output_set(error: EngineError) -> bool:
    """Whether a set failed because an output has a value already (suspend-set-outputs)."""
    return "because it does not use valueFrom.raw or it was already set" in error.detail


def outputs_left(snapshot: Snapshot, *, node_id: str, outputs: Mapping[str, str]) -> dict[str, str]:
    """Those of *outputs* that the open gate does not have yet; outputs are write-once.

    Raises:
        GateClosed: It is not open, or somebody has supplied another value in Argo.
    """
    gate = next((gate for gate in snapshot.gates if gate.id == node_id), None)
    if gate is None:
        raise GateClosed
    left = {name for name, _ in gate.supplied}
    declared = (gate.raw.get("outputs") or {}).get("parameters") or ()
    given = {output["name"]: output.get("value") for output in declared}
    for name, value in outputs.items():
        if name not in left and given.get(name) != value:
            raise GateClosed(f"Somebody has supplied {name} in Argo, with another value.")
    return {name: value for name, value in outputs.items() if name in left}
