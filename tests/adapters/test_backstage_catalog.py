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


# --- leaving the catalog ------------------------------------------------------------------------

FOUND = json_reply({"id": "7/x", "entityRef": "location:default/generated-1", **LOCATION})
DELETED = Reply(204)
BY_ENTITY = ("GET", "/api/catalog/locations/by-entity/resource/default/local")


def asked(received: list[Received]) -> list[tuple[str, str]]:
    """Methods and addresses."""
    return [(request.method, request.target) for request in received]


async def test_a_document_leaves_by_its_own_location():
    """A removed namespace vanishes from the catalog at once, and nothing else does."""
    async with catalog_for([FOUND, DELETED]) as rig:
        await rig.catalog.unregister(ENTITY)
    assert asked(rig.received) == [BY_ENTITY, ("DELETE", "/api/catalog/locations/7%2Fx")]


OTHERS = {
    "all documents": {"type": "url", "target": f"{BRIDGE}/catalog/all.yaml"},
    "another bridge": {"type": "url", "target": "http://other/catalog/resource/local.yaml"},
    "another type": {**LOCATION, "type": "file"},
    "nothing": {},
}


@pytest.mark.parametrize("location", OTHERS.values(), ids=OTHERS.keys())
async def test_a_location_of_others_stays(location: dict[str, str]):
    """What a team registered itself is never deleted, whatever it shows."""
    async with catalog_for([json_reply({"id": "7", **location}), DELETED]) as rig:
        await rig.catalog.unregister(ENTITY)
    assert asked(rig.received) == [BY_ENTITY]


@pytest.mark.parametrize("replies", [[NOT_FOUND], [FOUND, NOT_FOUND]], ids=["entity", "location"])
async def test_leaving_twice_is_fine(replies: list[Reply]):
    """A removal that was interrupted is done again without a fault."""
    async with catalog_for(replies) as rig:
        await rig.catalog.unregister(ENTITY)
    assert len(rig.received) == len(replies)


async def test_a_catalog_that_keeps_an_entity_says_why():
    """A read-only catalog is named in the run's log instead of being asked in silence."""
    refused = refusal(403, "NotAllowedError", "Service not allowed to be modified, it is readonly")
    async with catalog_for([FOUND, refused]) as rig:
        with pytest.raises(CatalogRejected, match=r"keeps resource:default/local: .* readonly"):
            await rig.catalog.unregister(ENTITY)


@pytest.mark.parametrize("reply", UNUSABLE, ids=lambda reply: f"{reply.status}-{reply.end}")
async def test_a_removal_waits_for_a_usable_answer(reply: Reply):
    """A Backstage that restarts delays a removal and loses none."""
    for replies in ([reply], [FOUND, reply]):
        async with catalog_for(replies) as rig:
            with pytest.raises(CatalogUnavailable):
                await rig.catalog.unregister(ENTITY)


# --- who is in which group ------------------------------------------------------------------------


def related(**groups: str) -> dict[str, Any]:
    """An entity with one relation of each kind; underscores separate several groups."""
    relations = [
        {"type": kind, "targetRef": f"group:default/{name}"}
        for kind, names in groups.items()
        for name in names.split("_")
    ]
    return {"relations": relations}


def entities(*items: dict[str, Any] | None) -> Reply:
    """An answer to a question for several entities."""
    return json_reply({"items": items})


ANN = EntityRef("user", "default", "Ann")


async def test_groups_are_followed_upwards():
    """Who may approve as a member of a department may sit in any team of it."""
    replies = [
        entities(related(memberOf="Web_ops", ownerOf="site", hasMember="x")),
        entities(None, related(childOf="dept", parentOf="interns", memberOf="guild")),
        entities(related(childOf="ops"), related()),
    ]
    async with catalog_for(replies) as rig:
        found = await rig.catalog.memberships(ANN)
    names = {"web", "ops", "dept", "guild"}
    assert found == {"user:default/ann", *(f"group:default/{name}" for name in names)}
    assert {r.target for r in rig.received} == {"/api/catalog/entities/by-refs"}
    assert [r.json() for r in rig.received] == [
        {"entityRefs": refs, "fields": ["relations"]}
        for refs in (
            ["user:default/ann"],
            ["group:default/ops", "group:default/web"],
            ["group:default/dept", "group:default/guild"],
        )
    ]


@pytest.mark.parametrize("item", [None, {}, {"relations": None}], ids=["unknown", "bare", "null"])
async def test_somebody_in_no_group_is_only_oneself(item: dict[str, Any] | None):
    """A user whom the catalog does not know may still be named in person."""
    async with catalog_for([entities(item)]) as rig:
        assert await rig.catalog.memberships(ANN) == {"user:default/ann"}
    assert len(rig.received) == 1


async def test_only_groups_count_as_memberships():
    """A relation to something that is no group gives nobody a right."""
    odd = [{"type": "memberOf", "targetRef": "user:default/boss"}, {"type": "memberOf"}, {}]
    async with catalog_for([entities({"relations": odd})]) as rig:
        assert await rig.catalog.memberships(ANN) == {"user:default/ann"}


async def test_endless_groups_end():
    """A hierarchy without an end costs ten questions, and no approval hangs on it."""
    replies = [entities(related(childOf=f"g{number}")) for number in range(30)]
    async with catalog_for(replies) as rig:
        assert len(await rig.catalog.memberships(ANN)) == 11
    assert len(rig.received) == 10


async def test_a_flood_of_groups_is_cut():
    """The question for the next level stays small enough for the catalog to take it."""
    many = "_".join(f"{number:063}" for number in range(3_000))
    async with catalog_for([entities(related(memberOf=many)), entities()]) as rig:
        assert len(await rig.catalog.memberships(ANN)) == 600
    assert len(rig.received[1].body) < 100_000


NO_ENTITIES = [HTML, json_reply({}), json_reply([1])]


@pytest.mark.parametrize("reply", [*UNUSABLE, *NO_ENTITIES], ids=lambda reply: str(reply.status))
async def test_nobody_is_refused_for_a_catalog_that_is_away(reply: Reply):
    """An approver reads "try again", and not that they may not, while Backstage restarts."""
    async with catalog_for([reply]) as rig:
        with pytest.raises(CatalogUnavailable):
            await rig.catalog.memberships(ANN)
