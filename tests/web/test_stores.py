"""The same answers whatever the store is: one story over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from bridge.ports import RunStore
from tests.web.making import ADMIN, APPROVER, GUARDED, bridge_for, settings_for, until

REASON = "wie besprochen: {größer} 🎉"


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunStore]:
    """Each store that outlives a process, open and empty."""
    if request.param == "sqlite":
        async with SqliteStore(tmp_path / "runs.db") as opened:
            yield opened
    else:
        async with PostgresStore(request.getfixturevalue("postgres_dsn")) as opened:
            yield opened


async def test_a_run_is_approved_ended_and_tried_again(store: RunStore):
    """What a caller sees of commands, cursors and the audit trail does not depend on the store."""
    async with bridge_for(settings_for(actions=GUARDED), store=store) as rig:
        run = await rig.waiting()
        here = f"/v1/runs/{run.id}"
        reader = f"{here}/readers/task%2F1:create"
        rig.engine.decided.set()
        sent = {"json": {"reason": REASON, "inputs": {"size": "large"}}, "headers": APPROVER}
        await rig.http.post(f"{here}/approve", **sent)

        async def settled() -> bool:
            (command,) = (await rig.http.get(here)).json()["commands"]
            return command["outcome"] is not None

        await until(settled)
        again = await rig.http.post(f"{here}/approve", **sent)
        cursors = [
            (await rig.http.put(reader, json={"seq": seq})).json()["seq"] for seq in (2, 3, 1)
        ]
        others = (await rig.http.get(reader, headers=APPROVER)).json()["seq"]
        await rig.end(run.id)
        retried = await rig.http.post(f"{here}/retry", json={"reason": REASON})
        shown = (await rig.http.get(here)).json()
        held = await rig.http.post(
            "/v1/runs", json={"action": "thing:make", "input": {"name": "one"}}
        )
        query = {"run": run.id, "limit": "2"}
        first = (await rig.http.get("/v1/audit", params=query, headers=ADMIN)).json()
        query["cursor"] = first["next"]
        rest = (await rig.http.get("/v1/audit", params=query, headers=ADMIN)).json()
    assert (again.status_code, retried.status_code) == (200, 202)
    assert rig.engine.supplied == {"size": "large"}
    assert (cursors, others) == ([2, 3, 3], 0)
    (command,) = shown["commands"]
    assert (command["reason"], command["outcome"]) == (REASON, "done")
    assert shown["supersededBy"] == retried.json()["id"] == held.json()["run"]
    assert shown["lock"] == {"key": "thing/one", "held": False}
    records = first["records"] + rest["records"]
    actions = [record["action"] for record in records]
    assert actions == ["run.approve.settled", "run.approve", "run.accept"]
    assert records[1]["reason"] == REASON
    assert (len(first["records"]), rest["next"]) == (2, None)
