"""The lines of running and failed pods, told once each.

Knows which nodes speak, how many log streams Argo may be asked for at a time (250 in all stop a
server, research/argo section 1.1) and the cursor that keeps lines from coming twice. Must not know
how lines are read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bridge.domain.errors import BridgeError, EngineUnavailable
from bridge.domain.events import EventDraft, log
from bridge.domain.logs import PodLine, clean, is_executor_line
from bridge.domain.workflows import Node, Snapshot
from bridge.ports import Chance, Clock, WorkflowEngine
from bridge.services.backoff import Backoff
from bridge.services.tasks import Tasks

_log = logging.getLogger(__name__)

_GRACE = 1.5
"""Argo sends lines once a second (argo-recordings, section 7): the last ones come after the end."""
_MOST_LINES = 2_000
_LAST_READ_SECONDS = 20.0
"""A stream's first bytes may be 15 s away (argo-recordings, 1.2)."""
_TRIES = 8
"""How often a pod's last lines are asked for; a pod may be gone, Argo may be away."""
_REMEMBER_SECONDS = 60.0

Cursor = Callable[[str, str], str]
Tell = Callable[[str, str, str, list[EventDraft]], None]
ReadOut = Callable[[str, str], None]


@dataclass(slots=True)
class _Tail:
    """One pod being read."""

    run_id: str
    workflow: str
    pod: str
    step: str
    number: str
    template: tuple[str, str]
    """The WorkflowTemplate and the step's own template in it."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    last_line: str = ""
    lines: int = 0
    task: asyncio.Task[None] | None = None


class PodLogs:
    """Reads pods while their nodes run, and those that failed."""

    def __init__(
        self,
        *,
        engine: WorkflowEngine,
        clock: Clock,
        chance: Chance,
        tasks: Tasks,
        cursor: Cursor,
        tell: Tell,
        read_out: ReadOut,
        at_once: int = 16,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._chance = chance
        self._tasks = tasks
        self._cursor = cursor
        self._tell = tell
        self._read_out = read_out
        self._slots = asyncio.Semaphore(at_once)
        self._tails: dict[str, dict[str, _Tail]] = {}
        self._silent: dict[str, tuple[float, frozenset[str]]] = {}

    def nodes_changed(self, run_id: str, snapshot: Snapshot, nodes: Iterable[Node]) -> None:
        """Begin with pods that have started; let those that ended run out.

        Snapshots are coalesced: a node may be seen at its end for the first time.
        """
        for node in nodes:
            if node.type != "Pod":
                continue
            tails = self._tails.setdefault(run_id, {})
            tail = tails.get(node.id)
            pod = snapshot.pod_name(node)
            if tail is None and (node.phase == "Running" or node.ended):
                name = node.label(snapshot.name)
                step = name.rpartition("(")[0] if node.retried else name
                template = (snapshot.template, node.template)
                tail = _Tail(run_id, snapshot.name, pod, step, node.number, template)
                tails[node.id] = tail
                tail.task = self._tasks.spawn(self._read(tail), name=f"logs {tail.pod}")
            if tail is not None and node.ended:
                tail.ended.set()

    async def drain(self, run_id: str, *, within: float = 30.0) -> Mapping[str, str]:
        """Wait until the run's pods are read, and give the last line of each node."""
        tails = self._tails.pop(run_id, {})
        tasks = [tail.task for tail in tails.values() if tail.task is not None]
        for tail in tails.values():
            tail.ended.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                task.cancel()
        return {node_id: tail.last_line for node_id, tail in tails.items() if tail.last_line}

    async def _read(self, tail: _Tail) -> None:
        if not await self._is_silent(*tail.template):
            async with self._slots:
                await self._read_to_the_end(tail)
        self._read_out(tail.run_id, tail.number)

    async def _read_to_the_end(self, tail: _Tail) -> None:
        """Follow the pod while it runs, then read what is left."""
        backoff = Backoff(clock=self._clock, chance=self._chance, first=0.5, longest=5.0)
        tries = 0
        while tries < _TRIES:
            follow = not tail.ended.is_set()
            tries += not follow
            try:
                await self._stream(tail, follow=follow)
                if not follow:
                    return
            except BridgeError as error:
                _log.info("pod log interrupted", extra={"pod": tail.pod, "reason": error.detail})
            if not follow or not tail.ended.is_set():
                await backoff.wait()

    async def _is_silent(self, workflow_template: str, step: str) -> bool:
        """Whether a step's pods have nothing to say; asked of Argo once a minute."""
        now = self._clock.monotonic()
        known = self._silent.get(workflow_template)
        if known is None or now - known[0] > _REMEMBER_SECONDS:
            try:
                known = (now, await self._engine.silent_templates(workflow_template))
            except BridgeError:
                known = (now, known[1] if known else frozenset())
            self._silent[workflow_template] = known
        return step in known[1]

    async def _stream(self, tail: _Tail, *, follow: bool) -> None:
        """Read until the stream ends; raises what the engine raises."""
        reading = asyncio.ensure_future(self._lines(tail, follow=follow))
        limit = self._run_out(tail) if follow else self._clock.sleep(_LAST_READ_SECONDS)
        ending = asyncio.ensure_future(limit)
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            elif not follow:  # what did not come is not the end
                raise EngineUnavailable("the log of the pod does not come")
        finally:
            for task in (reading, ending):
                task.cancel()
            await asyncio.gather(reading, ending, return_exceptions=True)

    async def _run_out(self, tail: _Tail) -> None:
        await tail.ended.wait()
        await self._clock.sleep(_GRACE)

    async def _lines(self, tail: _Tail, *, follow: bool) -> None:
        most = None if follow else _MOST_LINES
        async with self._engine.logs(
            tail.workflow, pod=tail.pod, follow=follow, tail=most
        ) as batches:
            async for batch in batches:
                self._tell_batch(tail, batch)

    def _tell_batch(self, tail: _Tail, batch: tuple[PodLine, ...]) -> None:
        cursor = self._cursor(tail.run_id, tail.pod)
        spoken = [
            PodLine(line.time, text)
            for line in batch
            if not is_executor_line(line.text) and (text := clean(line.text))
        ]
        if spoken:
            tail.last_line = spoken[-1].text
        fresh = [line for line in spoken if not line.time or line.time > cursor]
        room = max(_MOST_LINES - tail.lines, 0)
        before, tail.lines = tail.lines, tail.lines + len(fresh)
        drafts = [
            log(f"{tail.step} | {line.text}", source="pod", step=tail.step) for line in fresh[:room]
        ]
        if before <= _MOST_LINES < tail.lines:
            drafts.append(log(f"{tail.step} | … more lines are in Argo only", level="warn"))
        if drafts:
            newest = max(cursor, *(line.time for line in fresh))
            self._tell(tail.run_id, tail.pod, newest, drafts)
