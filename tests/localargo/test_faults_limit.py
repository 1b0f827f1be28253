"""No answer at all once too many streams are open, as recorded (watch-250-limit)."""

from __future__ import annotations

import asyncio

from tests.localargo.reading import WORKFLOWS, put, reading, suspended, until

INFO = "/api/v1/info"
TEMPLATES = "/api/v1/workflow-templates/argo-workflows"


async def test_calls_hang_while_all_streams_are_taken(faulty):
    """Calls of the workflow service wait until a stream ends; templates and info do not."""
    await suspended(faulty, "w")
    async with reading(faulty) as stays:
        await stays.until(1)
        async with reading(faulty) as leaves:
            await leaves.until(1)
            await put(faulty, stream_limit=2)
            getting = asyncio.ensure_future(faulty.call("GET", f"{WORKFLOWS}/w"))
            await until(faulty, lambda state: state["waiting"] == 1)
            for path in (INFO, TEMPLATES, "/api/v1/version", "/faults"):
                await faulty.call("GET", path)
            assert not getting.done()
        assert (await getting)["metadata"]["name"] == "w"
        assert faulty.faults.state()["open"]["watch"] == 1


async def test_a_call_whose_client_has_gone_is_forgotten(faulty):
    """What waited when its client left is not carried out later."""
    await suspended(faulty, "w")
    await put(faulty, stream_limit=1)
    async with reading(faulty) as stream:
        await stream.until(1)
        stopping = asyncio.ensure_future(faulty.put("w", "stop"))
        watching = asyncio.ensure_future(faulty.http.get("/api/v1/workflow-events/argo-workflows"))
        await until(faulty, lambda state: state["waiting"] == 2)
        for waiting in (stopping, watching):
            waiting.cancel()
        await until(faulty, lambda state: state["waiting"] == 0)
    await faulty.call("GET", f"{WORKFLOWS}/w")
    assert [call.call for call in faulty.faults.record.calls()] == ["create"]


async def test_without_the_limit_the_waiting_go_on(faulty):
    """Taking the limit back lets everybody through."""
    await suspended(faulty, "w")
    await put(faulty, stream_limit=1)
    async with reading(faulty) as stream:
        await stream.until(1)
        getting = asyncio.ensure_future(faulty.call("GET", f"{WORKFLOWS}/w"))
        await until(faulty, lambda state: state["waiting"] == 1)
        faulty.faults.clear()
        assert (await getting)["metadata"]["name"] == "w"
