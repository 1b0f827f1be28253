"""Clients of the bridge that do not give up, and write down every answer.

Knows the bridge's HTTP contract from the outside, as the scaffolder module does: the same key
again after a lost answer, ``Last-Event-ID`` after a lost stream, any replica. Must not know what
is behind it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.crash.evidence import Asked, History, Reading, Submission

TOKENS = {
    name: f"token-of-{name}-with-enough-letters" for name in ("scaffolder", "judge-a", "judge-b")
}
SCAFFOLDER = "scaffolder"
_AGAIN = frozenset({502, 503, 504})
_PAUSE = (0.02, 0.25)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bridge said, and between which moments."""

    status: int
    body: Mapping[str, Any]
    began: float
    ended: float


@dataclass(slots=True)
class Partial:
    """A reader on its way."""

    run: str
    ids: list[int] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    ended: bool = False
    after_end: int | None = None


@dataclass(slots=True)
class Client:
    """All clients of one world; each request goes to a replica drawn by chance."""

    urls: tuple[str, ...]
    rng: random.Random
    history: History
    http: httpx.AsyncClient
    reading: list[Partial] = field(default_factory=list)

    # --- requests --------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        *,
        by: str = SCAFFOLDER,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Answer:
        """The first answer that says something; asked again until there is one."""
        headers = {"Authorization": f"Bearer {TOKENS[by]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        while True:
            began = time.time()
            try:
                url = f"{self.rng.choice(self.urls)}{path}"
                answer = await self.http.request(method, url, json=body, headers=headers)
            except httpx.TransportError:
                await self._pause()
                continue
            if answer.status_code not in _AGAIN:
                return self._told(answer, f"{method} {path}", began)
            await self._pause()

    def _told(self, answer: httpx.Response, what: str, began: float) -> Answer:
        if answer.status_code >= 500:
            self.history.faults.append(f"{what} was answered {answer.status_code}: {answer.text}")
        body = answer.json() if answer.content else {}
        return Answer(answer.status_code, body, began, time.time())

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(*_PAUSE))

    async def submit(self, action: str, given: Mapping[str, Any], *, key: str) -> str | None:
        """Ask for a run; its id, or None if it was refused."""
        body = {"action": action, "input": given, "context": {"taskId": key}}
        answer = await self.ask("POST", "/v1/runs", body=body, key=key)
        run = answer.body.get("id") if answer.status in {200, 202} else None
        self.history.submissions.append(
            Submission(
                key=key,
                action=action,
                input=json.dumps(given, sort_keys=True),
                began=answer.began,
                ended=answer.ended,
                status=answer.status,
                run=run,
                code=answer.body.get("code"),
            )
        )
        return run

    async def command(
        self, run: str, verb: str, *, by: str = SCAFFOLDER, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """Cancel, terminate, approve, reject or retry."""
        answer = await self.ask("POST", f"/v1/runs/{run}/{verb}", by=by, body=body or {})
        code = answer.body.get("code")
        self.history.asked.append(Asked(run, verb, by, answer.status, code))
        return answer

    async def run(self, run: str) -> Mapping[str, Any]:
        """A run as it is now."""
        return (await self.ask("GET", f"/v1/runs/{run}")).body

    # --- streams ---------------------------------------------------------------------------

    async def read(self, run: str) -> None:
        """Read a run to its end, over as many connections as that takes."""
        partial = Partial(run)
        self.reading.append(partial)
        while not partial.ended:
            with suppress(httpx.TransportError):
                await self._stream(partial)
            if not partial.ended:
                await self._pause()
        last = partial.ids[-1]
        path = f"/v1/runs/{run}/events?after={last}"
        while partial.after_end in {None, *_AGAIN}:
            try:
                async with self._open(path, last=last) as answer:
                    partial.after_end = answer.status_code
            except httpx.TransportError:
                await self._pause()

    async def _stream(self, partial: Partial) -> None:
        last = partial.ids[-1] if partial.ids else 0
        cut = self.rng.randint(1, 12) if self.rng.random() < 0.2 else 0
        async with self._open(f"/v1/runs/{partial.run}/events", last=last) as answer:
            if answer.status_code == 204:
                self.history.faults.append(f"{partial.run}: 204 after {last}, before the end")
                partial.ended = True
            elif answer.status_code == 200:
                await _take(answer, partial, stop=lambda got: got == cut)
            elif answer.status_code not in _AGAIN:
                self.history.faults.append(f"{partial.run}: stream answered {answer.status_code}")

    def _open(self, path: str, *, last: int) -> Any:
        headers = {
            "Authorization": f"Bearer {TOKENS[SCAFFOLDER]}",
            "Accept": "text/event-stream",
            **({"Last-Event-ID": str(last)} if last else {}),
        }
        return self.http.stream("GET", f"{self.rng.choice(self.urls)}{path}", headers=headers)

    def finish(self) -> None:
        """Hand over what readers got, whether or not they came to an end."""
        for partial in self.reading:
            self.history.readings.append(
                Reading(
                    run=partial.run,
                    ids=tuple(partial.ids),
                    events=tuple(partial.events),
                    ended=partial.ended,
                    after_end=partial.after_end,
                )
            )


async def _take(answer: httpx.Response, partial: Partial, *, stop: Callable[[int], bool]) -> None:
    """Take whole events off a stream; half of one that was cut counts for nothing."""
    fields: dict[str, str] = {}
    got = 0
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            event = json.loads(fields["data"])
            partial.ids.append(int(fields["id"]))
            partial.events.append(event)
            partial.ended = event["type"] == "done"
            got += 1
            if stop(got):
                return
        fields = {}
