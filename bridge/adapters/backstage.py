"""The Backstage catalog, and the keys that its tokens are signed with.

Knows the catalog's REST API as measured (research/backstage, section 5; backstage-live, section 7).
Must not know runs, nor when to register.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import quote

from bridge.adapters.http import (
    HttpClient,
    HttpError,
    HttpResponse,
    InvalidUrl,
    Token,
    authorization,
)
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import CatalogRejected, CatalogUnavailable, IssuerUnavailable
from bridge.ports import Clock

_ORIGIN = "backstage.io/managed-by-origin-location"
_MAX_KEYS_BYTES = 256 * 1024


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
        location = {"type": "url", "target": f"{self._public_url}{entity.path}"}
        await self._post("/api/catalog/locations?dryRun=true", location, entity)
        await self._post("/api/catalog/locations?onConflict=refresh", location, entity)

    async def _post(self, path: str, body: Mapping[str, Any], entity: EntityDocument) -> None:
        response = await self._send("POST", path, body)
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
            raise CatalogRejected(f"The catalog refuses {entity.ref}: {_reason(response)}")
        if response.status_code == HTTPStatus.CONFLICT:
            return  # a dry run of a location that is known already
        if not response.is_success:
            raise CatalogUnavailable(
                f"The catalog answered {response.status_code}: {_reason(response)}"
            )

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """See Catalog."""
        parts = (quote(part, safe="") for part in (ref.kind, ref.namespace, ref.name))
        path = f"/api/catalog/entities/by-name/{'/'.join(parts)}"
        response = await self._send("GET", path, None)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not response.is_success:
            raise CatalogUnavailable(
                f"The catalog answered {response.status_code}: {_reason(response)}"
            )
        value = _object(response)
        if value is None:
            raise CatalogUnavailable("The catalog answered with something that is no entity")
        return value

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


class BackstageKeys:
    """JSON Web Key Sets of Backstage plugins: cached, refetched with a cool-down.

    Plugin keys change at each Backstage start, so an unknown key id asks again, but a flood of
    unknown ids must not become a flood of requests: until the cool-down is over nothing is said
    of an unknown id, neither yes nor no. Last good keys outlive a failed fetch, which is tried
    again soon, because a starting Backstage asks before it can be asked.
    """

    def __init__(
        self,
        *,
        http: HttpClient,
        clock: Clock,
        cool_down: float = 5.0,
        failed_cool_down: float = 1.0,
    ) -> None:
        self._http = http
        self._clock = clock
        self._cool_down = cool_down
        self._failed_cool_down = failed_cool_down
        self._sets: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._not_before: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """The JWK with this id from the set at *path* of the Backstage backend, or None.

        Raises:
            IssuerUnavailable: The set could not be fetched, or not again so soon.
        """
        async with self._lock:
            found = self._sets.get(path, {}).get(kid)
            now = self._clock.monotonic()
            if found is not None:
                return found
            wait = self._not_before.get(path, now) - now
            if wait <= 0 and await self._fetch(path):
                self._not_before[path] = now + self._cool_down
                return self._sets[path].get(kid)
            if wait <= 0:
                wait = self._failed_cool_down
                self._not_before[path] = now + wait
        raise IssuerUnavailable(
            "The token's key is not known, and Backstage's keys cannot be read just now.",
            retry_after=ceil(wait),
        )

    async def _fetch(self, path: str) -> bool:
        try:
            response = await self._http.get(path)
        except (HttpError, InvalidUrl):
            return False
        if not response.is_success or len(response.content) > _MAX_KEYS_BYTES:
            return False
        keys = (_object(response) or {}).get("keys")
        if not isinstance(keys, list):
            return False
        self._sets[path] = {
            str(key["kid"]): key for key in keys if isinstance(key, dict) and "kid" in key
        }
        return True
