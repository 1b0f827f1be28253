"""Entity documents for the catalog.

Knows their routes. Must not know runs.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from bridge.domain.errors import EntityUnknown
from bridge.ports import RunStore
from bridge.web.answers import tagged
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
