"""The Backstage catalog.

Knows the catalog's REST API as measured (research/backstage, section 5; backstage-live, section 7).
Must not know runs, nor when to register.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from bridge.adapters.http import (
    HttpClient,
    HttpError,
    HttpResponse,
    Token,
    authorization,
)
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import CatalogRejected, CatalogUnavailable

_ORIGIN = "backstage.io/managed-by-origin-location"
_UPWARDS = frozenset({"memberOf", "childOf"})
"""Relations from a user or group to the groups above it."""
_MOST_LEVELS = 10
_MOST_MEMBERSHIPS = 600
"""So many references of full length fit into the 100 kB that the catalog takes as a body."""


class BackstageCatalog:
    """A Catalog that registers one Location per document, served at our own public address."""

    def __init__(self, *, http: HttpClient, token: Token, public_url: str) -> None:
        self._http = http
        self._token = token
        self._public_url = public_url.rstrip("/")

    async def register(self, entity: EntityDocument) -> None:
        """See Catalog.

        A dry run first, because the real call answers 201 even for a target that cannot be read
        (backstage-live, section 7). ``onConflict=refresh`` makes a known location read again.
        """
        location = self._location(entity)
        await self._post("/api/catalog/locations?dryRun=true", location, entity)
        await self._post("/api/catalog/locations?onConflict=refresh", location, entity)

    async def _post(self, path: str, body: Mapping[str, Any], entity: EntityDocument) -> None:
        response = await self._send("POST", path, body)
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
            raise CatalogRejected(f"The catalog refuses {entity.ref}: {_reason(response)}")
        if response.status_code == HTTPStatus.CONFLICT:
            return  # a dry run of a location that is known already
        _expect_success(response)

    async def unregister(self, entity: EntityDocument) -> None:
        """See Catalog.

        Only a location whose target is exactly this document goes: others may stand for more
        than the entity, and do when somebody registered ``/catalog/all.yaml``.

        Raises:
            CatalogRejected: The catalog does not let the bridge delete it.
        """
        found = await self._found(f"/api/catalog/locations/by-entity/{_path(entity.ref)}")
        if found is None or not _is_at(found, self._location(entity)):
            return
        path = f"/api/catalog/locations/{quote(str(found.get('id')), safe='')}"
        response = await self._send("DELETE", path, None)
        if response.status_code == HTTPStatus.FORBIDDEN:
            raise CatalogRejected(f"The catalog keeps {entity.ref}: {_reason(response)}")
        if response.status_code != HTTPStatus.NOT_FOUND:
            _expect_success(response)

    def _location(self, entity: EntityDocument) -> dict[str, str]:
        return {"type": "url", "target": f"{self._public_url}{entity.path}"}

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """See Catalog."""
        return await self._found(f"/api/catalog/entities/by-name/{_path(ref)}")

    async def _found(self, path: str) -> dict[str, Any] | None:
        response = await self._send("GET", path, None)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        _expect_success(response)
        value = _object(response)
        if value is None:
            raise CatalogUnavailable("The catalog answered with something that is no entity")
        return value

    async def memberships(self, user: EntityRef) -> frozenset[str]:
        """See Catalog: one request for each level of groups, all references in lower case."""
        level = {str(user).lower()}
        found = set(level)
        for _ in range(_MOST_LEVELS):
            above = sorted(await self._groups_above(sorted(level)) - found)
            level = set(above[: _MOST_MEMBERSHIPS - len(found)])
            if not level:
                break
            found |= level
        return frozenset(found)

    async def _groups_above(self, entities: Iterable[str]) -> set[str]:
        """The groups that these entities are directly in; unknown entities are in none."""
        body = {"entityRefs": list(entities), "fields": ["relations"]}
        response = await self._send("POST", "/api/catalog/entities/by-refs", body)
        _expect_success(response)
        items = (_object(response) or {}).get("items")
        if not isinstance(items, list):
            raise CatalogUnavailable("The catalog answered with something that is no entities")
        relations = (each for item in items if item for each in item.get("relations") or ())
        refs = (str(each.get("targetRef")) for each in relations if each.get("type") in _UPWARDS)
        return {ref.lower() for ref in refs if ref.lower().startswith("group:")}

    def owns(self, document: Mapping[str, Any]) -> bool:
        """See Catalog: the origin location tells where an entity came from."""
        annotations = (document.get("metadata") or {}).get("annotations") or {}
        origin = str(annotations.get(_ORIGIN, ""))
        return origin.startswith(f"url:{self._public_url}/catalog/")

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> HttpResponse:
        headers = authorization(self._token)
        try:
            return await self._http.request(method, path, json=body, headers=headers)
        except HttpError as error:
            reason = str(error) or type(error).__name__
            raise CatalogUnavailable(
                f"The Backstage catalog is not reachable ({reason})"
            ) from error


def _path(ref: EntityRef) -> str:
    return "/".join(quote(part, safe="") for part in (ref.kind, ref.namespace, ref.name))


def _is_at(found: Mapping[str, Any], location: Mapping[str, str]) -> bool:
    return {key: found.get(key) for key in location} == location


def _expect_success(response: HttpResponse) -> None:
    if not response.is_success:
        raise CatalogUnavailable(
            f"The catalog answered {response.status_code}: {_reason(response)}"
        )


def _object(response: HttpResponse) -> dict[str, Any] | None:
    try:
        value = json.loads(response.content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _reason(response: HttpResponse) -> str:
    error = (_object(response) or {}).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return " ".join(str(message or response.reason_phrase).split())[:300]
