"""Reading the embedded Argo under faults, and what a real one was recorded to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx

RECORDINGS = Path(__file__).parents[1] / "adapters" / "recordings"
NAMESPACE = "argo-workflows"
WORKFLOWS = f"/api/v1/workflows/{NAMESPACE}"
EVENTS = f"/api/v1/workflow-events/{NAMESPACE}"
LOG = f"{WORKFLOWS}/w/log"
FOLLOW = "logOptions.container=main&logOptions.follow=true"
SSE = {"Accept": "text/event-stream"}
SMALL = "fields=error,result.type,result.object.metadata.name,result.object.status.phase"


def recorded(name, **wanted):
    """The first exchange of a recording that has these fields."""
    exchanges = json.loads((RECORDINGS / f"{name}.json").read_text())["exchanges"]
    return next(e for e in exchanges if wanted.items() <= e.items())


class Reading:
    """A stream that is open: what has arrived, and waiting for more."""

    def __init__(self, answer):
        self.answer = answer
        self.raw = b""
        self._chunks = answer.aiter_raw()

    async def until(self, count):
        """The frames, once there are so many of them."""
        while len(found := self.frames()) < count:
            await self.more()
        return found

    async def more(self, *, within=10):
        """What comes next, at most so many seconds from now: part of a frame, or a keep-alive."""
        self.raw += await asyncio.wait_for(anext(self._chunks), within)

    async def rest(self):
        """All frames, once the server has ended the stream."""
        async with asyncio.timeout(10):
            async for chunk in self._chunks:
                self.raw += chunk
        return self.frames()

    async def cut(self):
        """All frames, once the server has closed the connection without an end."""
        with contextlib.suppress(httpx.RemoteProtocolError):
            await self.rest()
            raise AssertionError("the stream has come to a clean end")
        return self.frames()

    def frames(self):
        """The JSON of all whole frames."""
        lines = self.raw.decode().split("\n")[:-1]
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.strip(": ")]

    def shown(self):
        """Type and phase of every event."""
        results = [frame["result"] for frame in self.frames()]
        return [(r["type"], r["object"]["status"].get("phase")) for r in results]


@contextlib.asynccontextmanager
async def reading(argo, query=SMALL, *, path=EVENTS, headers=SSE):
    """Open a stream; its status line comes with the first bytes."""
    async with argo.http.stream("GET", f"{path}?{query}", headers=headers) as answer:
        yield Reading(answer)


async def suspended(argo, name, **labels):
    """Create a workflow and wait until it is suspended: three changes, the last one Running."""
    spec = {"workflowTemplateRef": {"name": "suspend-only"}}
    body = {"workflow": {"metadata": {"name": name, "labels": labels}, "spec": spec}}
    created = await argo.call("POST", WORKFLOWS, body)
    await argo.until(name, lambda w: w["status"].get("nodes"))
    return created


async def put(argo, **plan):
    """Put faults in force."""
    return await argo.call("PUT", "/faults", plan)


async def until(argo, wanted):
    """Wait for a state of the faults: nothing tells when a call begins to wait."""
    async with asyncio.timeout(10):
        while not wanted(argo.faults.state()):  # noqa: ASYNC110 - nothing else to wait for
            await asyncio.sleep(0.001)
