"""``GET /v1/runs/{id}/events``: a live stream, or a page of JSON.

Knows Server-Sent Events over ASGI. Must not know how events come to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from bridge.domain.frames import event_json, parse_last_event_id, retry_frame
from bridge.domain.runs import Run
from bridge.services.runs import Runs
from bridge.services.streams import Streams, Subscription
from bridge.web.limits import caller_key
from bridge.web.queries import path_text, whole_number

RETRY_MILLISECONDS = 2_000
_PAGE = 500
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventsEndpoint:
    """An ASGI endpoint, because a stream must not be wrapped in anything that buffers."""

    def __init__(self, *, runs: Runs, streams: Streams) -> None:
        self._runs = runs
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        run = await self._runs.get(path_text(request, "run_id"), by=request.state.caller)
        given = request.headers.get("last-event-id") or request.query_params.get("after")
        after = parse_last_event_id(given)
        if "text/event-stream" not in request.headers.get("accept", ""):
            answer = await self._page(run, after, request)
            await answer(scope, receive, send)
        elif run.finished and after >= run.last_seq:
            await Response(status_code=204)(scope, receive, send)
        elif request.method == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
        else:
            caller = caller_key(request.state.caller)
            reader = self._streams.subscribe(run.id, after=after, caller=caller)
            await self._stream(reader, receive, send)

    async def _page(self, run: Run, after: int, request: Request) -> Response:
        limit = whole_number(request, "limit", default=_PAGE, largest=1_000)
        events = await self._runs.events(run, after=after, limit=limit)
        last = events[-1].seq if events else after
        done = run.finished and last >= run.last_seq
        body = {"events": [event_json(e) for e in events], "lastSeq": last, "done": done}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _stream(self, reader: Subscription, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_close_when_gone(receive, reader))
        # A reader that never reads blocks `send`; cutting this task is the only way out.
        reader.on_stall = _canceller_of(asyncio.current_task())
        chunk: bytes | None = retry_frame(RETRY_MILLISECONDS)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            while chunk is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await self._streams.read(reader)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._streams.leave(reader)
            gone.cancel()


def _canceller_of(task: asyncio.Task[object] | None) -> Callable[[], object]:
    return task.cancel if task is not None else lambda: None


async def _close_when_gone(receive: Receive, reader: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close()
