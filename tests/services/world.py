"""The services joined as the composition root joins them, over the scripted world."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from bridge.domain.audit import AuditDraft
from bridge.domain.callers import Caller
from bridge.domain.definitions import Catalogue
from bridge.domain.entities import EntityDocument, cluster_document
from bridge.domain.events import Event
from bridge.domain.mapping import Site
from bridge.domain.runs import Run, RunContext, RunStatus
from bridge.ports import Vault
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.commands import Commander
from bridge.services.control import Control, Wish
from bridge.services.deadlines import Deadlines
from bridge.services.endings import Endings
from bridge.services.follower import Follower
from bridge.services.journal import Journal
from bridge.services.memberships import Memberships
from bridge.services.pods import PodLogs
from bridge.services.redaction import Redaction
from bridge.services.refusals import Refusals
from bridge.services.registration import Registrar
from bridge.services.reopening import Reopening
from bridge.services.replicas import Replicas
from bridge.services.runs import Request, Runs
from bridge.services.secret_inputs import SecretInputs
from bridge.services.streams import Streams
from bridge.services.submission import Submitter
from bridge.services.tasks import Tasks
from tests.domain.making import definition, node
from tests.services.fakes import (
    FakeCatalog,
    FakeChance,
    FakeClock,
    FakeEngine,
    FakeSource,
    FaultyStore,
)

SITE = Site(instance="one", url="https://bridge.example", cluster="c1")


def through_backstage(user: str | None, *roles: str) -> Caller:
    """A person as the scaffolder speaks for them, or the scaffolder alone."""
    return Caller("plugin:scaffolder", user, roles=frozenset(roles))


@dataclass
class Outside:
    """What outlives a process."""

    store: FaultyStore = field(default_factory=FaultyStore)
    engine: FakeEngine = field(default_factory=FakeEngine)
    catalog: FakeCatalog | None = None
    admins: tuple[str, ...] = ()
    clock: FakeClock = field(default_factory=FakeClock)
    chance: FakeChance = field(default_factory=FakeChance)
    source: FakeSource = field(
        default_factory=lambda: FakeSource(Catalogue(files={"thing": definition()}))
    )
    base_entities: tuple[EntityDocument, ...] = (cluster_document("c1", owner="group:default/p"),)
    vault: Vault | None = None
    tasks: list[Tasks] = field(default_factory=list)
    """The background work of every process over it."""

    async def aclose(self) -> None:
        """End every process."""
        for tasks in self.tasks:
            await tasks.aclose()


class World:
    """One process of the bridge."""

    def __init__(self, outside: Outside, *, at_once: int = 16) -> None:
        self.outside = outside
        self.engine, self.clock, self.store = outside.engine, outside.clock, outside.store
        self.tasks = Tasks()
        outside.tasks.append(self.tasks)
        common: dict[str, Any] = {"store": self.store, "clock": self.clock}
        tools = {**common, "chance": outside.chance}
        redaction = Redaction()
        self.journal = Journal(**common, redaction=redaction)
        self.secrets = SecretInputs(store=self.store, redaction=redaction, vault=outside.vault)
        self.streams = Streams(**common)
        self.journal.subscribe(self.streams)
        self.actions = Actions(source=outside.source, **common)
        self.actions.reload()
        tools = {**tools, "journal": self.journal}
        self.follower = Follower(engine=self.engine, tasks=self.tasks, **tools)
        engines = {"default": self.engine}
        tools = {**tools, "actions": self.actions}
        self.registrar = Registrar(
            catalog=outside.catalog,
            engines=engines,
            site=SITE,
            base_entities=outside.base_entities,
            **tools,
        )
        followers = {"default": self.follower}
        self.submitter = Submitter(
            engines=engines,
            followers=followers,
            site=SITE,
            at_once=at_once,
            secrets=self.secrets,
            **tools,
        )
        self.commander = Commander(engines=engines, tasks=self.tasks, **tools)
        catalog = outside.catalog
        refusals = Refusals(store=self.store, clock=self.clock, tasks=self.tasks)
        self.access = Access(
            actions=self.actions,
            refusals=refusals,
            memberships=Memberships(catalog=catalog, clock=self.clock) if catalog else None,
            admins=outside.admins,
        )
        self.runs = Runs(
            site=SITE,
            namespaces={"default": "argo"},
            on_accepted=self.submit,
            access=self.access,
            secrets=self.secrets,
            **tools,
        )
        self.control = Control(
            store=self.store,
            journal=self.journal,
            runs=self.runs,
            actions=self.actions,
            access=self.access,
            refusals=refusals,
            engines=engines,
            clock=self.clock,
            on_command=self.commander.take,
        )
        self.deadlines = Deadlines(store=self.store, clock=self.clock, expire=self.control.expire)
        self.replicas = Replicas(
            store=self.store,
            journal=self.journal,
            streams=self.streams,
            clock=self.clock,
            chance=outside.chance,
        )
        self.replicas.on_claimed = self.take_up
        self.replicas.on_command = self.commander.take
        self.journal.on_lost = self.follower.forget
        self.reopening = Reopening(store=self.store, engine=self.engine, take_over=self.go_on)
        self.pods = PodLogs(
            engine=self.engine,
            clock=self.clock,
            chance=outside.chance,
            tasks=self.tasks,
            cursor=lambda run_id, pod: self.follower.cursor(run_id, pod=pod),
            tell=lambda run_id, pod, cursor, told: self.follower.tell_lines(
                run_id, pod=pod, cursor=cursor, lines=told
            ),
            read_out=lambda run_id, number: self.follower.read_out(run_id, number=number),
            at_once=at_once,
        )
        self.endings = Endings(
            engine=self.engine,
            follower=self.follower,
            pods=self.pods,
            registrar=self.registrar,
            site=SITE,
            **tools,
        )
        self.follower.on_nodes = self.pods.nodes_changed
        self.follower.on_ended = lambda run_id, snapshot: self.spawn(
            self.endings.ended(run_id, snapshot)
        )
        self.follower.on_lost = lambda run_id: self.spawn(self.endings.lost(run_id))
        self.follower.on_stuck = lambda run_id: self.spawn(self.endings.stuck(run_id))
        self.follower.on_gate = self.deadlines.gate_open
        self.follower.on_stranger = lambda snapshot: (
            self.spawn(self.reopening.look_at(snapshot))
            if self.reopening.is_new(snapshot)
            else None
        )

    def spawn(self, work: Any) -> None:
        """Run *work* in the background."""
        self.tasks.spawn(work, name="work")

    def submit(self, run: Run) -> None:
        """Begin with an accepted run."""
        self.spawn(self.submitter.submit(run))

    async def go_on(self, run: Run) -> None:
        """Follow a workflow that was retried in Argo."""
        record = AuditDraft("run.reopened", "argo", data={"of": run.id})
        await self.runs.again(run, record=record, by=None, takes_over=True, reopened=True)

    async def take_up(self, runs: list[Run]) -> None:
        """Go on with claimed runs."""
        for run in runs:
            if run.status is RunStatus.REGISTERING:
                self.spawn(self.registrar.register(run.id))
            elif run.status.before_workflow:
                self.submit(run)
            else:
                made = await self.actions.definition_of(run)
                await self.secrets.hide(run, made)
                self.follower.track(run, definition=made)
        self.spawn(self.follower.refresh())

    async def start(self) -> None:
        """Take up every open run and follow."""
        await self.registrar.serve_base_entities()
        await self.replicas.claim()
        for work in (
            self.follower.follow(),
            self.follower.watch_for_stuck(every=15.0),
            self.replicas.keep(),
            self.replicas.listen(),
            self.replicas.dispatch(),
            self.replicas.poll(),
            self.deadlines.watch(every=5.0),
        ):
            self.spawn(work)
        await self.clock.settle()

    async def restart(self) -> World:
        """Kill this process and start another one over the same outside."""
        await self.tasks.aclose()
        self.store.restarted()
        again = World(self.outside)
        await again.start()
        return again

    async def clock_run(self, work: Any) -> Any:
        """The result of *work*, however long it sleeps."""
        task = asyncio.ensure_future(work)
        await self.clock.until(task.done)
        return task.result()

    # --- what a test says and sees -----------------------------------------------------------

    def define(self, **spec: Any) -> None:
        """Let ``thing:make`` be defined like this from now on."""
        self.outside.source.catalogue = Catalogue(files={"thing": definition(**spec)})
        self.actions.reload()

    async def ask(self, *, by: Caller | None = None, key: str | None = None, **given: Any) -> Run:
        """A request for ``thing:make``."""
        request = Request(
            action="thing:make",
            input={"name": "a-thing", **given},
            caller=by or through_backstage("user:default/ann"),
            key=key,
            context=RunContext("task-1", "make", "template:default/thing"),
        )
        run = (await self.runs.accept(request)).run
        await self.clock.settle()
        return run

    def run(self, run: Run) -> Run:
        """The record as it is stored."""
        return self.store._memory.runs[run.id]

    def events(self, run: Run) -> list[Event]:
        """All stored events."""
        return self.store._memory.events[run.id]

    def told(self, run: Run) -> list[str]:
        """The lines that a reader of the run sees."""
        return [event.draft.message for event in self.events(run) if event.draft.message]

    def steps(self, run: Run) -> list[str]:
        """Those of them that are about steps and pods."""
        return [line for line in self.told(run) if line[0] in "●✓✗○⏸" or " | " in line]

    async def cancel(self, run: Run, *, by: str = "user:default/ann") -> Run:
        """Somebody cancels who may: whoever asked for it, or an admin of its action."""
        caller = through_backstage(by, "thing:admin")
        cancelled = await self.control.cancel(Wish(run.id, caller))
        await self.clock.settle()
        return cancelled

    async def finish(self, run: Run, *, within: float = 120.0) -> Run:
        """Wait for the end of a run and check what holds at every end."""
        await self.clock.until(lambda: self.run(run).finished, within=within)
        self.check(run)
        return self.run(run)

    def check(self, run: Run) -> None:
        """Events count from one, and only the last of an ended run is its end."""
        events, record = self.events(run), self.run(run)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert record.last_seq == len(events)
        assert [event.is_last for event in events[:-1]] == [False] * (len(events) - 1)
        assert events[-1].is_last == record.finished

    async def failed(self, **given: Any) -> Run:
        """A run whose workflow has failed, with times that a retry can be told apart by."""
        run = await self.ask(**given)
        self.ended(
            run,
            node("a", "HTTP", "Failed", ended=2),
            phase="Failed",
            startedAt="2026-11-22T10:00:00Z",
            finishedAt="2026-11-22T10:00:02Z",
        )
        return await self.finish(run)

    def ended(self, run: Run, *nodes: Any, phase: str = "Succeeded", **more: Any) -> None:
        """Argo shows the end of the run's workflow."""
        self.engine.show(run.workflow_name, *nodes, phase=phase, **more)
