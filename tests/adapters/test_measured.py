"""What the adapters tell of their calls: which, how it was answered, and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.http import client
from bridge.adapters.sqlite import SqliteStore
from bridge.domain.errors import EngineError, RunUnknown
from bridge.domain.events import log
from bridge.ports import Entry
from tests.adapters.replay import Reply, json_reply, replay
from tests.domain.making import NOW, RUN_ID, new_run

NOBODY = "http://127.0.0.1:9"


@dataclass
class Notes:
    """What an engine told."""

    answers: list[tuple[str, str, int | None]] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    heard: int = 0

    def on_answer(self, kind: str, method: str, code: int | None, seconds: float | None) -> None:
        """Keep it."""
        self.answers.append((kind, method, code))
        self.seconds.append(seconds)

    def on_heard(self) -> None:
        """Count it."""
        self.heard += 1


@asynccontextmanager
async def told_by(
    *replies: Reply, url: str | None = None
) -> AsyncIterator[tuple[ArgoEngine, Notes]]:
    """An engine for a server that plays *replies*, or for nobody, and what it tells."""
    target = ArgoTarget("argo-workflows", "bridge/instance=default", silence=5)
    notes = Notes()
    async with replay(replies) as server:
        place = url or server.url
        async with client(place, timeout=5, connections=2) as control:
            yield (
                ArgoEngine(
                    target,
                    control=control,
                    streams=partial(client, place, timeout=5, connections=1),
                    token=lambda: None,
                    on_answer=notes.on_answer,
                    on_heard=notes.on_heard,
                ),
                notes,
            )


async def test_calls_are_told_by_kind_and_never_by_address():
    """Names of workflows are in addresses, and there is no end of them."""
    workflow = {"metadata": {"name": "a", "uid": "u"}}
    replies = [json_reply(workflow), json_reply({"code": 5, "message": "not found"}, status=404)]
    async with told_by(*replies, json_reply({}, status=503)) as (engine, told):
        await engine.get("some-workflow")
        for act in (engine.stop("another"), engine.create({})):
            with pytest.raises(EngineError):
                await act
    assert told.answers == [("get", "GET", 200), ("control", "PUT", 404), ("create", "POST", 503)]
    assert all(seconds is not None and 0 < seconds < 5 for seconds in told.seconds)


async def test_who_does_not_answer_is_told_too():
    """An Argo that is away shows in the same series as one that refuses."""
    async with told_by(url=NOBODY) as (engine, told):
        with pytest.raises(EngineError):
            await engine.ping()
        with pytest.raises(EngineError):
            async with engine.watch(resource_version="1"):
                pass
    assert told.answers == [("ping", "GET", None), ("watch", "GET", None)]


async def test_keep_alives_of_a_watch_are_heard():
    """A watch on which nothing happens is told from one that is dead."""
    stream = {"Content-Type": "text/event-stream"}
    chunks = (b":\n\n", b":\n\n", b":\n\n")
    async with (
        told_by(Reply(200, stream, chunks=chunks, end="final chunk")) as (engine, told),
        engine.watch(resource_version="1") as events,
    ):
        assert [event async for event in events] == []
    assert told.heard >= 1
    assert told.answers == [("watch", "GET", 200)]
    assert told.seconds == [None]


async def test_lines_of_pods_are_no_sign_of_the_watch():
    """A busy pod does not hide that the watch has died."""
    stream = {"Content-Type": "text/event-stream"}
    chunks = (b'data: {"result":{"content":"a"}}\n\n',)
    async with (
        told_by(Reply(200, stream, chunks=chunks, end="final chunk")) as (engine, told),
        engine.logs("a", pod="a-1", follow=True) as lines,
    ):
        assert [len(batch) async for batch in lines] == [1]
    assert told.heard == 0
    assert told.answers == [("log", "GET", 200)]


async def test_work_of_the_store_is_told_by_kind(tmp_path: Path):
    """A slow disk shows, and whether it holds up readers or writers; failures count."""
    done: list[tuple[str, float]] = []
    store = SqliteStore(tmp_path / "bridge.db")
    store.on_done = lambda operation, seconds: done.append((operation, seconds))
    async with store:
        await store.accept(new_run(), first=log("1"))
        await store.append(RUN_ID, Entry(events=(log("2"),)), fence=1, now=NOW)
        await store.run(RUN_ID)
        with suppress(RunUnknown):
            await store.append("nobody", Entry(), fence=1, now=NOW)
        await store.acknowledge(RUN_ID, reader="a", seq=1)
        await asyncio.sleep(0)
    operations = [operation for operation, _ in done]
    assert operations == ["accept", "append", "read", "append", "write"]
    assert all(0 < seconds < 5 for _, seconds in done)
