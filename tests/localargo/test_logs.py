"""The log of a workflow: what pods print, in the shape and order that a real server gives."""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.localargo import logs
from bridge.localargo.logs import WorkflowLog

WORKFLOWS = "/api/v1/workflows/argo-workflows"
MAIN = "logOptions.container=main"


async def read(argo, name, query=MAIN):
    """The entries of a log that is not followed."""
    answer = await argo.http.get(f"{WORKFLOWS}/{name}/log?{query}")
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["result"] for line in answer.text.splitlines()]


@pytest.fixture
async def fan(argo):
    """A workflow of four pods that has ended."""
    await argo.create("log-fan", "lf-1")
    await argo.end("lf-1")
    return argo


async def test_entries_are_those_of_the_recording(fan):
    """Lines of both streams in order, empty ones without content, the executor's among them."""
    entries = [e for e in await read(fan, "lf-1") if e["podName"] == "lf-1-talk-3688988967"]
    own = [e for e in entries if "argo=true" not in e.get("content", "")]
    contents = [entry.get("content") for entry in own]
    assert contents == [
        "one starts",
        "no newline yet... now",
        "one to stderr",
        None,
        "one tab\there  ",
        "\u001b[32mgreen\u001b[0m \u00fcn\u00efcode \u2713 <b>&amp;</b>",
        "one line 1",
        "one line 2",
        "one line 3",
        "one line 4",
        "one last line without newline",
    ]
    executor = [e["content"] for e in entries if "argo=true" in e.get("content", "")]
    assert executor[0].endswith(
        'level=INFO msg="waiting for signals" argo=true signalPath=/var/run/argo/ctr/main/signal'
    )
    assert executor[1].endswith('level=INFO msg="sub-process exited" argo=true error=<nil>')
    assert executor[0].startswith("time=20")


async def test_options_apply_to_each_pod(fan):
    """tailLines, podName, grep, timestamps and sinceSeconds select as recorded."""
    tails = await read(fan, "lf-1", f"{MAIN}&logOptions.tailLines=1")
    assert len(tails) == len({entry["podName"] for entry in tails}) == 4
    assert await read(fan, "lf-1", f"{MAIN}&logOptions.tailLines=0") == []
    pod = "lf-1-talk-3688988967"
    assert {e["podName"] for e in await read(fan, "lf-1", f"{MAIN}&podName={pod}")} == {pod}
    assert await read(fan, "lf-1", f"{MAIN}&podName=no-such-pod") == []
    assert len(await read(fan, "lf-1", f"{MAIN}&grep=to stderr$")) == 4
    stamped = await read(fan, "lf-1", f"{MAIN}&logOptions.timestamps=true&grep=one starts")
    moment, _, text = stamped[0]["content"].partition(" ")
    assert text == "one starts"
    assert len(moment) == len("2026-11-21T23:42:12.382125564Z")
    assert await read(fan, "lf-1", f"{MAIN}&logOptions.sinceSeconds=600") != []


async def test_other_containers_are_empty(fan):
    """Without the container, or with another, the answer is an empty 200."""
    assert await read(fan, "lf-1", "") == []
    assert await read(fan, "lf-1", "logOptions.container=init") == []


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("grep=(", 500, 'failed to compile "("'),
        ("logOptions.sinceTime=2026-11-21T23:42:27Z", 400, "field type *v1.Time is not supported"),
        ("logOptions.limitBytes=40", 400, "logOptions.limitBytes is not supported"),
        ("logOptions.tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
async def test_bad_options(argo, query, status, message):
    """An option that cannot be read is an error frame with its HTTP status."""
    await argo.create("suspend-only", "s-1")
    answer = await argo.http.get(f"{WORKFLOWS}/s-1/log?{query}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)


async def test_following_ends_with_the_workflow(argo):
    """A followed log shows pods that start later and ends when the workflow has."""
    await argo.create("log-fan", "lf-2")
    path = f"{WORKFLOWS}/lf-2/log?{MAIN}&logOptions.follow=true"
    answer = await argo.http.get(path, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.count("data: ") == len(await read(argo, "lf-2"))
    assert answer.text.endswith("} \n\n\n")
    again = await argo.http.get(path)
    assert len(again.text.splitlines()) == answer.text.count("data: ")


async def test_following_ends_when_the_workflow_is_deleted(argo):
    """Deleting a running workflow kills its pod and ends the log cleanly."""
    await argo.create("long-with-exit", "d-1")
    path = f"{WORKFLOWS}/d-1/log?{MAIN}&logOptions.follow=true"
    async with argo.http.stream("GET", path) as answer:
        lines = answer.aiter_lines()
        while "started" not in await anext(lines):
            pass
        await argo.call("DELETE", f"{WORKFLOWS}/d-1")
        async with asyncio.timeout(10):
            rest = [line async for line in lines]
    assert len(rest) <= 6


async def test_an_idle_log_sends_keepalives(argo_server):
    """A log that waits for its first line shows itself by keep-alives."""
    async with argo_server(keepalive_seconds=0.05) as argo:
        await argo.create("suspend-only", "s-1")
        path = f"{WORKFLOWS}/s-1/log?{MAIN}&logOptions.follow=true"
        headers = {"Accept": "text/event-stream"}
        async with argo.http.stream("GET", path, headers=headers) as answer:
            assert await anext(answer.aiter_raw()) == b":\n"


async def test_an_unknown_workflow_has_no_log(argo):
    """The log of a workflow that does not exist is a 404 with the error frame."""
    answer = await argo.http.get(f"{WORKFLOWS}/none/log?{MAIN}")
    assert answer.status_code == 404
    assert answer.json()["error"]["grpc_code"] == 5


async def test_pods_that_were_collected_have_no_log(argo):
    """After podGC the log is an empty 200."""
    await argo.create("podgc", "pg-1")
    await argo.end("pg-1")
    uid = argo.engine.get("pg-1").uid
    assert "hello from a pod that will be collected" in await argo.lines("pg-1")
    log = argo.engine.logs.of(uid)
    async with asyncio.timeout(10):
        while log.lines:
            log.changed.clear()
            await log.changed.wait()
    assert await read(argo, "pg-1") == []


async def test_odd_bytes_pass_as_recorded(argo):
    """Carriage returns inside stay, bytes that are no UTF-8 are replaced, NUL passes."""
    source = "printf 'a\\rb\\r\\n'; printf 'x\\377\\000y\\n'"
    script = {"image": "busybox", "command": ["sh"], "source": source}
    templates = [{"name": "main", "script": script}]
    await argo.run({"entrypoint": "main", "templates": templates}, "odd")
    assert await argo.lines("odd") == ["a\rb", "x\ufffd\x00y"]


def test_long_lines_are_split():
    """A line longer than 1 MiB becomes several."""
    log = WorkflowLog()
    log.add("pod", "x" * (logs.LINE_LIMIT + 5))
    assert [len(line.text) for line in log.lines] == [logs.LINE_LIMIT, 5]


def test_output_is_bounded():
    """Of one pod only so much is kept; the log says where it stops."""
    log = WorkflowLog()
    for _ in range(10):
        log.add("loud", "x" * (logs.POD_LIMIT // 4))
    log.add("quiet", "still heard")
    loud = [line.text for line in log.lines if line.pod == "loud"]
    assert sum(map(len, loud)) <= logs.POD_LIMIT + 200
    assert "output limit reached" in loud[-1]
    assert log.lines[-1].text == "still heard"
