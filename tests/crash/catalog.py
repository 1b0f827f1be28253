"""A Backstage catalog in miniature: locations that it reads over HTTP, entities by name.

Knows the catalog's routes and answers as measured on a real one (research/backstage, section 5;
backstage-live, section 7), remembers all that it ever showed, and can be slow or away. Must not
know runs, but for the annotation that names one.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Mood = Literal["well", "slow", "away"]
_ORIGIN = "backstage.io/managed-by-origin-location"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the catalog showed of an entity from a moment on; no run: it showed none."""

    at: float
    ref: str
    run: str | None


@dataclass(slots=True)
class FakeCatalog:
    """The catalog; *reach* gives the addresses at which the bridge may be read just now."""

    public_url: str
    reach: Callable[[], list[str]]
    rng: random.Random
    mood: Mood = "well"
    history: list[Shown] = field(default_factory=list)
    entities: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)
    _work: set[asyncio.Task[None]] = field(default_factory=set)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=2))

    def app(self) -> Starlette:
        """The routes that the bridge uses, and no others."""
        place = "{kind}/{namespace}/{name}"
        return Starlette(
            routes=[
                Route("/api/catalog/locations", self._locate, methods=["POST"]),
                Route(f"/api/catalog/locations/by-entity/{place}", self._location_of),
                Route("/api/catalog/locations/{id}", self._forget, methods=["DELETE"]),
                Route(f"/api/catalog/entities/by-name/{place}", self._entity),
            ]
        )

    async def aclose(self) -> None:
        """End what is under way."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._http.aclose()

    async def _troubled(self) -> Response | None:
        if self.mood == "slow":
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))
        if self.mood == "away":
            return _error(503, "ServiceUnavailableError", "the catalog is starting")
        return None

    async def _locate(self, request: Request) -> Response:
        """Add a location; a known one is a conflict, or read again if so asked."""
        if (trouble := await self._troubled()) is not None:
            return trouble
        target = str((await request.json())["target"])
        location = {"id": _id(target), "type": "url", "target": target}
        if request.query_params.get("dryRun") == "true":
            document = await self._read(target)
            if document is None:
                return _error(400, "InputError", f"Unable to read url {target}")
            if location["id"] in self.locations:
                return _error(409, "ConflictError", f"Location url:{target} already exists")
            return JSONResponse({"exists": False, "location": location}, status_code=201)
        known = location["id"] in self.locations
        if known and request.query_params.get("onConflict") != "refresh":
            return _error(409, "ConflictError", f"Location url:{target} already exists")
        self.locations[location["id"]] = target
        self._process(target)
        return JSONResponse({"location": location, "entities": []}, status_code=201)

    def _process(self, target: str) -> None:
        """Read a location later, as the processing loop does."""
        task = asyncio.ensure_future(self._processed(target))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _processed(self, target: str) -> None:
        await asyncio.sleep(self.rng.uniform(0.02, 0.25))
        async with self._one_at_a_time:  # or an older reading would replace a newer one
            document = await self._read(target)
            if document is not None and _id(target) in self.locations:
                self._show(target, document)

    def _show(self, target: str, document: Mapping[str, Any]) -> None:
        metadata = dict(document["metadata"])
        ref = f"{document['kind']}:default/{metadata['name']}".lower()
        annotations = {**metadata.get("annotations", {}), _ORIGIN: f"url:{target}"}
        shown = {**document, "metadata": {**metadata, "annotations": annotations}}
        if self.entities.get(ref) != shown:
            self.entities[ref] = shown
            self.history.append(Shown(time.time(), ref, annotations.get("bridge/run")))

    async def _read(self, target: str) -> Mapping[str, Any] | None:
        """The document at *target*, from whichever replica answers; None if none does."""
        path = target.removeprefix(self.public_url)
        for url in self.reach():
            try:
                answer = await self._http.get(f"{url}{path}")
            except httpx.HTTPError:
                continue
            if answer.status_code == 200:
                found: Mapping[str, Any] = yaml.safe_load(answer.content)
                return found
        return None

    async def _location_of(self, request: Request) -> Response:
        if (trouble := await self._troubled()) is not None:
            return trouble
        entity = self.entities.get(_ref(request))
        target = (entity or {}).get("metadata", {}).get("annotations", {}).get(_ORIGIN, "")
        target = target.removeprefix("url:")
        if not target:
            return _error(404, "NotFoundError", "no such entity")
        return JSONResponse({"id": _id(target), "type": "url", "target": target})

    async def _forget(self, request: Request) -> Response:
        if (trouble := await self._troubled()) is not None:
            return trouble
        target = self.locations.pop(request.path_params["id"], None)
        if target is None:
            return _error(404, "NotFoundError", "no such location")
        for ref, entity in tuple(self.entities.items()):
            if entity["metadata"]["annotations"][_ORIGIN] == f"url:{target}":
                del self.entities[ref]
                self.history.append(Shown(time.time(), ref, None))
        return Response(status_code=204)

    async def _entity(self, request: Request) -> Response:
        if (trouble := await self._troubled()) is not None:
            return trouble
        found = self.entities.get(_ref(request))
        if found is None:
            return _error(404, "NotFoundError", "no such entity")
        return JSONResponse(found)


def _id(target: str) -> str:
    return hashlib.sha1(target.encode(), usedforsecurity=False).hexdigest()


def _ref(request: Request) -> str:
    parts = request.path_params
    return f"{parts['kind']}:{parts['namespace']}/{parts['name']}".lower()


def _error(status: int, name: str, message: str) -> Response:
    return JSONResponse({"error": {"name": name, "message": message}}, status_code=status)
