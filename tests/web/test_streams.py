"""``GET /v1/runs/{id}/events``: live over a real server, and page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from bridge import bootstrap
from bridge.domain.runs import RunStatus
from tests.web.making import Rig, bridge_for, served, until

SSE = {"Accept": "text/event-stream"}


@asynccontextmanager
async def opened(
    rig: Rig, run_id: str, *, query: str = "", **headers: str
) -> AsyncIterator[httpx.Response]:
    """An open stream of a run."""
    sent = {**SSE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with rig.http.stream("GET", f"/v1/runs/{run_id}/events{query}", headers=sent) as answer:
        yield answer


async def read_until(answer: httpx.Response, wanted: str) -> str:
    """What a stream says up to and with *wanted*."""
    text = ""
    async for part in answer.aiter_text():
        text += part
        if wanted in text:
            return text
    raise AssertionError(f"the stream ended without {wanted!r}: {text!r}")


def events_in(text: str) -> list[dict[str, Any]]:
    """The data of the events in a stream's text."""
    lines = text.split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def readers(rig: Rig, count: int) -> bool:
    """Whether so many streams are open."""
    return len(rig.bridge.streams) == count


async def whole(rig: Rig, run_id: str, **sent: str) -> tuple[httpx.Response, str]:
    """A stream up to its end."""
    async with opened(rig, run_id, **sent) as answer:
        return answer, "".join([part async for part in answer.aiter_text()])


async def test_a_finished_run_is_told_from_its_beginning_to_its_end():
    """Whoever comes late reads every line, in order, and knows that it was the last."""
    async with served() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "three", "vier ✓\nline two")
        await rig.end(run_id, status=RunStatus.FAILED)
        answer, text = await whole(rig, run_id)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    retry, *frames, rest = text.split("\n\n")
    assert (retry, rest) == ("retry: 2000", "")
    found = []
    for frame in frames:
        first, second, third = frame.split("\n")
        event = json.loads(third.removeprefix("data: "))
        assert first == f"id: {event['seq']}"
        assert second == f"event: {event['type']}"
        assert {"seq", "time", "type", "level", "message"} <= set(event)
        found.append((event["seq"], event["type"], event["message"].partition(" (")[0]))
    assert found[1] == (2, "status", "")
    assert found[2:4] == [(3, "log", "three"), (4, "log", "vier ✓\nline two")]
    assert [seq for seq, _, _ in found] == [1, 2, 3, 4, 5]
    assert found[-1][1] == "done"
    assert events_in(text)[-1] | {"time": "", "message": ""} == {
        "seq": 5,
        "time": "",
        "type": "done",
        "level": "error",
        "message": "",
        "status": "failed",
        "outputs": {},
        "entityRef": None,
        "error": None,
    }


async def test_lines_arrive_while_the_run_goes_on():
    """The task log in Backstage moves while the work is done."""
    async with served() as rig:
        run_id = await rig.accepted()
        async with opened(rig, run_id) as answer:
            chunks = answer.aiter_text()
            text = ""
            for number in range(3):
                await rig.say(run_id, f"line {number}")
                while f"line {number}" not in text:
                    text += await anext(chunks)
            await rig.end(run_id)
            text += "".join([part async for part in chunks])
    assert [event["seq"] for event in events_in(text)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "sent",
    [{"Last_Event_ID": "2"}, {"query": "?after=2"}, {"Last_Event_ID": "2", "query": "?after=0"}],
)
async def test_a_reader_goes_on_where_it_was(sent: dict[str, str]):
    """After a break nothing comes twice and nothing is missing."""
    async with served() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "three", "four")
        await rig.end(run_id)
        _, text = await whole(rig, run_id, **sent)
    assert [event["seq"] for event in events_in(text)] == [3, 4, 5]


@pytest.mark.parametrize("after", ["4", "5", "999999"])
async def test_nothing_more_to_come_is_204(after: str):
    """A browser that reconnects after the end is told to stop."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "three")
        await rig.end(run_id)
        answer = await rig.http.get(
            f"/v1/runs/{run_id}/events", headers={**SSE, "Last-Event-ID": after}
        )
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "1e3", "0x1", "٣", "1" * 19, "1,2", "null"])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_a_garbled_position_is_refused(text: str, accept: str):
    """A reader with a broken position hears so, instead of losing lines silently."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        where = f"/v1/runs/{run_id}/events"
        by_query = await rig.http.get(where, params={"after": text}, headers={"Accept": accept})
        header = {"Accept": accept, "Last-Event-ID": text.encode()}
        by_header = await rig.http.get(where, headers=header)
    for answer in (by_query, by_header):
        assert (answer.status_code, answer.json()["code"]) == (400, "event_id_invalid")


async def test_an_empty_position_means_from_the_start():
    """A browser that has seen nothing yet sends an empty id; it gets everything."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        page = await rig.http.get(f"/v1/runs/{run_id}/events?after=")
    assert [event["seq"] for event in page.json()["events"]] == [1, 2]


async def test_an_idle_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch):
    """Proxies do not cut a stream while somebody thinks about an approval."""
    monkeypatch.setattr(bootstrap, "KEEP_ALIVE_SECONDS", 0.01)
    async with served() as rig:
        run_id = await rig.accepted()
        async with opened(rig, run_id) as answer:
            text = await read_until(answer, ": keep-alive\n\n: keep-alive\n\n")
    assert [event["seq"] for event in events_in(text)] == [1, 2]


async def test_every_reader_gets_the_same_bytes():
    """Two windows on one run show the same."""
    async with served() as rig:
        run_id = await rig.accepted()
        reading = [asyncio.ensure_future(whole(rig, run_id)) for _ in range(20)]
        await until(partial(readers, rig, 20))
        await rig.say(run_id, "two", "three")
        await rig.end(run_id)
        texts = {text for _, text in await asyncio.gather(*reading)}
    assert len(texts) == 1


async def test_a_reader_that_leaves_is_forgotten():
    """Closed windows cost the bridge nothing."""
    async with served() as rig:
        run_id = await rig.accepted()
        async with opened(rig, run_id) as answer:
            await read_until(answer, "id: 1")
            assert len(rig.bridge.streams) == 1
        await until(partial(readers, rig, 0))
        await rig.say(run_id, "nobody reads this")


async def test_a_draining_bridge_ends_its_streams_without_a_last_event():
    """During a rollout readers go on at another instance; no run seems to have ended."""
    async with served() as rig:
        run_id = await rig.accepted()
        async with opened(rig, run_id) as answer:
            parts = answer.aiter_text()
            text = await anext(parts)
            while "id: 2" not in text:
                text += await anext(parts)
            rig.bridge.drain()
            text += "".join([part async for part in parts])
        _, late = await whole(rig, run_id)
    assert [event["type"] for event in events_in(text)] == ["log", "status"]
    assert [event["type"] for event in events_in(late)] == ["log", "status"]


async def test_head_shows_what_a_stream_would_be():
    """A probe of a stream ends at once."""
    async with served() as rig:
        run_id = await rig.accepted()
        stream = await rig.http.head(f"/v1/runs/{run_id}/events", headers=SSE)
        page = await rig.http.head(f"/v1/runs/{run_id}/events")
        await until(partial(readers, rig, 0))
    assert stream.status_code == page.status_code == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert page.headers["content-type"] == "application/json"


async def test_events_are_read_page_by_page_as_json():
    """A client without streams polls, and knows when it has seen the end."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "three")
        where = f"/v1/runs/{run_id}/events"
        first = (await rig.http.get(where, params={"limit": 2})).json()
        second = (await rig.http.get(where, params={"after": first["lastSeq"]})).json()
        nothing = (await rig.http.get(where, params={"after": 3})).json()
        await rig.end(run_id)
        part = (await rig.http.get(where, params={"after": 2, "limit": 1})).json()
        last = (await rig.http.get(where, params={"after": 3})).json()
        beyond = (await rig.http.get(where, params={"after": 4})).json()
    seqs = [[e["seq"] for e in page["events"]] for page in (first, second, nothing, part, last)]
    assert seqs == [[1, 2], [3], [], [3], [4]]
    pages = (first, second, nothing, part, last, beyond)
    assert [page["lastSeq"] for page in pages] == [2, 3, 3, 3, 4, 4]
    assert [page["done"] for page in pages] == [False, False, False, False, True, True]
    assert second["events"] == [
        {
            "seq": 3,
            "time": second["events"][0]["time"],
            "type": "log",
            "level": "info",
            "message": "three",
            "source": "bridge",
            "step": None,
        }
    ]


@pytest.mark.parametrize("limit", ["0", "1001", "x", "00000000199999"])
async def test_a_page_has_a_largest_size(limit: str):
    """Nobody loads a whole history into memory by one request."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        answer = await rig.http.get(f"/v1/runs/{run_id}/events", params={"limit": limit})
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_lines_removed_by_age_are_told_of():
    """Who opens an old run reads that lines are missing, then how it ended; so does a resumer."""
    async with served() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "a", "b")
        await rig.end(run_id)
        later = datetime.now(UTC) + timedelta(days=1)
        removed = await rig.store.prune_events(finished_before=later, limit=1_000)
        last = (await rig.store.run(run_id)).last_seq
        page = (await rig.http.get(f"/v1/runs/{run_id}/events")).json()
        _, text = await whole(rig, run_id)
        _, resumed = await whole(rig, run_id, Last_Event_ID="2")
    gap, done = page["events"]
    assert removed == last - 1 > 3
    assert (gap["type"], gap["seq"], gap["from"], gap["to"]) == ("gap", last - 1, 1, last - 1)
    assert gap["message"] == f"… {last - 1} older lines of this run were removed by age"
    assert (done["type"], done["seq"]) == ("done", last)
    assert (page["lastSeq"], page["done"]) == (last, True)
    assert events_in(text) == page["events"]
    assert f"id: {last - 1}\nevent: gap\n" in text
    assert events_in(resumed) == [
        {**gap, "from": 3, "message": gap["message"].replace(str(last - 1), str(last - 3))},
        done,
    ]
