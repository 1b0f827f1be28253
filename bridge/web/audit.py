"""``GET /v1/audit``: who did what, a page at a time or as one long download.

Knows cursors and JSON lines. Must not know who writes records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from bridge.domain.audit import AuditRecord
from bridge.domain.callers import Caller
from bridge.domain.errors import RequestInvalid
from bridge.ports import AuditFilter, RunStore
from bridge.services.access import Access
from bridge.services.trail import lines_of, pages
from bridge.web.queries import text, whole_number
from bridge.web.views import audit_view

LINES = "application/x-ndjson"
_MAX_DIGITS = 18


class AuditApi:
    """The trail, newest first; nothing can be written by it."""

    def __init__(self, *, store: RunStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def show(self, request: Request) -> Response:
        """A page, or everything as JSON lines."""
        caller: Caller = request.state.caller
        await self._access.check_audit(caller)
        chosen = AuditFilter(
            tenant=caller.tenant,
            run_id=text(request, "run"),
            action=text(request, "action"),
            user=text(request, "user"),
            before=_number(text(request, "cursor")),
        )
        if LINES in request.headers.get("accept", ""):
            return await self._everything(chosen)
        return await self._page(
            chosen, limit=whole_number(request, "limit", default=50, largest=200)
        )

    async def _page(self, chosen: AuditFilter, *, limit: int) -> Response:
        found = await self._store.audit_records(replace(chosen, limit=limit + 1))
        shown = found[:limit]
        following = str(shown[-1].number) if len(found) > limit else None
        body = {"records": [audit_view(record) for record in shown], "next": following}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _everything(self, chosen: AuditFilter) -> Response:
        following = pages(self._store, chosen)
        first = await anext(following, None)  # a failure is still a problem here
        return StreamingResponse(
            _lines(first, following), media_type=LINES, headers={"Cache-Control": "no-store"}
        )


async def _lines(
    first: Sequence[AuditRecord] | None, following: AsyncIterator[Sequence[AuditRecord]]
) -> AsyncIterator[bytes]:
    yield lines_of(first or ())
    async for page in following:
        yield lines_of(page)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _MAX_DIGITS:
        raise RequestInvalid("cursor must be the one that a page gave as its next")
    return int(cursor)
