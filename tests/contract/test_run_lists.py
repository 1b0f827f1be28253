"""What every run store promises of lists: what their reader may see, and nothing else."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace

import pytest

from bridge.adapters.sql_lists import page_of_runs
from bridge.adapters.sqlite import SqliteStore
from bridge.domain.audit import AuditDraft
from bridge.domain.errors import IdempotencyKeyReused
from bridge.domain.policy import Scope
from bridge.domain.runs import RunStatus
from bridge.ports import AuditFilter, Entry, RunFilter
from tests.contract.storing import ACCEPTED, LATER, accept, move, run_id
from tests.domain.making import NOW, new_run

ANN, BOB, EVE = (f"user:default/{name}" for name in ("ann", "Bob", "eve"))
A, B = "group:default/team-a", "group:default/team-b"
EVERY_WAY = Scope(
    tenant="default",
    user=ANN,
    caller="service:ci",
    teams=frozenset({A, B}),
    actions=frozenset({"x:y", "x:z"}),
    areas=frozenset({"space:"}),
)


async def listed(store, scope: Scope, **chosen) -> list[int]:
    """The numbers of the runs on a page."""
    found = await store.runs(RunFilter(scope=scope, **chosen))
    return [int(run.id[-4:]) for run in found]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope("default", everything=True), [6, 5, 4, 3, 2, 1]),
        (Scope("acme", everything=True), [7]),
        (Scope("default"), []),
        (Scope("default", user=ANN), [1]),
        (Scope("default", user="user:default/bob"), [2]),
        (Scope("default", caller="service:ci"), [3]),
        (Scope("default", teams=frozenset({A})), [5, 4]),
        (Scope("default", teams=frozenset({A, B})), [6, 5, 4]),
        (Scope("default", actions=frozenset({"space:make"})), [5]),
        (Scope("default", areas=frozenset({"space:"})), [5]),
        (Scope("default", areas=frozenset({"spac:"})), []),
        (Scope("default", user=ANN, teams=frozenset({A}), areas=frozenset({"space:"})), [5, 4, 1]),
        (Scope("acme", user=ANN, teams=frozenset({A}), caller="plugin:scaffolder"), [7]),
        (Scope("none", user=ANN, teams=frozenset({A})), []),
    ],
)
async def test_a_list_has_what_may_be_seen(store, scope, expected):
    """Each way to see a run counts, alone and together, and never beyond the tenant."""
    await accept(store, 1, user=ANN)
    await accept(store, 2, user=BOB)
    await accept(store, 3, user=None, caller="service:ci")
    await accept(store, 4, user=EVE, team=A)
    await accept(store, 5, user=EVE, team=A, action="space:make")
    await accept(store, 6, user=EVE, team=B, action="spaces:make")
    await accept(store, 7, user=ANN, team=A, tenant="acme")

    assert await listed(store, scope) == expected


async def test_pages_and_filters_hold_within_what_may_be_seen(store):
    """A page is full as long as there is more to see, and a filter widens nothing."""
    for number in range(12):
        await accept(
            store,
            number,
            user=ANN if number % 2 else EVE,
            team=A if number % 3 == 0 else None,
            action="a:a" if number < 6 else "b:b",
        )
    await move(store, await store.run(run_id(3)), RunStatus.FAILED)
    scope = Scope("default", user=ANN, teams=frozenset({A}))

    assert await listed(store, scope) == [11, 9, 7, 6, 5, 3, 1, 0]
    assert await listed(store, scope, limit=3) == [11, 9, 7]
    assert await listed(store, scope, limit=3, before=run_id(7)) == [6, 5, 3]
    assert await listed(store, scope, action="a:a") == [5, 3, 1, 0]
    assert await listed(store, scope, status=RunStatus.FAILED) == [3]
    assert await listed(store, replace(scope, user=EVE), status=RunStatus.FAILED) == [3]
    assert await listed(store, Scope("default", user=EVE), status=RunStatus.FAILED) == []


async def test_a_list_is_what_the_scope_says(store):
    """Whatever runs and scopes there are, the store's answer is the policy's."""
    chance = random.Random(5)  # noqa: S311 - draws examples
    users, teams, actions = (None, ANN, BOB, EVE), (None, A, B), ("a:make", "b:make", "b:other")
    runs = [
        await accept(
            store,
            number,
            user=chance.choice(users),
            team=chance.choice(teams),
            action=chance.choice(actions),
            caller=chance.choice(("service:ci", "backstage")),
            tenant=chance.choice(("default", "acme")),
        )
        for number in range(60)
    ]
    for _ in range(40):
        scope = Scope(
            tenant=chance.choice(("default", "acme")),
            everything=chance.random() < 0.1,
            user=chance.choice((None, ANN, "user:default/bob")),
            caller=chance.choice((None, "service:ci")),
            teams=frozenset(chance.sample((A, B), chance.randint(0, 2))),
            actions=frozenset(chance.sample(actions, chance.randint(0, 2))),
            areas=frozenset(chance.sample(("a:", "b:"), chance.randint(0, 1))),
        )
        limit, after = chance.choice((5, 100)), chance.randint(10, 60)
        may = [run for run in reversed(runs[:after]) if scope.holds(run)]

        found = await store.runs(RunFilter(scope=scope, limit=limit, before=run_id(after)))

        assert [run.id for run in found] == [run.id for run in may[:limit]]


async def test_a_page_is_read_by_indexes(tmp_path):
    """A person with two runs among a million waits no longer than one with two among ten."""
    path = tmp_path / "runs.db"
    async with SqliteStore(path):
        pass
    connection = sqlite3.connect(path)
    plans = []
    for scope in (EVERY_WAY, Scope("default", everything=True)):
        sql, values = page_of_runs(RunFilter(scope=scope, before="x"))
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
        plans += [str(row[3]) for row in rows]
    connection.close()
    used = [line.split("runs_of_")[1].split()[0] for line in plans if "runs_of_" in line]

    assert used == ["user", "caller", "team", "action", "action", "tenant"], plans
    assert [line for line in plans if line.startswith("SCAN runs")] == []


async def test_a_key_that_another_person_used_is_not_theirs(store):
    """Two people who come by the same service do not get each other's runs by a guessed key."""
    await accept(store, 1, key="same", user=ANN)

    with pytest.raises(IdempotencyKeyReused, match="by somebody else") as refused:
        await accept(store, 2, key="same", user=BOB)
    mine = await store.accept(new_run(run_id(3), key="same", user=ANN.upper()), first=ACCEPTED)
    service = await store.accept(new_run(run_id(4), key="same", user=None), first=ACCEPTED)

    assert run_id(1) not in str(refused.value)
    assert mine.replayed
    assert service.replayed
    await accept(store, 5, key="alone", user=None)
    with pytest.raises(IdempotencyKeyReused, match="by somebody else"):
        await accept(store, 6, key="alone", user=ANN)
    with pytest.raises(IdempotencyKeyReused, match="by somebody else"):
        await accept(store, 7, key="same", user=ANN, tenant="acme")


async def test_the_trail_is_kept_by_tenant(store):
    """Records of a run are its tenant's, whoever wrote them; the others are their caller's."""
    run = await accept(store, 1, tenant="acme")
    record = AuditDraft("run.cancel.settled", "bridge")
    await store.append(run.id, Entry(audit=(record,)), fence=None, now=LATER)
    await store.audit(AuditDraft("run.cancel", "c", tenant="other"), now=NOW)

    async def actions(**chosen) -> list[str]:
        records = await store.audit_records(AuditFilter(**chosen))
        return [found.draft.action for found in records]

    assert await actions(tenant="acme") == ["run.cancel.settled"]
    assert await actions(tenant="other") == ["run.cancel"]
    assert await actions(tenant="default") == []
    assert len(await actions()) == 2
