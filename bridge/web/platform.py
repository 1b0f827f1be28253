"""Entity documents for the catalog, and the Platform API's callback for workflows.

Knows their routes. Must not know runs.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.domain.errors import EntityUnknown
from bridge.ports import Clock, RunStore
from bridge.web.answers import read_body, tagged
from bridge.web.bodies import NamespaceRecord
from bridge.web.models import NamespacePage
from bridge.web.queries import path_text

YAML = "application/yaml"


class CatalogApi:
    """``/catalog/*.yaml``; needs no token, because the catalog reads it without one."""

    def __init__(self, *, store: RunStore) -> None:
        self._store = store

    async def every(self, request: Request) -> Response:
        """All documents in one, for a static location."""
        entities = await self._store.entities()
        text = "---\n".join(entity.to_yaml() for entity in entities)
        return tagged(request, text, media_type=YAML)

    async def one(self, request: Request) -> Response:
        """One document."""
        file = path_text(request, "file")
        if not file.endswith(".yaml"):
            raise EntityUnknown(f"The bridge has no document {file!r}.")
        entity = await self._store.entity(
            kind=path_text(request, "kind").lower(), name=file.removesuffix(".yaml")
        )
        return tagged(request, entity.to_yaml(), media_type=YAML)


class PlatformApi:
    """``/api/v1/namespaces``: what a workflow reports when a namespace is ready."""

    def __init__(self, *, store: RunStore, clock: Clock, max_body: int) -> None:
        self._store = store
        self._clock = clock
        self._max_body = max_body

    async def report(self, request: Request) -> Response:
        """Insert or replace a record; a retried report is harmless."""
        record = await read_body(request, NamespaceRecord, limit=self._max_body)
        body = record.model_dump(by_alias=True)
        await self._store.put_namespace(record.name, record=body, now=self._clock.now())
        return JSONResponse(body)

    async def every(self, request: Request) -> Response:
        """All records."""
        del request
        page = NamespacePage.model_validate({"namespaces": await self._store.namespaces()})
        return JSONResponse(page.model_dump(by_alias=True))
