"""The world outside the services, scripted: time, chance, Argo and the catalog."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from bridge.adapters.memory import MemoryStore
from bridge.domain.definitions import Catalogue
from bridge.domain.entities import EntityDocument, EntityRef
from bridge.domain.errors import (
    BridgeError,
    GateClosed,
    StoreUnavailable,
    WorkflowExists,
    WorkflowGone,
    WorkflowRejected,
)
from bridge.domain.logs import PodLine
from bridge.domain.runs import Run
from bridge.domain.workflows import Snapshot
from bridge.ports import Appended, Entry, Listing, WatchEvent
from tests.domain.making import NOW

HANG = "the stream stays open for as long as the workflow runs"
STUCK = "the stream stays open whatever happens"
APPLIED = "the call is applied, then its error is raised"


class FakeClock:
    """Time that passes only when a test lets it; sleepers wake in order."""

    def __init__(self) -> None:
        self.time = 0.0
        self._count = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """See Clock."""
        return NOW + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        """See Clock."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._count), woken))
        await woken

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(40):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        end = self.time + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            await self._wake_next()
        self.time = end
        await self.settle()

    async def until(self, condition: Callable[[], object], *, within: float = 120.0) -> None:
        """Let time pass until *condition* holds; fail if it does not *within* seconds."""
        end = self.time + within
        await self.settle()
        while not condition():
            asleep = [entry for entry in self._sleepers if not entry[2].done()]
            assert asleep, "nothing will ever happen any more"
            assert asleep[0][0] <= end, f"it did not happen within {within} s"
            await self._wake_next()

    async def _wake_next(self) -> None:
        deadline, _, woken = heapq.heappop(self._sleepers)
        if not woken.done():
            self.time = max(self.time, deadline)
            woken.set_result(None)
            await self.settle()


class FakeChance:
    """Run ids that count, and no jitter at all."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._requests = itertools.count(1)

    def request_id(self) -> str:
        """See Chance."""
        return f"{next(self._requests):032x}"

    def run_id(self) -> str:
        """See Chance."""
        return f"01kagw9zq6x3v5t7y8r2m{next(self._count):05}"

    def jitter(self, seconds: float) -> float:
        """See Chance."""
        return seconds


class FakeSource:
    """Definitions that a test puts."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def load(self, *, last_good: Catalogue) -> Catalogue:
        """See DefinitionSource."""
        del last_good
        return self.catalogue


class FaultyStore(MemoryStore):
    """A memory store whose commits fail as a test says, or that is away.

    ``faults`` says what becomes of the next commits: ``ok``, ``full`` (the disk, nothing is
    written), or ``lost`` (it is written, but the answer is an error).
    """

    def __init__(self, *shared: Any, **place: Any) -> None:
        super().__init__(*shared, **place)
        self.faults: deque[str] = deque()
        self.away = False

    def restarted(self) -> None:
        """Speak for another process from now on; the one before is dead."""
        self._memory.leases.clear()
        self._replica = f"replica-{int(self._replica.partition('-')[2] or 0) + 1}"

    def append(self, run_id: str, entry: Entry, **place: Any) -> asyncio.Future[Appended | None]:
        """See RunStore."""
        fault = self.faults.popleft() if self.faults else "ok"
        if fault == "ok" and not self.away:
            return super().append(run_id, entry, **place)
        if fault == "lost":
            super().append(run_id, entry, **place)
        failed: asyncio.Future[Appended | None] = asyncio.get_running_loop().create_future()
        failed.set_exception(StoreUnavailable("The run store failed: disk full"))
        return failed

    async def run(self, run_id: str) -> Run:
        """See RunStore."""
        if self.away:
            raise StoreUnavailable("The run store failed: disk full")
        return await super().run(run_id)

    async def put_entity(self, entity: EntityDocument, *, now: datetime) -> None:
        """See RunStore."""
        if self.away:
            raise StoreUnavailable("The run store failed: disk full")
        await super().put_entity(entity, now=now)


class FakeEngine:
    """An Argo server in a dictionary, with the faults that a test asks for.

    ``faults[method]`` holds what the next calls raise, one each; ``(APPLIED, error)`` does the
    work first. ``down`` is raised by every call. ``pods[step]`` holds what each reading of the
    pod's log gives, the last for all later ones: batches of lines, an error, or HANG.
    """

    namespace = "argo"

    def __init__(self) -> None:
        self.workflows: dict[str, dict[str, Any]] = {}
        self.archived: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, deque[Any]] = defaultdict(deque)
        self.down: BridgeError | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.silent: frozenset[str] = frozenset()
        self.deaf = False
        """Whether a decision is answered with 200 and not done (argo-recordings, 1.11)."""
        self.pods: dict[str, list[Sequence[Any]]] = defaultdict(list)
        self.reading = 0
        self.most_reading = 0
        self._versions = itertools.count(1)
        self._watchers: list[asyncio.Queue[Any]] = []

    def called(self, method: str, *first: Any) -> list[tuple[Any, ...]]:
        """The arguments of each call of *method*, of those that begin with *first*."""
        begin = (method, *first)
        return [call[1:] for call in self.calls if call[: len(begin)] == begin]

    def _call(self, method: str, *arguments: Any) -> BridgeError | None:
        """Record a call; raise its fault, or give it to be raised once the call is applied."""
        self.calls.append((method, *arguments))
        if self.down is not None:
            raise self.down
        fault = self.faults[method].popleft() if self.faults[method] else None
        if isinstance(fault, Exception):
            raise fault
        return fault[1] if fault else None

    # --- what the test does ----------------------------------------------------------------

    def show(
        self,
        name: str,
        *nodes: Mapping[str, Any],
        phase: str | None = "Running",
        quietly: bool = False,
        spec: Mapping[str, Any] | None = None,
        **status: Any,
    ) -> None:
        """Move a workflow; *quietly*, so that no watch tells it."""
        raw = self.workflows[name]
        named = [self._named(node, name) for node in nodes]
        shown = {"phase": phase} if phase else {}
        self.workflows[name] = {
            **raw,
            "metadata": {**raw["metadata"], "resourceVersion": str(next(self._versions))},
            "spec": {**raw["spec"], **(spec or {})},
            "status": {**shown, "nodes": {node["id"]: node for node in named}, **status},
        }
        if not quietly:
            self.tell("MODIFIED", self.workflows[name])

    @staticmethod
    def _named(node: Mapping[str, Any], workflow: str) -> dict[str, Any]:
        renamed = {key: workflow + node[key].removeprefix("wf") for key in ("id", "name")}
        return {**node, **renamed}

    def remove(self, name: str, *, archive: bool = False, quietly: bool = False) -> None:
        """Delete a workflow, as a TTL or a person does."""
        raw = self.workflows.pop(name)
        if archive:
            self.archived[name] = raw
        if not quietly:
            self.tell("DELETED", raw)

    def tell(self, kind: Any, raw: Mapping[str, Any]) -> None:
        """Send one frame to every watch."""
        for queue in self._watchers:
            queue.put_nowait(WatchEvent(kind, Snapshot(raw)))

    def end_watches(self, error: BridgeError | None = None) -> None:
        """Rotate every watch, or break it."""
        for queue in self._watchers:
            queue.put_nowait(error)
        self._watchers.clear()

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    # --- WorkflowEngine --------------------------------------------------------------------

    async def create(self, workflow: Mapping[str, Any]) -> Snapshot:
        """See WorkflowEngine."""
        name = workflow["metadata"]["name"]
        lost = self._call("create", name)
        if name in self.workflows:
            raise WorkflowExists(f"{name} exists")
        version = str(next(self._versions))
        metadata = {
            **workflow["metadata"],
            "uid": f"uid-{version}",
            "resourceVersion": version,
        }
        self.workflows[name] = {**workflow, "metadata": metadata, "status": {}}
        self.tell("ADDED", self.workflows[name])
        if lost:
            raise lost
        return Snapshot(self.workflows[name])

    async def get(self, name: str, *, uid: str | None = None) -> Snapshot:
        """See WorkflowEngine."""
        self._call("get", name, uid)
        found = self.workflows.get(name) or self.archived.get(name)
        if found is None:
            raise WorkflowGone(f"{name} is gone")
        return Snapshot(found)

    async def listing(self) -> Listing:
        """See WorkflowEngine."""
        self._call("listing")
        version = str(next(self._versions))
        return Listing(tuple(Snapshot(raw) for raw in self.workflows.values()), version)

    @asynccontextmanager
    async def watch(self, *, resource_version: str) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """See WorkflowEngine."""
        self._call("watch", resource_version)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._watchers.append(queue)

        async def events() -> AsyncIterator[WatchEvent]:
            while (event := await queue.get()) is not None:
                if isinstance(event, BridgeError):
                    raise event
                yield event

        try:
            yield events()
        finally:
            if queue in self._watchers:
                self._watchers.remove(queue)

    @asynccontextmanager
    async def logs(
        self, workflow: str, *, pod: str, follow: bool, tail: int | None = None
    ) -> AsyncIterator[AsyncIterator[tuple[PodLine, ...]]]:
        """See WorkflowEngine."""
        assert pod.startswith(workflow)
        step = pod.rpartition("-")[2]
        self._call("logs", step, follow, tail)
        scripts = self.pods[step] or [(HANG,)]
        script = scripts[min(len(self.called("logs", step)), len(scripts)) - 1]

        async def batches() -> AsyncIterator[tuple[PodLine, ...]]:
            for item in script:
                if isinstance(item, BridgeError):
                    raise item
                if item is HANG and not follow:
                    return  # it shows what there is, and ends
                if item is HANG or item is STUCK:
                    await asyncio.get_running_loop().create_future()
                yield item

        self.reading += 1
        self.most_reading = max(self.reading, self.most_reading)
        try:
            yield batches()
        finally:
            self.reading -= 1

    async def stop(self, name: str, *, terminate: bool = False) -> None:
        """See WorkflowEngine."""
        self._call("stop", name, terminate)
        if name not in self.workflows:
            raise WorkflowGone(f"{name} is gone")
        if self.deaf:
            return
        shutdown = {"shutdown": "Terminate" if terminate else "Stop"}
        raw = self.workflows[name]
        self.workflows[name] = {**raw, "spec": {**raw["spec"], **shutdown}}

    async def decide(
        self, name: str, *, node_id: str, approved: bool, message: str, outputs: Mapping[str, str]
    ) -> None:
        """See WorkflowEngine."""
        lost = self._call("decide", name, node_id, approved, message, dict(outputs))
        if name not in self.workflows:
            raise WorkflowGone(f"{name} is gone")
        raw = self.workflows[name]
        node = raw["status"]["nodes"].get(node_id, {})
        if node.get("type") != "Suspend" or node.get("phase") != "Running":
            raise GateClosed("no suspend nodes matching")
        if not self.deaf:
            node = {**node, "phase": "Succeeded" if approved else "Failed", "message": message}
            nodes = {**raw["status"]["nodes"], node_id: node}
            self.workflows[name] = {**raw, "status": {**raw["status"], "nodes": nodes}}
            self.tell("MODIFIED", self.workflows[name])
        if lost:
            raise lost

    async def retry(self, name: str) -> Snapshot:
        """See WorkflowEngine."""
        lost = self._call("retry", name)
        if name not in self.workflows:
            raise WorkflowGone(f"{name} is gone")
        raw = self.workflows[name]
        if raw["status"].get("phase") not in {"Failed", "Error"}:
            raise WorkflowRejected(f"Cannot retry a workflow in phase {raw['status']['phase']}")
        kept = {
            key: node
            for key, node in raw["status"]["nodes"].items()
            if node["phase"] == "Succeeded"
        }
        status = {"phase": "Running", "nodes": kept, "startedAt": "2026-11-22T12:00:00Z"}
        self.workflows[name] = {**raw, "status": status}
        self.tell("MODIFIED", self.workflows[name])
        if lost:
            raise lost
        return Snapshot(self.workflows[name])

    async def delete(self, name: str) -> None:
        """See WorkflowEngine."""
        self._call("delete", name)
        self.workflows.pop(name, None)

    async def silent_templates(self, template: str) -> frozenset[str]:
        """See WorkflowEngine."""
        self._call("silent_templates", template)
        return self.silent

    async def ping(self) -> None:
        """See WorkflowEngine."""
        self._call("ping")

    def url(self, name: str, *, uid: str | None) -> str | None:
        """See WorkflowEngine."""
        return f"https://argo.example/{name}/{uid}"


class FakeCatalog:
    """A catalog that shows a registered document after some looks."""

    def __init__(self) -> None:
        self.shown: dict[EntityRef, Mapping[str, Any]] = {}
        self.foreign: set[EntityRef] = set()
        self.groups: dict[str, frozenset[str]] = {}
        self.registered: list[str] = []
        self.faults: deque[BridgeError] = deque()
        self.looks_needed = 0
        self._pending: dict[EntityRef, Mapping[str, Any]] = {}
        self._looks: dict[EntityRef, int] = {}

    def _call(self) -> None:
        if self.faults:
            raise self.faults.popleft()

    async def register(self, entity: EntityDocument) -> None:
        """See Catalog."""
        self._call()
        self.registered.append(str(entity.ref))
        self._pending[entity.ref] = entity.document
        self._looks[entity.ref] = self.looks_needed

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """See Catalog."""
        self._call()
        if ref in self._pending:
            self._looks[ref] -= 1
            if self._looks[ref] < 0:
                self.shown[ref] = self._pending.pop(ref)
        return self.shown.get(ref)

    async def unregister(self, entity: EntityDocument) -> None:
        """See Catalog."""
        self._call()
        self._pending.pop(entity.ref, None)
        self.shown.pop(entity.ref, None)

    async def memberships(self, user: EntityRef) -> frozenset[str]:
        """See Catalog."""
        self._call()
        return frozenset({str(user)}) | self.groups.get(str(user), frozenset())

    def owns(self, document: Mapping[str, Any]) -> bool:
        """See Catalog."""
        return all(self.shown[ref] is not document for ref in self.foreign)


def lines(*texts: str, second: int = 0) -> tuple[PodLine, ...]:
    """A batch of log lines, one a millisecond from *second* on."""
    return tuple(
        PodLine(f"2026-11-22T10:00:{second:02}.{n:03}000000Z", text) for n, text in enumerate(texts)
    )
