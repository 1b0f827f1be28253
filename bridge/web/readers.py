"""``/v1/runs/{id}/readers/{reader}``: how far somebody has dealt with a run's events.

Knows that a reader belongs to the service that names it. Must not know what a reader does with
what it reads.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.domain.callers import Caller
from bridge.domain.errors import RequestInvalid
from bridge.domain.json_text import BodyLimits
from bridge.services.runs import Runs
from bridge.web.answers import read_body
from bridge.web.bodies import ReaderBody
from bridge.web.models import ReaderView
from bridge.web.queries import path_text

MAX_READER = 200


class ReadersApi:
    """Cursors that outlive both ends of a stream."""

    def __init__(self, *, runs: Runs, max_body: BodyLimits) -> None:
        self._runs = runs
        self._max_body = max_body

    async def put(self, request: Request) -> Response:
        """Remember; a cursor never goes back."""
        run_id, reader = path_text(request, "run_id"), _reader(request)
        body = await read_body(request, ReaderBody, limit=self._max_body)
        caller: Caller = request.state.caller
        seq = await self._runs.acknowledge(
            run_id, by=caller, reader=_kept(caller, reader), seq=body.seq
        )
        return _answer(reader, seq)

    async def get(self, request: Request) -> Response:
        """Tell."""
        run_id, reader = path_text(request, "run_id"), _reader(request)
        caller: Caller = request.state.caller
        seq = await self._runs.acknowledged(run_id, by=caller, reader=_kept(caller, reader))
        return _answer(reader, seq)


def _reader(request: Request) -> str:
    reader = str(request.path_params["reader"])
    if not 0 < len(reader) <= MAX_READER or not reader.isascii() or not reader.isprintable():
        raise RequestInvalid(f"A reader's name is 1 to {MAX_READER} printable ASCII characters")
    return reader


def _kept(caller: Caller, reader: str) -> str:
    """The name in the store: no reader has a tab, so no other service can make the same one."""
    return f"{caller.subject}\t{reader}"


def _answer(reader: str, seq: int) -> Response:
    view = ReaderView(reader=reader, seq=seq)
    return JSONResponse(view.model_dump(by_alias=True), headers={"Cache-Control": "no-store"})
