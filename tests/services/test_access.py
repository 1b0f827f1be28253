"""Who is let do what, with groups that only the catalog knows, and what is kept of refusals."""

from __future__ import annotations

import asyncio

import pytest

from bridge.domain.callers import Caller
from bridge.domain.commands import Verb
from bridge.domain.entities import EntityRef
from bridge.domain.errors import (
    CatalogUnavailable,
    Forbidden,
    IdempotencyKeyReused,
    InputInvalid,
    LockHeld,
    RunUnknown,
)
from bridge.ports import AuditFilter, RunFilter
from bridge.services import memberships as memberships_module
from bridge.services.control import Wish
from bridge.services.memberships import COUNTS_SECONDS, Memberships
from bridge.services.refusals import ONE_BY_ONE, WINDOW_SECONDS
from bridge.services.runs import Request
from tests.domain.making import node
from tests.services.fakes import FakeCatalog, FakeClock
from tests.services.world import Outside, World, through_backstage

ANN, BOB, EVE, MAX = (f"user:default/{name}" for name in ("ann", "bob", "eve", "max"))
TEAM = "group:default/team-a"


class Catalog(FakeCatalog):
    """A catalog that counts who is looked up, and may be slow."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.slow: asyncio.Event | None = None

    async def memberships(self, user: EntityRef) -> frozenset[str]:
        """See Catalog."""
        self.asked.append(str(user))
        if self.slow is not None:
            await self.slow.wait()
        return await super().memberships(user)


@pytest.fixture
def catalog(outside: Outside) -> Catalog:
    """Ann and Max are in team A, Bob is an admin of things, Eve is in no group."""
    made = Catalog()
    made.groups = {
        ANN: frozenset({TEAM}),
        MAX: frozenset({TEAM}),
        BOB: frozenset({"group:default/admins"}),
    }
    outside.catalog = made
    return made


@pytest.fixture
async def owned(outside: Outside, catalog: Catalog) -> World:
    """A bridge whose things belong to teams."""
    world = World(outside)
    world.define(access={"team": {"from": "input.team"}}, lock="thing/{input.name}")
    await world.start()
    return world


async def trail(world: World) -> list[tuple[str, str | None, str]]:
    """Action, user and outcome of each audit record, oldest first."""
    records = await world.store.audit_records(AuditFilter(limit=99))
    return [(r.draft.action, r.draft.user, r.draft.outcome) for r in reversed(records)]


def asking(user: str | None = ANN, **fields) -> Request:
    """A request for a thing of team A."""
    plain = {
        "action": "thing:make",
        "input": {"name": "a-thing", "team": TEAM},
        "caller": through_backstage(user),
    }
    return Request(**{**plain, **fields})


# --- whose a run is -----------------------------------------------------------------------------


@pytest.mark.parametrize("team", ["team-a", "group:team-a", TEAM, "Group:Default/Team-A"])
async def test_a_run_belongs_to_the_team_that_its_input_names(owned: World, team: str):
    """However the form writes a team, it is one team, and its members may ask for a run."""
    run = (await owned.runs.accept(asking(input={"name": "a-thing", "team": team}))).run

    assert (run.team, run.tenant) == (TEAM, "default")


async def test_nobody_asks_for_another_team(owned: World):
    """Who is no member reads whose the run would be; nothing is made, and the attempt is kept."""
    with pytest.raises(Forbidden, match=rf"{TEAM} can be asked for by its members only.*{EVE}"):
        await owned.runs.accept(asking(EVE))
    with pytest.raises(Forbidden):
        await owned.runs.preview(asking(EVE))

    assert owned.engine.called("create") == []
    assert await trail(owned) == [("run.accept", EVE, "forbidden")]
    admin = through_backstage(EVE, "thing:admin")
    assert (await owned.runs.accept(asking(caller=admin, key="k"))).run.team == TEAM


async def test_a_service_has_checked_itself(owned: World):
    """A service that speaks for nobody may ask for any team, without the catalog."""
    run = (await owned.runs.accept(asking(caller=Caller("service:ci")))).run

    assert run.team == TEAM
    assert owned.outside.catalog.asked == []


async def test_what_is_no_team_is_refused(owned: World):
    """A team that no catalog could have is told at once."""
    with pytest.raises(InputInvalid, match="is not an entity reference"):
        await owned.runs.accept(asking(input={"name": "a-thing", "team": "team a"}))


async def test_only_those_who_are_invited_ask(outside: Outside, catalog: Catalog):
    """An action for one group refuses others with the group's name, a retry of it too."""
    world = World(outside)
    world.define(access={"groups": ["team-a"]})
    await world.start()
    run = await world.failed()
    with pytest.raises(Forbidden, match="thing:make is for team-a"):
        await world.runs.accept(asking(BOB))
    catalog.groups[ANN] = frozenset()
    await world.clock.advance(COUNTS_SECONDS + 1)

    with pytest.raises(Forbidden, match="thing:make is for team-a"):
        await world.control.retry(Wish(run.id, through_backstage(ANN)), "attempt")

    assert world.run(run).superseded_by is None
    records = await world.store.audit_records(AuditFilter(run_id=run.id))
    assert (records[0].draft.action, records[0].draft.outcome) == ("run.retry", "forbidden")


# --- what others see and do ---------------------------------------------------------------------


async def test_members_of_the_team_help_out(owned: World):
    """A colleague sees, cancels and retries; ending without rollback is not theirs."""
    run = await owned.ask()
    wish = Wish(run.id, through_backstage(MAX))

    assert (await owned.runs.get(run.id, by=wish.caller)).id == run.id
    assert [r.id for r in await owned.runs.page(RunFilter(), by=wish.caller)] == [run.id]
    with pytest.raises(Forbidden, match="Terminating is for"):
        await owned.control.terminate(wish)
    assert (await owned.control.cancel(wish)).cancel_requested_by == MAX
    await owned.clock.settle()
    owned.ended(run, node("a", "HTTP", "Failed", ended=2), phase="Failed")
    await owned.finish(run)
    again = (await owned.control.retry(wish, "attempt")).run
    assert (again.user, again.team, again.attempt) == (ANN, TEAM, 2)
    assert [entry[0] for entry in await trail(owned) if entry[1] == MAX] == [
        "run.terminate",
        "run.cancel",
        "run.retry",
    ]


async def test_for_a_stranger_there_is_no_run(owned: World):
    """Not in a list, not by its id, not in a command, and in the words of a run that is none."""
    run = await owned.ask()
    eve = through_backstage(EVE)
    with pytest.raises(RunUnknown) as absent:
        await owned.runs.get("x" * 26, by=eve)
    words = absent.value.detail.replace("x" * 26, run.id)
    attempts = [
        owned.runs.get(run.id, by=eve),
        owned.runs.acknowledge(run.id, by=eve, reader="r", seq=1),
        owned.runs.acknowledged(run.id, by=eve, reader="r"),
        owned.control.cancel(Wish(run.id, eve)),
        owned.control.terminate(Wish(run.id, eve)),
        owned.control.decide(Wish(run.id, eve), Verb.APPROVE, {}),
        owned.control.retry(Wish(run.id, eve), "attempt"),
    ]

    for attempt in attempts:
        with pytest.raises(RunUnknown) as refused:
            await attempt
        assert refused.value.detail == words

    assert await owned.runs.page(RunFilter(), by=eve) == []
    assert [entry for entry in await trail(owned) if entry[1] == EVE] == [
        (f"run.{verb}", EVE, "run_unknown") for verb in ("cancel", "terminate", "approve", "retry")
    ]


async def test_a_run_in_the_way_is_named_to_who_may_see_it_only(owned: World):
    """A held lock tells a colleague of which run, and somebody else only that there is one."""
    run = await owned.ask()

    with pytest.raises(LockHeld, match=run.id) as colleague:
        await owned.runs.accept(asking(MAX))
    with pytest.raises(LockHeld) as other:
        await owned.runs.accept(asking(caller=Caller("service:ci")))
    owned.define(lock="thing/{input.name}")  # now everybody may ask, and no group is needed for it
    owned.outside.catalog.faults.append(CatalogUnavailable("away"))
    with pytest.raises(LockHeld) as unsure:
        await owned.runs.accept(asking(EVE))

    assert colleague.value.run_id == run.id
    for refused in (other, unsure):
        assert (refused.value.run_id, run.id in refused.value.detail) == (None, False)
    assert not owned.outside.catalog.faults


async def test_a_guessed_key_gives_nobody_anothers_run(owned: World):
    """Two people behind one service who use the same key stay apart."""
    await owned.ask(key="k")

    with pytest.raises(IdempotencyKeyReused, match="by somebody else"):
        await owned.runs.accept(asking(MAX, key="k", input={"name": "a-thing", "team": "team-a"}))


async def test_a_run_stays_in_the_tenant_of_who_asked(owned: World):
    """What a tenant asks for is that tenant's, with every further attempt and every record."""
    groups = frozenset({TEAM})
    here = Caller("platform:acme/max", MAX, tenant="acme", groups=groups)
    run = await owned.ask(by=here)
    owned.ended(run, node("a", "HTTP", "Failed", ended=2), phase="Failed")
    await owned.finish(run)

    again = (await owned.control.retry(Wish(run.id, here), "attempt")).run

    assert (run.tenant, again.tenant) == ("acme", "acme")
    records = await owned.store.audit_records(AuditFilter(tenant="acme"))
    assert [r.draft.action for r in records] == ["run.retry", "run.accept"]
    for elsewhere in (through_backstage(MAX), through_backstage(BOB, "platform:admin")):
        with pytest.raises(RunUnknown):
            await owned.runs.get(again.id, by=elsewhere)


async def test_when_the_session_has_ended_backstage_goes_on_alone(owned: World):
    """Following and cancelling need no user: the scaffolder asked, so the scaffolder may."""
    run = await owned.ask()
    scaffolder = through_backstage(None)

    assert (await owned.runs.acknowledge(run.id, by=scaffolder, reader="r", seq=1)) == 1
    assert (await owned.control.cancel(Wish(run.id, scaffolder))).cancelling
    assert owned.outside.catalog.asked == [ANN]


@pytest.mark.parametrize("admins", [("group:default/admins",), (BOB,)])
async def test_admins_of_the_settings(outside: Outside, catalog: Catalog, admins):
    """Whoever is listed as an admin, by a group too, may see and end everything."""
    outside.admins = admins
    world = World(outside)
    await world.start()
    run = await world.ask()
    roles = () if admins != (BOB,) else ("platform:admin",)  # users are known by their token
    bob = through_backstage(BOB, *roles)

    await world.control.terminate(Wish(run.id, bob))
    await world.access.check_audit(bob)

    assert [r.id for r in await world.runs.page(RunFilter(), by=bob)] == [run.id]
    with pytest.raises(Forbidden, match="platform:admin"):
        await world.access.check_audit(through_backstage(ANN))


# --- the catalog --------------------------------------------------------------------------------


async def test_without_the_catalog_nobody_is_let_in_by_a_group(owned: World):
    """Where groups decide and cannot be looked up, the answer is to come again."""
    run = await owned.ask()
    owned.outside.catalog.faults.extend(CatalogUnavailable("gone") for _ in range(3))

    for attempt in (
        owned.runs.get(run.id, by=through_backstage(MAX)),
        owned.runs.accept(asking(BOB)),
        owned.runs.page(RunFilter(), by=through_backstage(EVE)),
    ):
        with pytest.raises(CatalogUnavailable, match="cannot be looked up just now: gone") as later:
            await attempt
        assert later.value.retry_after

    assert (await owned.runs.get(run.id, by=through_backstage(ANN))).id == run.id
    assert [entry[0] for entry in await trail(owned)] == ["run.accept"]


async def test_groups_are_looked_up_only_where_they_could_matter(owned: World):
    """Whoever asked, another tenant and a second pair of eyes need no catalog."""
    run = await owned.ask(environment="production")
    owned.engine.show(run.workflow_name, node("approve", "Suspend"))
    await owned.clock.settle()
    owned.outside.catalog.asked.clear()

    await owned.runs.get(run.id, by=through_backstage(ANN))
    with pytest.raises(RunUnknown):
        await owned.runs.get(run.id, by=Caller("plugin:x", MAX, tenant="acme"))
    with pytest.raises(Forbidden, match="somebody else has to"):
        await owned.control.decide(Wish(run.id, through_backstage(ANN)), Verb.APPROVE, {})
    await owned.runs.page(RunFilter(), by=through_backstage(EVE, "platform:admin"))
    await owned.runs.page(RunFilter(), by=Caller("oidc:x/eve", EVE, groups=frozenset()))

    assert owned.outside.catalog.asked == []


async def test_an_answer_counts_for_a_while():
    """A busy page does not flood the catalog, and who leaves a group is out soon after."""
    catalog, clock = Catalog(), FakeClock()
    catalog.groups = {MAX: frozenset({TEAM})}
    members = Memberships(catalog=catalog, clock=clock)

    first = [await members.of(MAX) for _ in range(5)]
    catalog.groups = {}
    await clock.advance(COUNTS_SECONDS - 1)
    still = await members.of(MAX)
    await clock.advance(2)
    after = await members.of(MAX)

    assert [TEAM in groups for groups in (*first, still, after)] == [True] * 6 + [False]
    assert len(catalog.asked) == 2


async def test_a_person_is_looked_up_once_at_a_time():
    """Many requests of one person wait for one look-up, also when the first one goes away."""
    catalog = Catalog()
    catalog.slow = asyncio.Event()
    members = Memberships(catalog=catalog, clock=FakeClock())
    first, *others = [asyncio.ensure_future(members.of(MAX)) for _ in range(5)]
    another = asyncio.ensure_future(members.of(EVE))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    catalog.slow.set()

    found = await asyncio.gather(*others, another)

    assert found == [frozenset({MAX})] * 4 + [frozenset({EVE})]
    assert sorted(catalog.asked) == [EVE, MAX]


async def test_a_failed_look_up_is_told_to_all_who_wait_and_to_nobody_later():
    """The catalog's bad moment is not remembered, also when nobody waits for it any more."""
    catalog = Catalog()
    catalog.slow = asyncio.Event()
    catalog.faults.append(CatalogUnavailable("gone"))
    members = Memberships(catalog=catalog, clock=FakeClock())
    waiting = [asyncio.ensure_future(members.of(MAX)) for _ in range(3)]
    await asyncio.sleep(0)
    catalog.slow.set()

    told = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in told] == [CatalogUnavailable] * 3
    assert await members.of(MAX) == {MAX}
    assert len(catalog.asked) == 2


async def test_a_catalog_that_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch):
    """A request does not hang on a look-up."""
    monkeypatch.setattr(memberships_module, "LOOK_UP_SECONDS", 0.01)
    catalog = Catalog()
    catalog.slow = asyncio.Event()

    with pytest.raises(CatalogUnavailable, match="no answer in time"):
        await Memberships(catalog=catalog, clock=FakeClock()).of(MAX)


async def test_not_everybody_is_remembered_for_ever(monkeypatch: pytest.MonkeyPatch):
    """A portal with a million users does not fill the bridge's memory."""
    monkeypatch.setattr(memberships_module, "_REMEMBERED", 2)
    catalog = Catalog()
    members = Memberships(catalog=catalog, clock=FakeClock())

    for user in (ANN, BOB, MAX, MAX, BOB, ANN):
        await members.of(user)

    assert catalog.asked == [ANN, BOB, MAX, ANN]


# --- refused attempts ---------------------------------------------------------------------------


async def test_a_flood_of_refused_attempts_becomes_one_record(owned: World):
    """Nobody fills the trail by trying: the first attempts are told one by one, the rest summed."""
    run = await owned.ask()
    eve = Wish(run.id, Caller("backstage", EVE, groups=frozenset()))
    before = len(await trail(owned))

    async def tried(times: int) -> None:
        for _ in range(times):
            with pytest.raises(RunUnknown):
                await owned.control.cancel(eve)

    await tried(ONE_BY_ONE + 7)
    with pytest.raises(RunUnknown):
        await owned.control.cancel(Wish(run.id, Caller("backstage", BOB, groups=frozenset())))
    assert len(await trail(owned)) == before + ONE_BY_ONE + 1
    await owned.clock.advance(WINDOW_SECONDS + 1)
    (last, *_) = await owned.store.audit_records(AuditFilter(action="refusals"))
    await tried(1)

    assert (last.draft.user, last.draft.caller, dict(last.draft.data)) == (
        EVE,
        "backstage",
        {"more": 7},
    )
    assert len(await trail(owned)) == before + ONE_BY_ONE + 3
    assert not owned.run(run).cancelling
