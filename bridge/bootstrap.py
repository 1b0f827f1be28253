"""The composition root: adapters → services → application.

Knows every service and how they are joined; each adapter can be replaced by keyword. The only
module that knows so much, and it decides nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Unpack

from starlette.applications import Starlette

from bridge.adapters.definitions import DefinitionFolders
from bridge.domain.audit import AuditDraft
from bridge.domain.entities import cluster_document
from bridge.domain.errors import StoreUnavailable
from bridge.domain.mapping import Site
from bridge.domain.runs import Run, RunStatus
from bridge.domain.workflows import Snapshot
from bridge.exposure import guard_of, metrics_readers_of
from bridge.identity import authenticator_of
from bridge.known_secrets import KnownSecrets, vault_of
from bridge.measuring import Measured, RunMeter
from bridge.opening import Adapters, Given, open_adapters
from bridge.services.access import Access
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.commands import Commander
from bridge.services.control import Control
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
from bridge.services.retention import Retention
from bridge.services.runs import Runs
from bridge.services.secret_inputs import SecretInputs
from bridge.services.spans import RunSpans
from bridge.services.streams import Streams
from bridge.services.submission import Submitter
from bridge.services.tasks import Tasks
from bridge.settings import Settings
from bridge.telemetry import RunLog
from bridge.tracing import Untraced
from bridge.web.app import Parts, create_app
from bridge.web.metrics import Measuring

_log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
STUCK_CHECK_SECONDS = 15.0
DEADLINE_CHECK_SECONDS = 5.0
PRUNE_SECONDS = 600.0
IN_FLIGHT_SLACK = timedelta(seconds=5)


class Bridge:
    """Everything that runs in one process."""

    def __init__(self, settings: Settings, adapters: Adapters) -> None:
        self._settings = settings
        self._adapters = adapters
        self._draining = False
        self._tasks = Tasks()
        site = Site(
            instance=settings.instance,
            url=settings.url,
            callback_url=settings.platform_callback,
            cluster=settings.cluster,
        )
        store, clock, chance = adapters.store, adapters.clock, adapters.chance
        self.redaction = Redaction(KnownSecrets(settings))
        self.journal = Journal(store=store, clock=clock, redaction=self.redaction)
        self.streams = Streams(
            store=store,
            clock=clock,
            stall=settings.stall_seconds,
            most=settings.max_streams,
            most_of_one=settings.streams_per_caller,
        )
        self.journal.subscribe(self.streams)
        self.journal.subscribe(RunLog())
        self._meter = RunMeter(adapters.metrics, clock=clock)
        self.journal.subscribe(self._meter)
        if adapters.tracer is not None:
            self.journal.subscribe(RunSpans(adapters.tracer))
        vault = vault_of(settings)
        secret_inputs = SecretInputs(store=store, redaction=self.redaction, vault=vault)
        self._secrets = secret_inputs
        self.actions = Actions(
            source=DefinitionFolders((settings.actions,), secrets=vault is not None),
            store=store,
            clock=clock,
        )
        self._followers = {
            name: Follower(
                engine=engine,
                store=store,
                journal=self.journal,
                clock=clock,
                chance=chance,
                tasks=self._tasks,
                patience=settings.stuck_seconds,
            )
            for name, engine in adapters.engines.items()
        }
        self._registrar = Registrar(
            store=store,
            journal=self.journal,
            actions=self.actions,
            catalog=adapters.catalog,
            engines=adapters.engines,
            clock=clock,
            chance=chance,
            site=site,
            base_entities=(cluster_document(settings.cluster, owner=settings.cluster_owner),),
        )
        self._submitter = Submitter(
            store=store,
            journal=self.journal,
            actions=self.actions,
            engines=adapters.engines,
            followers=self._followers,
            clock=clock,
            chance=chance,
            site=site,
            secrets=secret_inputs,
            kept=timedelta(seconds=settings.argo_ttl_seconds),
            under_way=timedelta(milliseconds=settings.argo_timeout) + IN_FLIGHT_SLACK,
        )
        self._commander = Commander(
            store=store,
            journal=self.journal,
            actions=self.actions,
            engines=adapters.engines,
            clock=clock,
            chance=chance,
            tasks=self._tasks,
        )
        refusals = Refusals(store=store, clock=clock, tasks=self._tasks, redaction=self.redaction)
        catalog = adapters.catalog
        self.access = Access(
            actions=self.actions,
            refusals=refusals,
            memberships=Memberships(catalog=catalog, clock=clock) if catalog else None,
            admins=settings.admins,
        )
        self.runs = Runs(
            store=store,
            actions=self.actions,
            access=self.access,
            journal=self.journal,
            clock=clock,
            chance=chance,
            site=site,
            namespaces={name: engine.namespace for name, engine in adapters.engines.items()},
            on_accepted=self._accepted,
            secrets=secret_inputs,
        )
        self.control = Control(
            store=store,
            journal=self.journal,
            runs=self.runs,
            actions=self.actions,
            access=self.access,
            refusals=refusals,
            engines=adapters.engines,
            clock=clock,
            on_command=self._commander.take,
        )
        self._deadlines = Deadlines(store=store, clock=clock, expire=self.control.expire)
        self._retention = Retention(
            store=store,
            clock=clock,
            events=timedelta(days=settings.keep_events_days),
            runs=timedelta(days=settings.keep_runs_days),
        )
        self._replicas = Replicas(
            store=store,
            journal=self.journal,
            streams=self.streams,
            clock=clock,
            chance=chance,
            lease=settings.lease_seconds,
        )
        self._replicas.on_claimed = self._take_up
        self._replicas.on_command = self._commander.take
        self.journal.on_lost = self._let_go
        self._measured = Measured(
            adapters.metrics,
            runs=self._meter,
            streams=self.streams,
            actions=self.actions,
            registrar=self._registrar,
            submitter=self._submitter,
            followers=self._followers,
            clock=clock,
        )
        for name in adapters.engines:
            self._join(name, site)

    def _join(self, name: str, site: Site) -> None:
        """Connect a follower with what happens at the end of its workflows."""
        settings, adapters = self._settings, self._adapters
        follower, engine = self._followers[name], adapters.engines[name]
        pods = PodLogs(
            engine=engine,
            clock=adapters.clock,
            chance=adapters.chance,
            tasks=self._tasks,
            cursor=lambda run_id, pod: follower.cursor(run_id, pod=pod),
            tell=lambda run_id, pod, cursor, lines: follower.tell_lines(
                run_id, pod=pod, cursor=cursor, lines=lines
            ),
            read_out=lambda run_id, number: follower.read_out(run_id, number=number),
            at_once=settings.argo_log_streams,
        )
        endings = Endings(
            store=adapters.store,
            journal=self.journal,
            actions=self.actions,
            engine=engine,
            follower=follower,
            pods=pods,
            registrar=self._registrar,
            clock=adapters.clock,
            chance=adapters.chance,
            site=site,
        )
        spawn = self._tasks.spawn
        follower.on_nodes = pods.nodes_changed
        follower.on_ended = lambda run_id, snapshot: spawn(
            endings.ended(run_id, snapshot), name=f"end {run_id}"
        )
        follower.on_lost = lambda run_id: spawn(endings.lost(run_id), name=f"lost {run_id}")
        follower.on_stuck = lambda run_id: spawn(endings.stuck(run_id), name=f"stuck {run_id}")
        follower.on_gate = self._deadlines.gate_open
        reopening = Reopening(store=adapters.store, engine=engine, take_over=self._go_on)

        def look_at(snapshot: Snapshot) -> None:
            if reopening.is_new(snapshot):
                spawn(reopening.look_at(snapshot), name=f"look at {snapshot.name}")

        follower.on_stranger = look_at

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every open run that nobody owns, then begin to follow."""
        await asyncio.to_thread(self.actions.reload)
        await self._registrar.serve_base_entities()
        await self._replicas.claim()
        every = self._settings.actions_reload_seconds
        spawn = self._tasks.spawn
        spawn(self.actions.watch(every=every), name="definitions")
        spawn(self.streams.keep_alive(every=KEEP_ALIVE_SECONDS), name="keep-alive")
        for name, follower in self._followers.items():
            spawn(follower.follow(), name=f"follow {name}")
            stuck = follower.watch_for_stuck(every=STUCK_CHECK_SECONDS)
            spawn(stuck, name=f"stuck {name}")
        spawn(self._replicas.keep(), name="lease")
        spawn(self._replicas.listen(), name="listen")
        spawn(self._replicas.dispatch(), name="dispatch")
        spawn(self._replicas.poll(), name="poll")
        spawn(self._deadlines.watch(every=DEADLINE_CHECK_SECONDS), name="deadlines")
        spawn(self._retention.watch(every=PRUNE_SECONDS), name="retention")

    async def _take_up(self, runs: list[Run]) -> None:
        """Go on with runs where their earlier owner left them."""
        followed = set()
        for run in runs:
            self._meter.take(run)
            if run.status is RunStatus.REGISTERING:
                self._tasks.spawn(self._registrar.register(run.id), name=f"register {run.id}")
            elif run.status.before_workflow:
                self._submit(run)
            elif await self._track(run):
                followed.add(run.target)
            else:
                self._tasks.spawn(self._track_later(run), name=f"track {run.id}")
        for target in followed:
            self._tasks.spawn(self._followers[target].refresh(), name=f"refresh {target}")

    async def _track(self, run: Run) -> bool:
        try:
            definition = await self.actions.definition_of(run)
            await self._secrets.hide(run, definition)
        except StoreUnavailable as error:
            _log.warning("cannot follow yet", extra={"run": run.id, "reason": error.detail})
            return False
        self._followers[run.target].track(run, definition=definition)
        return True

    async def _track_later(self, run: Run) -> None:
        clock, chance = self._adapters.clock, self._adapters.chance
        backoff = Backoff(clock=clock, chance=chance, first=0.5, longest=15.0)
        while not await self._track(run):
            await backoff.wait()
        await self._followers[run.target].refresh()

    def _accepted(self, run: Run) -> None:
        self._meter.accepted(run)
        self._submit(run)

    def _submit(self, run: Run) -> None:
        self._tasks.spawn(self._submitter.submit(run), name=f"submit {run.id}")

    async def _go_on(self, run: Run) -> None:
        """Follow a workflow that somebody retried in Argo, as the next attempt of its run."""
        record = AuditDraft("run.reopened", "argo", reason="retried in Argo", data={"of": run.id})
        await self.runs.again(run, record=record, by=None, takes_over=True, reopened=True)

    def _let_go(self, run_id: str) -> None:
        """Another replica has the run: whatever is under way for it here ends at its next write."""
        self._meter.drop(run_id)
        for follower in self._followers.values():
            follower.forget(run_id)

    def drain(self) -> None:
        """Say no to new requests and end the streams; clients resume elsewhere."""
        self._draining = True
        self.streams.close()

    async def aclose(self) -> None:
        """End all background work and let others have the runs at once."""
        await self._tasks.aclose()
        self.journal.disown_all()
        await self._replicas.release()

    # --- the application -----------------------------------------------------------------------

    def app(self) -> Starlette:
        """The ASGI application; its lifespan starts and ends the background work."""
        settings, adapters = self._settings, self._adapters

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            del app
            await self.start()
            try:
                yield
            finally:
                await self.aclose()

        parts = Parts(
            store=adapters.store,
            clock=adapters.clock,
            chance=adapters.chance,
            actions=self.actions,
            access=self.access,
            runs=self.runs,
            control=self.control,
            streams=self.streams,
            authenticator=authenticator_of(
                settings, adapters.keys, issuers=adapters.issuers, clock=adapters.clock
            ),
            url_of=self._workflow_url,
            following=lambda: all(f.connected for f in self._followers.values()),
            draining=lambda: self._draining,
            server_url=settings.url,
            platform_action=settings.platform_action,
            max_body=settings.body_limits,
            redactor=self.redaction.redactor,
            guard=guard_of(settings),
            tracer=adapters.tracer or Untraced(),
            measuring=Measuring(
                text=self._measured.text,
                on_answer=adapters.metrics.http_answered,
                readers=metrics_readers_of(settings),
            ),
        )
        return create_app(parts, lifespan=lifespan)

    def _workflow_url(self, run: Run) -> str | None:
        return self._adapters.engines[run.target].url(run.workflow_name, uid=run.workflow_uid)


@asynccontextmanager
async def open_bridge(settings: Settings, **given: Unpack[Given]) -> AsyncIterator[Bridge]:
    """Open the adapters that the settings name, except those that are given."""
    async with open_adapters(settings, **given) as adapters:
        yield Bridge(settings, adapters)
