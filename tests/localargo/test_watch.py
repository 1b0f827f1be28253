"""The watch of workflows: framing, selection, resource versions, its end."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.localargo.reading import EVENTS, SMALL, SSE, WORKFLOWS, Reading, reading


async def watched(argo, count):
    """Wait until the server holds this many watches; they send nothing that would tell."""
    async with asyncio.timeout(10):
        while argo.engine.log.watched != count:  # noqa: ASYNC110 - nothing else to wait for
            await asyncio.sleep(0.001)


async def labelled(argo, name, **labels):
    """Create a suspended workflow with labels."""
    spec = {"workflowTemplateRef": {"name": "suspend-only"}}
    body = {"workflow": {"metadata": {"name": name, "labels": labels}, "spec": spec}}
    await argo.call("POST", WORKFLOWS, body)
    await argo.until(name, lambda w: w["status"].get("phase") == "Running")


async def test_server_sent_events_are_framed_as_recorded(argo):
    """`data: …` with a blank before the newline, and three newlines; keys sorted by fields."""
    await labelled(argo, "acc-1", case="accept")
    query = f"listOptions.labelSelector=case%3Daccept&{SMALL}"
    async with reading(argo, query) as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream"
        assert stream.answer.headers["x-content-type-options"] == "nosniff"
        assert "grpc-metadata-argo-version" not in stream.answer.headers
        await stream.until(1)
        assert stream.raw == (
            b'data: {"result":{"object":{"metadata":{"name":"acc-1"},'
            b'"status":{"phase":"Running"}},"type":"ADDED"}} \n\n\n'
        )


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream, */*"])
async def test_any_other_accept_gives_lines(argo, accept):
    """Only the exact type gives server-sent events; all else is one JSON object per line."""
    await labelled(argo, "acc-1")
    async with reading(argo, SMALL, headers={"Accept": accept}) as stream:
        assert stream.answer.headers["content-type"] == "application/json"
        await stream.until(1)
        assert stream.raw.endswith(b'"type":"ADDED"}}\n')
        assert stream.raw.startswith(b'{"result":')


async def test_nothing_is_sent_before_the_first_byte(argo_server):
    """Headers come with the first keep-alive; then a keep-alive is a colon and one newline."""
    async with argo_server(keepalive_seconds=0.2) as argo:
        began = time.monotonic()
        async with reading(argo, "listOptions.labelSelector=case%3Dnone") as stream:
            assert time.monotonic() - began >= 0.2
            assert stream.answer.status_code == 200
            while len(stream.raw) < 4:
                await stream.more()
            assert stream.raw == b":\n:\n"


async def test_a_watch_shows_changes_and_the_end(argo):
    """One event for each change, versions rising, DELETED with the last state."""
    async with watching_nothing_yet(argo, "life") as stream:
        await labelled(argo, "life-1", case="life")
        await argo.put("life-1", "resume")
        await argo.end("life-1")
        await argo.call("DELETE", f"{WORKFLOWS}/life-1")
        frames = [frame["result"] for frame in await stream.until(5)]
    assert [frame["type"] for frame in frames] == ["ADDED", *["MODIFIED"] * 3, "DELETED"]
    objects = [frame["object"] for frame in frames]
    versions = [int(item["metadata"]["resourceVersion"]) for item in objects]
    assert versions == sorted(set(versions))
    phases = [item["status"].get("phase") for item in objects]
    assert phases == [None, "Running", "Running", "Succeeded", "Succeeded"]
    assert [item["metadata"]["generation"] for item in objects] == [1, 2, 3, 4, 4]


@contextlib.asynccontextmanager
async def watching_nothing_yet(argo, case):
    """Open a watch that has nothing to show; entered once the server holds it."""
    query = f"{EVENTS}?listOptions.labelSelector=case%3D{case}"
    request = argo.http.build_request("GET", query, headers=SSE)
    sending = asyncio.ensure_future(argo.http.send(request, stream=True))
    await watched(argo, 1)
    stream = _Later(sending)
    try:
        yield stream
    finally:
        await (await sending).aclose()


class _Later:
    """A stream whose status line has not come yet."""

    def __init__(self, sending):
        self._sending = sending

    async def until(self, count):
        return await Reading(await self._sending).until(count)


async def test_a_label_that_changes_ends_the_selection(argo):
    """A workflow that no longer matches is DELETED in its old state, though it exists."""
    await labelled(argo, "ls-1", case="ls")
    running = "case%3Dls,workflows.argoproj.io/phase%3DRunning"
    query = f"listOptions.labelSelector={running}&{SMALL},result.object.metadata.resourceVersion"
    async with reading(argo, query) as stream:
        await stream.until(1)
        await argo.put("ls-1", "resume")
        frames = [frame["result"] for frame in await stream.until(3)]
        final = await argo.end("ls-1")
    assert [frame["type"] for frame in frames] == ["ADDED", "MODIFIED", "DELETED"]
    last = frames[-1]["object"]
    assert last["status"] == {"phase": "Running"}
    assert last["metadata"]["resourceVersion"] == final["metadata"]["resourceVersion"]


async def test_a_label_that_appears_is_added(argo):
    """A workflow that begins to match arrives as ADDED."""
    await labelled(argo, "ls-1", case="ls")
    completed = f"listOptions.labelSelector=workflows.argoproj.io/completed%3Dtrue&{SMALL}"
    async with reading(argo, f"listOptions.labelSelector=case%3Dls&{SMALL}") as witness:
        await witness.until(1)
        request = argo.http.build_request("GET", f"{EVENTS}?{completed}", headers=SSE)
        sending = asyncio.ensure_future(argo.http.send(request, stream=True))
        await watched(argo, 2)
        await argo.put("ls-1", "resume")
        answer = await sending
        frames = await Reading(answer).until(1)
        await answer.aclose()
    assert frames[0]["result"]["type"] == "ADDED"
    assert frames[0]["result"]["object"]["status"]["phase"] == "Succeeded"


async def test_a_watch_by_name_needs_the_workflow(argo):
    """Before the workflow exists it is a 404 with the error frame; then it shows only that one."""
    by_name = "listOptions.fieldSelector=metadata.name%3Dfs-1"
    answer = await argo.http.get(f"{EVENTS}?{by_name}", headers=SSE)
    assert answer.status_code == 404
    assert answer.text == (
        'data: {"error":{"grpc_code":5,"http_code":404,"message":'
        '"workflows.argoproj.io \\"fs-1\\" not found","http_status":"Not Found"}} \n\n'
    )
    await labelled(argo, "fs-1")
    async with reading(argo, f"{by_name}&{SMALL}") as stream:
        await stream.until(1)
        await labelled(argo, "fs-2")
        await argo.call("DELETE", f"{WORKFLOWS}/fs-1")
        await labelled(argo, "fs-1")
        frames = [frame["result"] for frame in await stream.until(4)]
    assert [frame["type"] for frame in frames[:3]] == ["ADDED", "DELETED", "ADDED"]
    assert {frame["object"]["metadata"]["name"] for frame in frames} == {"fs-1"}


async def test_a_watch_resumes_after_a_version(argo):
    """From the version of a list: exactly what came after it; zero and nothing: what is there."""
    await labelled(argo, "rv-1")
    version = (await argo.call("GET", WORKFLOWS))["metadata"]["resourceVersion"]
    await argo.put("rv-1", "resume")
    await argo.end("rv-1")
    await labelled(argo, "rv-2")
    async with reading(argo, f"{SMALL}&listOptions.resourceVersion={version}") as stream:
        frames = await stream.until(4)
    shown = [(f["result"]["type"], f["result"]["object"]["metadata"]["name"]) for f in frames]
    first, second = [("MODIFIED", "rv-1")] * 2, [("ADDED", "rv-2"), ("MODIFIED", "rv-2")]
    assert shown == first + second
    async with reading(argo, f"{SMALL}&listOptions.resourceVersion=0") as stream:
        frames = await stream.until(2)
    assert [f["result"]["type"] for f in frames] == ["ADDED", "ADDED"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("resourceVersion=1", 400, "too old resource version: 1 (1000)"),
        (
            "resourceVersion=abc",
            500,
            (
                'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": '
                "invalid syntax"
            ),
        ),
        ("fieldSelector=status.phase%3DRunning", 400, "field label not supported: status.phase"),
        ("fieldSelector=foo", 400, "invalid selector: 'foo'; can't understand 'foo'"),
        (
            "labelSelector=a%3D%3D%3Db",
            400,
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            "sendInitialEvents=true",
            400,
            (
                'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
                "enabled"
            ),
        ),
    ],
)
async def test_watches_that_are_refused(argo, query, status, message):
    """A watch that cannot begin is an HTTP error that carries the error frame."""
    answer = await argo.http.get(f"{EVENTS}?listOptions.{query}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == message
    assert not answer.text.endswith("\n")


async def test_a_version_that_left_the_window_is_too_old(argo_server):
    """Only a window of past events can be resumed from."""
    async with argo_server(event_window=3) as argo:
        await labelled(argo, "w-1")
        version = argo.engine.log.version
        for _ in range(5):
            argo.engine.touch("w-1")
        answer = await argo.http.get(f"{EVENTS}?listOptions.resourceVersion={version}")
        assert answer.status_code == 400
        oldest = argo.engine.log.version - 3
        assert (
            answer.json()["error"]["message"] == f"too old resource version: {version} ({oldest})"
        )
        async with reading(argo, f"{SMALL}&listOptions.resourceVersion={oldest}") as stream:
            assert len(await stream.until(3)) == 3


async def test_a_version_of_the_future_shows_nothing(argo_server):
    """A watch from a version that is not reached yet stays silent."""
    async with argo_server(keepalive_seconds=0.05) as argo:
        query = f"listOptions.resourceVersion={argo.engine.log.version + 100}"
        async with reading(argo, query) as stream:
            await labelled(argo, "f-1")
            await stream.more()
            assert stream.frames() == []


async def test_fields_empty_the_error_frame(argo):
    """Without `error` in the list an error arrives as an empty object."""
    query = f"{EVENTS}?listOptions.resourceVersion=1&fields=result.type"
    answer = await argo.http.get(query, headers=SSE)
    assert (answer.status_code, answer.text) == (400, "data: {} \n\n")


async def test_a_watch_ends_with_its_own_error(argo):
    """The normal end is 8/429 "EOF": in the stream after data, as HTTP 429 before any."""
    await labelled(argo, "t-1", case="t")
    timeout = "listOptions.timeoutSeconds=1"
    async with reading(argo, f"{timeout}&{SMALL}", headers={}) as stream:
        assert stream.answer.status_code == 200
        await stream.until(1)
        await stream.rest()
    last = stream.raw.decode().rpartition("\n")[2]
    assert last == (
        '{"error":{"grpc_code":8,"http_code":429,"http_status":"Too Many Requests",'
        '"message":"EOF"}}'
    )
    answer = await argo.http.get(f"{EVENTS}?{timeout}&listOptions.labelSelector=none", headers=SSE)
    assert answer.status_code == 429
    assert answer.text.startswith('data: {"error":{"grpc_code":8,')


async def test_bookmarks_tell_the_version(argo_server, monkeypatch):
    """A quiet watch that asks for bookmarks learns the version now and then."""
    monkeypatch.setattr("bridge.localargo.watch._BOOKMARK_SECONDS", 0.05)
    async with argo_server() as argo:
        query = "listOptions.allowWatchBookmarks=true&fields=result.type,result.object.metadata"
        async with reading(argo, query) as stream:
            frame = (await stream.until(1))[0]["result"]
        version = str(argo.engine.log.version)
    assert frame == {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}


async def test_other_namespaces_are_silent(argo_server):
    """A watch of another namespace opens and shows nothing of this one."""
    async with argo_server(keepalive_seconds=0.05) as argo:
        await labelled(argo, "n-1")
        path = "/api/v1/workflow-events/elsewhere"
        async with argo.http.stream("GET", path, headers=SSE) as answer:
            assert await anext(answer.aiter_raw()) == b":\n"


async def test_a_client_that_leaves_is_forgotten(argo):
    """A watch whose client has gone costs nothing any more."""
    await labelled(argo, "l-1")
    async with reading(argo, "") as stream:
        await stream.until(1)
        assert argo.engine.log.watched == 1
    await watched(argo, 0)


async def test_an_event_is_encoded_once_for_all_watchers(argo):
    """Watchers with the same fields share the bytes of an event."""
    await labelled(argo, "s-1")
    async with reading(argo, SMALL) as one, reading(argo, SMALL) as two:
        await one.until(1)
        await two.until(1)
        event = argo.engine.latest("s-1")
        assert len(event._frames) == 1
