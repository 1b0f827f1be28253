"""What is done to open streams and to workflows at once."""

from __future__ import annotations

import pytest

from bridge.localargo.errors import ArgoError
from tests.localargo.reading import EVENTS, FOLLOW, LOG, SMALL, put, reading, suspended, until


async def now(argo, **deed):
    """One thing, at once; how many it reached."""
    return (await argo.call("POST", "/faults/now", deed))["applied"]


async def test_rotate_now(faulty):
    """Every open watch ends with 8/429 EOF, and later ones do not."""
    await suspended(faulty, "w")
    async with reading(faulty) as one, reading(faulty) as two:
        await one.until(1)
        await two.until(1)
        assert await now(faulty, do="rotate") == 2
        for stream in (one, two):
            await stream.rest()
            assert stream.raw.endswith(b'"message":"EOF"}} \n\n')
    async with reading(faulty) as stream:
        await stream.until(1)
    assert faulty.faults.state()["applied"]["now"] == {"rotate": 2}


async def test_expire_now_forgets_the_past(quick):
    """Open watches end as too old, older versions are refused, the present one is not."""
    await suspended(quick, "w")
    version = quick.engine.log.version
    old = f"{EVENTS}?listOptions.resourceVersion={version - 1}"
    async with quick.http.stream("GET", old) as answer:
        assert answer.status_code == 200
    async with reading(quick) as stream:
        await stream.until(1)
        assert await now(quick, do="expire") == 1
        await stream.rest()
    assert f"too old resource version: {version} ({version})".encode() in stream.raw
    answer = await quick.http.get(old)
    assert answer.status_code == 400
    text = f"too old resource version: {version - 1} ({version})"
    assert answer.json()["error"]["message"] == text
    async with reading(quick, f"{SMALL}&listOptions.resourceVersion={version}") as stream:
        quick.engine.touch("w")
        await stream.until(1)


async def test_what_was_forgotten_stays_so(argo_server):
    """Later events do not bring back the versions that `expire` has made too old."""
    async with argo_server(faults=True, event_window=2) as argo:
        await suspended(argo, "w")
        version = argo.engine.log.version
        await now(argo, do="expire")
        argo.engine.touch("w")
        query = f"listOptions.resourceVersion={version - 1}"
        assert (await argo.http.get(f"{EVENTS}?{query}")).status_code == 400


async def test_cut_now_by_route(quick):
    """Only streams of the route are cut, without an end."""
    await suspended(quick, "w")
    async with reading(quick) as watch, reading(quick, FOLLOW, path=LOG) as log:
        await watch.until(1)
        assert await now(quick, do="cut", route="log") == 1
        assert await log.cut() == []
        quick.engine.touch("w")
        await watch.until(2)
        assert await now(quick, do="cut") == 1
        await watch.cut()


async def test_silence_now(faulty):
    """Open watches show nothing any more, though they stay open."""
    await suspended(faulty, "w")
    async with reading(faulty) as silent:
        await silent.until(1)
        assert await now(faulty, do="silent", route="watch") == 1
        async with reading(faulty) as other:
            await other.until(1)
            faulty.engine.touch("w")
            await other.until(2)
            assert faulty.faults.state()["open"]["watch"] == 2
            assert len(silent.frames()) == 1
    await until(faulty, lambda state: state["open"]["watch"] == 0)


async def test_logs_end_now(quick):
    """A followed log ends cleanly, though its workflow goes on."""
    await suspended(quick, "w")
    async with reading(quick, FOLLOW, path=LOG) as log:
        assert await now(quick, do="end") == 1
        assert await log.rest() == []
    assert quick.engine.get("w").phase == "Running"


@pytest.mark.parametrize(("do", "behind"), [("replay", 1), ("duplicate", 0)])
async def test_old_states_are_sent_now(faulty, do, behind):
    """The state of every workflow, or the one before, arrives once more as MODIFIED."""
    await suspended(faulty, "w")
    faulty.engine.touch("w")
    latest = faulty.engine.log.version
    query = f"{SMALL},result.object.metadata.resourceVersion"
    async with reading(faulty, query) as stream:
        await stream.until(1)
        assert await now(faulty, do=do) == 1
        frame = (await stream.until(2))[1]["result"]
    assert frame["type"] == "MODIFIED"
    assert int(frame["object"]["metadata"]["resourceVersion"]) == latest - behind


async def test_old_states_are_sent_to_watches_of_their_namespace(quick):
    """A watch of another namespace, which is empty, stays silent."""
    await suspended(quick, "w")
    elsewhere = EVENTS.replace("argo-workflows", "elsewhere")
    async with reading(quick, path=elsewhere) as other, reading(quick) as stream:
        await stream.until(1)
        assert await now(quick, do="duplicate") == 1
        await stream.until(2)
        assert await now(quick, do="rotate") == 2
        assert [frame for frame in await other.rest() if "result" in frame] == []


async def test_delete_now(faulty):
    """A workflow is deleted as by a TTL; the record has no call of it."""
    await suspended(faulty, "w")
    async with reading(faulty) as stream:
        await stream.until(1)
        assert await now(faulty, do="delete", name="w") == 1
        await stream.until(2)
        assert stream.shown()[1] == ("DELETED", "Running")
    refusal = await faulty.refused("POST", "/faults/now", {"do": "delete", "name": "w"})
    assert refusal == (404, 5, 'workflows.argoproj.io "w" not found')
    with pytest.raises(ArgoError):
        faulty.faults.now({"do": "delete"})
    assert [call.call for call in faulty.faults.record.calls()] == ["create"]


async def test_delete_and_lose_what_has_ended(faulty):
    """Of what has ended first the logs go, then the workflows; what runs stays."""
    await faulty.create("always-fails", "w")
    await faulty.end("w")
    await suspended(faulty, "runs")
    assert (await faulty.http.get(f"{LOG}?{FOLLOW}")).content
    assert await now(faulty, do="lose-logs") == 1
    answer = await faulty.http.get(f"{LOG}?{FOLLOW}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert await now(faulty, do="delete-ended") == 1
    assert [workflow.name for workflow in faulty.engine.workflows()] == ["runs"]


async def test_a_stream_keeps_the_faults_it_began_with(faulty):
    """New faults are for new streams."""
    await suspended(faulty, "w")
    async with reading(faulty) as stream:
        await stream.until(1)
        await put(faulty, streams=[{"fault": "cut", "events": 1}])
        faulty.engine.touch("w")
        await stream.until(2)
