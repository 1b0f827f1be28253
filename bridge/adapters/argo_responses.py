"""Answers of the Argo Server as values: JSON objects, frames of a stream, or errors of ours.

Knows how an HTTP response is read and when a request cannot have arrived. Must not know which
address is asked for what.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from typing import Any

from bridge.adapters.argo_answers import (
    Call,
    WatchRotated,
    error_of,
    frame_failure,
    read_failure,
)
from bridge.adapters.http import NOT_SENT, HttpError, HttpResponse
from bridge.domain.errors import EngineError, EngineUnavailable, EngineUnreached
from bridge.domain.frames import LineSplitter, data_of

_MAX_BODY = 64 * 1024


async def frames_of(
    call: Call, response: HttpResponse, *, on_chunk: Callable[[], object] = lambda: None
) -> AsyncIterator[list[dict[str, Any]]]:
    """The frames of a stream, as many at a time as a chunk completes; *on_chunk* is told of each.

    Raises:
        EngineError: The answer is a refusal, or an error frame.
        EngineUnavailable: It breaks off, falls silent or cannot be read.
    """
    try:
        if response.status_code != HTTPStatus.OK:
            raise _refused(call, response, await response.aread())
        lines = LineSplitter()
        async for chunk in response.aiter_bytes():
            on_chunk()
            batch, failed = _decode(call, lines.feed(chunk))
            if batch:
                yield batch
            if failed is not None:
                raise failed
        _, failed = _decode(call, [lines.rest()])
        if failed is not None:
            raise failed
    except WatchRotated:
        return
    except ValueError as error:
        raise EngineUnavailable(f"Argo's stream cannot be read: {error}") from error
    except HttpError as error:
        raise unreachable(error) from error


def _decode(call: Call, lines: Iterable[bytes]) -> tuple[list[dict[str, Any]], Exception | None]:
    """The frames of some lines, up to the first failure."""
    batch: list[dict[str, Any]] = []
    for line in lines:
        data = data_of(line)
        if data is None:
            continue
        frame = json.loads(data)
        failure = frame_failure(frame)
        if failure is None:
            batch.append(frame)
            continue
        try:
            return batch, error_of(call, failure)
        except WatchRotated as rotated:
            return batch, rotated
    return batch, None


def _refused(call: Call, response: HttpResponse, body: bytes) -> EngineError:
    failure = read_failure(response.status_code, headers=response.headers, body=body[:_MAX_BODY])
    return error_of(call, failure)


def json_of(call: Call, response: HttpResponse) -> dict[str, Any]:
    """The object that a unary call is answered with. Raises EngineError for anything else."""
    if response.status_code != HTTPStatus.OK:
        raise _refused(call, response, response.content)
    try:
        value = json.loads(response.content)
    except ValueError as error:
        raise _refused(call, response, response.content) from error
    if not isinstance(value, dict):
        raise EngineUnavailable("Argo answered with JSON that is not an object")
    return value


def unreachable(error: HttpError) -> EngineUnavailable:
    """What a failed connection means: EngineUnreached only if nothing can have arrived."""
    reason = str(error) or type(error).__name__
    kind = EngineUnreached if isinstance(error, NOT_SENT) else EngineUnavailable
    return kind(f"Argo is not reachable ({reason})")
