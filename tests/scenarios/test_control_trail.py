"""What was asked is kept: it outlives the bridge, and the trail is only ever added to."""

from __future__ import annotations

from tests.scenarios.argo import until
from tests.scenarios.making import waiting
from tests.scenarios.stage import AUDITOR, Stage, open_stage


async def test_a_command_outlives_the_bridge(kept, argo):
    """An approval that was accepted is carried out by whoever has the run after a restart."""
    async with open_stage(kept, argo=argo) as stage:
        run = await waiting(stage)
        argo.faults.put({"unary": [{"route": "set", "fault": "cut-before"}]})
        await stage.act(run, "approve", by="approver", reason="as agreed")
        await until(lambda: argo.faults.state()["applied"]["unary"][0] > 1)
    argo.faults.clear()

    async with open_stage(kept, argo=argo) as stage:
        reader = stage.asked(await stage.run(run)).reader
        assert (await reader.end())["status"] == "succeeded"
        trail = await stage.trail(run)
    assert argo.calls(run.workflow) == ["create", "set"]
    assert [record[0] for record in trail] == ["run.accept", "run.approve", "run.approve.settled"]


async def test_the_trail_is_append_only(stage: Stage):
    """No route changes or removes a record; every record keeps its number, time and words."""
    run = await waiting(stage)
    before = (await stage.http.get("/v1/audit", headers=AUDITOR)).json()["records"]

    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/v1/audit", f"/v1/audit/{before[0]['number']}"):
            answer = await stage.http.request(method, path, json={}, headers=AUDITOR)
            assert answer.status_code in {404, 405}
    await stage.act(run, "cancel")
    await run.reader.end()

    after = (await stage.http.get("/v1/audit", headers=AUDITOR)).json()["records"]
    assert after[-len(before) :] == before
    assert len(after) > len(before)
    numbers = [record["number"] for record in after]
    assert numbers == sorted(numbers, reverse=True)
