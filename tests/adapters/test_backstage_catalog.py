"""The Backstage catalog as the bridge uses it, with answers as a real backend gave them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bridge.adapters.backstage import BackstageCatalog
from bridge.adapters.http import client
from bridge.domain.entities import EntityDocument, EntityRef, cluster_document
from bridge.domain.errors import CatalogRejected, CatalogUnavailable
from tests.adapters.replay import Received, Reply, json_reply, replay

BRIDGE = "http://127.0.0.1:7007"
ENTITY: EntityDocument = cluster_document("local", owner="group:default/platform")
LOCATION = {"type": "url", "target": f"{BRIDGE}/catalog/resource/local.yaml"}
CREATED = json_reply({"location": {"id": "1", **LOCATION}, "entities": []}, status=201)
HTML = Reply(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")


def refusal(status: int, name: str, message: str) -> Reply:
    """An error in the shape of a Backstage backend."""
    return json_reply({"error": {"name": name, "message": message}}, status=status)


KNOWN = refusal(409, "ConflictError", f"Location url:{LOCATION['target']} already exists")
NOT_FOUND = refusal(404, "NotFoundError", "No entity named 'local' found")


@dataclass(frozen=True, slots=True)
class Rig:
    """A catalog client and what its server received."""

    catalog: BackstageCatalog
    received: list[Received]


@asynccontextmanager
async def catalog_for(
    replies: Iterable[Reply], *, bearer: str | None = "t0ken", patience: float = 10.0
) -> AsyncIterator[Rig]:
    """A catalog client for a server that plays *replies*."""
    async with (
        replay(replies) as server,
        client(server.url, timeout=patience, connections=2, verify=False) as http,
    ):
        catalog = BackstageCatalog(http=http, token=lambda: bearer, public_url=f"{BRIDGE}/")
        yield Rig(catalog, server.received)


async def test_a_document_is_tried_before_it_is_registered():
    """A location that nobody could read is refused at once instead of vanishing silently."""
    async with catalog_for([CREATED]) as rig:
        await rig.catalog.register(ENTITY)
    assert [(r.method, r.target) for r in rig.received] == [
        ("POST", "/api/catalog/locations?dryRun=true"),
        ("POST", "/api/catalog/locations?onConflict=refresh"),
    ]
    assert [r.json() for r in rig.received] == [LOCATION, LOCATION]
    assert {r.headers["authorization"] for r in rig.received} == {"Bearer t0ken"}


async def test_a_known_document_is_read_again():
    """A second run on the same namespace shows its new state, not a conflict."""
    async with catalog_for([KNOWN, CREATED]) as rig:
        await rig.catalog.register(ENTITY)
    assert rig.received[-1].target == "/api/catalog/locations?onConflict=refresh"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            refusal(
                400,
                "InputError",
                f"Reading from '{BRIDGE}' is not allowed. You may need to configure an "
                "integration for the target host, or add it to the configured list of allowed "
                "hosts at 'backend.reading.allow'",
            ),
            "backend.reading.allow",
        ),
        (refusal(400, "InputError", "Unable to read url,\n no matching files"), "url, no matching"),
        (refusal(403, "NotAllowedError", "Unauthorized"), "Unauthorized"),
        (refusal(403, "NotAllowedError", ""), "refuses resource:default/local"),
    ],
)
async def test_a_refusal_says_what_to_configure(reply: Reply, sentence: str):
    """The platform team reads the catalog's own reason in the run's log, on one line."""
    async with catalog_for([reply]) as rig:
        with pytest.raises(CatalogRejected) as caught:
            await rig.catalog.register(ENTITY)
    assert sentence in caught.value.detail
    assert "\n" not in caught.value.detail
    assert len(rig.received) == 1


async def test_an_endless_reason_is_cut():
    """A backend that answers with a novel does not flood the run's log."""
    async with catalog_for([refusal(400, "InputError", "x" * 5_000)]) as rig:
        with pytest.raises(CatalogRejected) as caught:
            await rig.catalog.register(ENTITY)
    assert len(caught.value.detail) < 400


UNUSABLE = [
    refusal(401, "AuthenticationError", "Illegal token"),
    refusal(429, "Error", "Too many requests"),
    refusal(503, "ServiceUnavailableError", "Service has not started up yet"),
    Reply(502, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>"),
    Reply(302, {"Location": "https://login.example/"}),
    Reply(200, chunks=(b'{"kind"',), end="cut"),
]


@pytest.mark.parametrize("reply", UNUSABLE, ids=lambda reply: f"{reply.status}-{reply.end}")
async def test_an_unusable_answer_is_tried_again(reply: Reply):
    """A Backstage that restarts or rotates its token delays a registration and loses none."""
    async with catalog_for([reply]) as rig:
        with pytest.raises(CatalogUnavailable):
            await rig.catalog.register(ENTITY)
        with pytest.raises(CatalogUnavailable):
            await rig.catalog.entity(ENTITY.ref)


async def test_a_backstage_that_hangs_is_unavailable():
    """No registration waits for ever for an answer."""
    async with catalog_for([Reply(end="silence")], patience=0.2) as rig:
        with pytest.raises(CatalogUnavailable, match="not reachable"):
            await rig.catalog.entity(ENTITY.ref)


async def test_an_entity_is_asked_for_by_its_reference():
    """Names with odd characters ask for that entity and for nothing else."""
    shown: dict[str, Any] = {"kind": "Resource", "metadata": {"name": "local"}}
    async with catalog_for([json_reply(shown)], bearer=None) as rig:
        found = await rig.catalog.entity(EntityRef("resource", "default", "a/b c"))
    assert found == shown
    assert rig.received[0].target == "/api/catalog/entities/by-name/resource/default/a%2Fb%20c"
    assert "authorization" not in rig.received[0].headers


async def test_an_entity_that_is_not_there_yet_is_none():
    """The second between registration and processing is waited for, not taken for a fault."""
    async with catalog_for([NOT_FOUND]) as rig:
        assert await rig.catalog.entity(ENTITY.ref) is None


@pytest.mark.parametrize("reply", [HTML, json_reply([1])], ids=["html", "list"])
async def test_a_page_in_place_of_an_entity_is_unavailable(reply: Reply):
    """A login page is not mistaken for a namespace in the catalog."""
    async with catalog_for([reply]) as rig:
        with pytest.raises(CatalogUnavailable, match="no entity"):
            await rig.catalog.entity(ENTITY.ref)


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        (f"url:{BRIDGE}/catalog/resource/local.yaml", True),
        (f"url:{BRIDGE}/catalog/all.yaml", True),
        ("url:http://127.0.0.1:70070/catalog/all.yaml", False),
        (f"url:{BRIDGE}.evil.example/catalog/x.yaml", False),
        ("url:https://git.example/catalog-info.yaml", False),
        (None, False),
    ],
)
async def test_only_the_bridges_own_entities_are_its_own(origin: str | None, ours: bool):
    """An entity that a team wrote by hand is never overwritten by a run."""
    name = "backstage.io/managed-by-origin-location"
    annotations = {} if origin is None else {name: origin}
    async with catalog_for([CREATED]) as rig:
        assert rig.catalog.owns({"metadata": {"annotations": annotations}}) is ours
        assert rig.catalog.owns({}) is False
