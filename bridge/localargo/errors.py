"""Errors of the API as the gRPC gateway of Argo Server shows them.

Knows gRPC codes, their HTTP statuses and the two JSON shapes of an error; no route, no workflow.
"""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus
from typing import Any


class Code(IntEnum):
    """gRPC codes that Argo Server answers with."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_HTTP = {
    Code.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}


class ArgoError(Exception):
    """An answer of the API that is not a success.

    `message` is shown to the client as it is; the texts are those of Argo Server v4.1.2.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status the gateway maps the code to."""
        return _HTTP[self.code]

    def body(self) -> dict[str, Any]:
        """The body of a unary call: `{"code": 5, "message": "…"}`."""
        return {"code": int(self.code), "message": self.message}

    def frame(self) -> dict[str, Any]:
        """The frame of a stream: `{"error": {grpc_code, http_code, message, http_status}}`."""
        return {
            "error": {
                "grpc_code": int(self.code),
                "http_code": int(self.status),
                "message": self.message,
                "http_status": self.status.phrase,
            }
        }


def invalid(message: str) -> ArgoError:
    """A 400."""
    return ArgoError(Code.INVALID_ARGUMENT, message)


def internal(message: str) -> ArgoError:
    """A 500: what Argo Server answers for most mistakes in its action calls."""
    return ArgoError(Code.INTERNAL, message)


def not_found(resource: str, name: str) -> ArgoError:
    """A 404 with the text of the Kubernetes API; `resource` is the plural."""
    return ArgoError(Code.NOT_FOUND, f'{resource}.argoproj.io "{name}" not found')


def already_exists(name: str, *, generated: bool) -> ArgoError:
    """The 409 of a create whose name is taken; `generated`: a generateName was given too."""
    text = f'workflows.argoproj.io "{name}" already exists'
    if generated:
        text += ", the server was not able to generate a unique name for the object"
    return ArgoError(Code.ALREADY_EXISTS, text)


def modified(name: str) -> ArgoError:
    """The 409 of a write that met another one (argo-recordings/concurrent-requests)."""
    return ArgoError(
        Code.ALREADY_EXISTS,
        f'Operation cannot be fulfilled on workflows.argoproj.io "{name}": the object has been '
        "modified; please apply your changes to the latest version and try again",
    )


def unavailable() -> ArgoError:
    """The 503 of the gateway while its own server is not up yet.

    Plain JSON, also where a stream was asked for (argo-recordings/watch-server-restart).
    """
    return ArgoError(
        Code.UNAVAILABLE,
        'connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:2746: '
        'connect: connection refused"',
    )


def too_old(version: str, oldest: int) -> ArgoError:
    """The 400 of a watch whose resource version has left the window."""
    return invalid(f"too old resource version: {version} ({oldest})")


def end_of_watch() -> ArgoError:
    """The normal end of a watch: 8/429 "EOF" (argo-recordings/watch-idle-long)."""
    return ArgoError(Code.RESOURCE_EXHAUSTED, "EOF")
