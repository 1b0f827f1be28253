"""Faults of watches and logs: how they end, stall and repeat themselves."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.localargo.reading import (
    EVENTS,
    FOLLOW,
    LOG,
    SMALL,
    SSE,
    WORKFLOWS,
    put,
    reading,
    recorded,
    suspended,
    until,
)

END = recorded("watch-idle-long", status=200)["chunks"][-1].encode()
TOO_OLD = recorded("watch-resourceversion", status=400)["chunks"][0]


async def test_rotate_after_events_is_as_recorded(faulty):
    """After so many events the stream ends cleanly with 8/429 EOF."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "rotate", "events": 2}])
    async with reading(faulty, "") as stream:
        await stream.until(1)
        faulty.engine.touch("w")
        frames = await stream.rest()
    assert stream.answer.status_code == 200
    assert [next(iter(frame)) for frame in frames] == ["result", "result", "error"]
    assert stream.raw.endswith(b"\n" + END)


@pytest.mark.parametrize("when", [{}, {"events": 0}, {"seconds": 0.05}])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_rotate_before_anything_is_http_429(faulty, when, accept):
    """A watch that has sent nothing when it is rotated answers HTTP 429 with the frame."""
    real = recorded("watch-idle-long", status=429)["chunks"][0].encode()
    await put(faulty, streams=[{"fault": "rotate", **when}])
    answer = await faulty.http.get(EVENTS, headers={"Accept": accept})
    assert answer.status_code == 429
    assert answer.content == (END if accept == "text/event-stream" else real)
    assert answer.headers["content-type"] == accept


async def test_fields_blank_the_frame_of_a_rotation(faulty):
    """Without `error` among the fields the end arrives as an empty object."""
    await put(faulty, streams=[{"fault": "rotate"}])
    answer = await faulty.http.get(f"{EVENTS}?fields=result.type", headers=SSE)
    assert (answer.status_code, answer.text) == (429, "data: {} \n\n")


async def test_expire_refuses_a_version(faulty):
    """A watch from a version is refused as recorded; one without a version is not."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "expire"}])
    answer = await faulty.http.get(f"{EVENTS}?listOptions.resourceVersion=1001", headers=SSE)
    latest = faulty.engine.log.version
    assert answer.status_code == 400
    assert answer.text == TOO_OLD.replace("1 (8831)", f"1001 ({latest})")
    async with reading(faulty) as stream:
        await stream.until(1)
    assert faulty.faults.state()["applied"]["streams"] == [1]


async def test_expire_ends_a_watch_in_its_middle(faulty):
    """With a count of events the same error comes as a frame of the stream."""
    await suspended(faulty, "w")
    version = faulty.engine.log.version
    await put(faulty, streams=[{"fault": "expire", "events": 1}])
    async with reading(faulty, "") as stream:
        frames = await stream.rest()
    assert stream.answer.status_code == 200
    assert frames[1]["error"]["message"] == f"too old resource version: {version} ({version})"
    assert frames[1]["error"]["grpc_code"] == 3


async def test_cut_has_no_end(faulty):
    """A watch that is cut lacks its final chunk; one that has sent nothing has no answer."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "cut", "events": 1, "times": 1}, {"fault": "cut"}])
    async with reading(faulty) as stream:
        assert len(await stream.cut()) == 1
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await faulty.http.get(EVENTS)
    await until(faulty, lambda state: state["open"]["watch"] == 0)


async def test_silent_streams_send_no_keepalives(argo_server):
    """After its first event the stream stays open and sends nothing, no keep-alives either."""
    async with argo_server(faults=True, keepalive_seconds=0.02) as argo:
        await suspended(argo, "w")
        await put(argo, streams=[{"fault": "silent", "events": 1, "times": 1}])
        async with reading(argo) as stream, reading(argo) as witness:
            await stream.until(1)
            argo.engine.touch("w")
            await witness.until(2)
            while b":\n" not in witness.raw:
                await witness.more()
            with pytest.raises(TimeoutError):
                await stream.more(within=0.1)
            assert stream.raw.endswith(b"\n\n\n")
            assert argo.faults.state()["open"]["watch"] == 2
        await until(argo, lambda state: state["open"]["watch"] == 0)


async def test_delayed_events_are_late(faulty):
    """Events come `seconds` later, and none is lost."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "delay", "seconds": 0.2}])
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with reading(faulty) as stream:
        await stream.until(1)
        assert loop.time() - began >= 0.2
        for _ in range(3):
            faulty.engine.touch("w")
        await stream.until(4)


async def test_coalesced_events_show_the_newest_state(quick):
    """Of the changes within the time only the last one is shown, as what it is for the client."""
    await suspended(quick, "w")
    version = quick.engine.log.version
    await put(quick, streams=[{"fault": "coalesce", "seconds": 0.2}])
    query = f"{SMALL}&listOptions.resourceVersion={version}"
    spec = {"workflowTemplateRef": {"name": "suspend-only"}, "arguments": {}}
    async with reading(quick, query) as stream:
        quick.engine.create({"name": "x"}, spec)
        for _ in range(3):
            quick.engine.touch("w")
        quick.engine.delete("x")
        quick.engine.create({"name": "x"}, spec)
        frames = [frame["result"] for frame in await stream.until(3)]
    shown = [(frame["type"], frame["object"]["metadata"]["name"]) for frame in frames]
    assert shown == [("MODIFIED", "w"), ("DELETED", "x"), ("ADDED", "x")]


async def test_replay_sends_the_state_before_again(faulty):
    """After the end the state before it arrives once more: the client must not go back."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "replay", "times": 2}])
    query = f"{SMALL},result.object.metadata.resourceVersion"
    async with reading(faulty, query) as stream:
        await stream.until(1)
        await faulty.put("w", "resume")
        frames = await stream.until(5)
    versions = [int(f["result"]["object"]["metadata"]["resourceVersion"]) for f in frames]
    first = versions[0]
    assert versions == [first, first + 1, first, first + 2, first + 1]
    assert stream.shown()[-2:] == [("MODIFIED", "Succeeded"), ("MODIFIED", "Running")]


async def test_duplicate_sends_events_twice(faulty):
    """Every event arrives twice, with the same version."""
    await suspended(faulty, "w")
    await put(faulty, streams=[{"fault": "duplicate"}])
    async with reading(faulty) as stream:
        frames = await stream.until(2)
    assert frames[0] == frames[1]


async def test_answers_instead_of_a_stream_are_as_recorded(faulty):
    """Rate limit, start of the server and proxy answer a watch as any other call."""
    rules = [{"fault": f, "times": 1} for f in ("unavailable", "rate-limit", "html", "internal")]
    await put(faulty, streams=rules)
    real = recorded("watch-server-restart", status=503, call="watch")
    answer = await faulty.http.get(EVENTS, headers=SSE)
    assert answer.headers["content-type"] == real["headers"]["Content-Type"]
    assert answer.text.replace("2746", "2749") == real["chunks"][0]
    answer = await faulty.http.get(EVENTS, headers=SSE)
    assert (answer.status_code, answer.text) == (429, recorded("rate-limit")["body"])
    answer = await faulty.http.get(EVENTS, headers=SSE)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (502, "text/html")
    answer = await faulty.http.get(EVENTS, headers=SSE)
    assert answer.status_code == 500
    assert answer.text == (
        'data: {"error":{"grpc_code":13,"http_code":500,"message":"etcdserver: request timed out",'
        '"http_status":"Internal Server Error"}} \n\n'
    )


async def test_lost_logs_are_an_empty_200(faulty):
    """The pods have gone: no lines, no error, and the stream ends as it would."""
    await faulty.create("always-fails", "w")
    await faulty.end("w")
    assert (await faulty.http.get(f"{LOG}?{FOLLOW}")).content
    await put(faulty, streams=[{"fault": "lose"}])
    answer = await faulty.http.get(f"{LOG}?{FOLLOW}")
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await faulty.http.get(f"{WORKFLOWS}/none/log")
    assert answer.status_code == 404


async def test_logs_can_end_too_early(faulty):
    """A log whose source fails ends cleanly in its middle."""
    await faulty.create("always-fails", "w")
    await faulty.end("w")
    await put(faulty, streams=[{"route": "log", "fault": "end", "events": 1}])
    async with reading(faulty, FOLLOW, path=LOG) as stream:
        assert len(await stream.rest()) == 1
