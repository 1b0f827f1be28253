"""From a succeeded workflow to an entity that the catalog shows.

Knows that registration is done when the catalog shows this run's document, and is tried until
then: a run in *registering* is visible and never given up. Must not know the catalog's HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from bridge.domain.entities import ENTITY_RUN_ANNOTATION, EntityDocument, EntityRef
from bridge.domain.errors import (
    BridgeError,
    CatalogRejected,
    CatalogUnavailable,
    EntityConflict,
    StoreUnavailable,
)
from bridge.domain.events import duration, log
from bridge.domain.mapping import Site, WorkflowFacts, entity_of, roots_of
from bridge.domain.runs import WORKFLOW_OUTPUTS, Run, RunError, RunStatus
from bridge.ports import Catalog, Chance, Clock, Entry, RunStore, WorkflowEngine
from bridge.services.actions import Actions
from bridge.services.backoff import Backoff
from bridge.services.journal import Journal

_log = logging.getLogger(__name__)

_Shown = Mapping[str, object] | None
Outcome = Literal["registered", "retried", "rejected"]
"""Of one attempt: done, not now, or not before somebody configures something."""


class Registrar:
    """Puts the entities of succeeded runs into the catalog, or takes them out."""

    def __init__(
        self,
        *,
        store: RunStore,
        journal: Journal,
        actions: Actions,
        catalog: Catalog | None,
        engines: Mapping[str, WorkflowEngine],
        clock: Clock,
        chance: Chance,
        site: Site,
        base_entities: tuple[EntityDocument, ...] = (),
        visible_within: float = 30.0,
    ) -> None:
        self._store = store
        self._journal = journal
        self._actions = actions
        self._catalog = catalog
        self._engines = engines
        self._clock = clock
        self._chance = chance
        self._site = site
        self._base_entities = base_entities
        self._visible_within = visible_within
        self._base_registered = False
        self._under_way = 0
        self.on_outcome: Callable[[Outcome], object] = lambda _outcome: None

    def __len__(self) -> int:
        """How many runs wait for the catalog."""
        return self._under_way

    async def register(self, run_id: str) -> None:
        """Bring a run from *registering* to its end, however long the catalog is away."""
        self._under_way += 1
        try:
            await self._until_registered(run_id)
        finally:
            self._under_way -= 1

    async def _until_registered(self, run_id: str) -> None:
        backoff = Backoff(clock=self._clock, chance=self._chance, first=1.0, longest=30.0)
        told = ""
        while True:
            with suppress(StoreUnavailable):
                obstacle = await self._try(run_id, told=told)
                if obstacle is None:
                    return
                told = obstacle
            await backoff.wait()

    async def _try(self, run_id: str, *, told: str) -> str | None:
        """One attempt: None once the run has ended, or what stands in the way."""
        run = await self._store.run(run_id)
        try:
            if not run.finished:
                await self._attempt(run)
        except EntityConflict as error:
            self.on_outcome("rejected")
            await self._journal.end(run, status=RunStatus.FAILED, error=RunError.of(error))
        except (CatalogUnavailable, CatalogRejected) as error:
            self.on_outcome("rejected" if isinstance(error, CatalogRejected) else "retried")
            if error.detail != told:
                again = f"{error.detail}; registration is tried again"
                run = await self._store.run(run_id)
                await self._journal.say_once(run, again, level="warn")
            return error.detail
        return None

    async def _attempt(self, run: Run) -> None:
        definition = await self._actions.definition_of(run)
        url = self._engines[run.target].url(run.workflow_name, uid=run.workflow_uid)
        facts = WorkflowFacts(url=url, outputs=run.state.get(WORKFLOW_OUTPUTS))
        roots = roots_of(run, definition=definition, site=self._site, workflow=facts)
        entity = entity_of(definition, roots=roots, run_id=run.id)
        if entity is None or definition.spec.catalog is None:
            await self._journal.end(run, status=RunStatus.SUCCEEDED)
        elif definition.spec.catalog.mode == "remove":
            await self._remove(run, entity)
        else:
            await self._upsert(run, entity)

    async def _upsert(self, run: Run, entity: EntityDocument) -> None:
        if self._catalog is None:
            line = f"no Backstage catalog is configured; {entity.path} serves {entity.ref}"
        else:
            await self._refuse_foreign(self._catalog, entity.ref)
            line = f"● registering {entity.ref} in the catalog"
        await self._announce(run, line, Entry(keeps=entity))
        if self._catalog is not None:
            await self._show(self._catalog, run, entity)
            self.on_outcome("registered")
        registered = replace(run, entity_ref=str(entity.ref))
        await self._journal.end(registered, status=RunStatus.SUCCEEDED)

    async def _announce(self, run: Run, line: str, entry: Entry) -> None:
        """Change the documents in one commit with the line that says so, which is said once."""
        told = () if await self._journal.said(run, line) else (log(line),)
        await self._journal.write(run.id, entry=replace(entry, events=told))

    async def _refuse_foreign(self, catalog: Catalog, ref: EntityRef) -> None:
        """Raise EntityConflict if the catalog shows a *ref* that is not ours to change."""
        shown = await catalog.entity(ref)
        if shown is not None and not catalog.owns(shown):
            raise EntityConflict(
                f"The work is done, but the catalog already has a {ref} that the bridge did not "
                "make; rename or remove that entity, then ask again."
            )

    async def _show(self, catalog: Catalog, run: Run, entity: EntityDocument) -> None:
        started = self._clock.monotonic()
        await self._register_base(catalog)
        await catalog.register(entity)
        problem = f"The catalog took the location of {entity.ref} but does not show the entity"
        await self._until(catalog, entity.ref, lambda shown: _shows(shown, run), problem)
        took = duration(round(self._clock.monotonic() - started, 1))
        await self._journal.write(run.id, log(f"✓ {entity.ref} is in the catalog ({took})"))

    async def _register_base(self, catalog: Catalog) -> None:
        """The cluster and the like, once per process, so that no relation dangles."""
        if self._base_registered:
            return
        for entity in self._base_entities:
            shown = await catalog.entity(entity.ref)
            if shown is None:
                await catalog.register(entity)
        self._base_registered = True

    async def _remove(self, run: Run, entity: EntityDocument) -> None:
        """Take the document out of the catalog; succeeded means that it shows it no more."""
        if self._catalog is not None:
            await self._refuse_foreign(self._catalog, entity.ref)
        line = f"● removing {entity.ref} from the catalog"
        await self._announce(run, line, Entry(drops=entity.ref))
        if self._catalog is not None:
            await self._catalog.unregister(entity)
            problem = f"The catalog still shows {entity.ref}"
            await self._until(self._catalog, entity.ref, lambda shown: shown is None, problem)
            self.on_outcome("registered")
        await self._journal.say(run.id, f"✓ {entity.ref} has left the catalog")
        removed = replace(run, entity_ref=str(entity.ref))
        await self._journal.end(removed, status=RunStatus.SUCCEEDED)

    async def _until(
        self, catalog: Catalog, ref: EntityRef, reached: Callable[[_Shown], bool], problem: str
    ) -> None:
        """Look until what the catalog shows of *ref* is what it should; it may process slowly."""
        deadline = self._clock.monotonic() + self._visible_within
        while not reached(await catalog.entity(ref)):
            if self._clock.monotonic() > deadline:
                raise CatalogUnavailable(f"{problem} after {duration(self._visible_within)}")
            await self._clock.sleep(0.25)

    async def serve_base_entities(self) -> None:
        """Make the documents that are no run's available at their addresses."""
        for entity in self._base_entities:
            try:
                await self._store.put_entity(entity, now=self._clock.now())
            except BridgeError as error:
                _log.warning("cannot store entity", extra={"code": error.code})


def _shows(shown: _Shown, run: Run) -> bool:
    metadata = (shown or {}).get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return isinstance(annotations, Mapping) and annotations.get(ENTITY_RUN_ANNOTATION) == run.id
