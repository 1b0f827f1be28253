"""The actions on offer, and the definitions that runs were accepted under.

Knows the definition source and the store. Must not know how an action is run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue
from bridge.domain.runs import Run
from bridge.ports import Clock, DefinitionSource, RunStore

_log = logging.getLogger(__name__)
_REMEMBERED = 256


class Actions:
    """The current catalogue, reloaded when files change."""

    def __init__(self, *, source: DefinitionSource, store: RunStore, clock: Clock) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._accepted: OrderedDict[str, ActionDefinition] = OrderedDict()
        self.catalogue = Catalogue(files={})

    def reload(self) -> None:
        """Read the definitions again; a file that went bad keeps its last good version."""
        before = self.catalogue
        self.catalogue = self._source.load(last_good=before)
        for problem in set(self.catalogue.problems) - set(before.problems):
            _log.error(
                "definition not in use",
                extra={"file": problem.file, "line": problem.line, "reason": problem.message},
            )

    async def watch(self, *, every: float) -> None:
        """Reload for ever, so that an edited folder needs no restart."""
        while True:
            await self._clock.sleep(every)
            await asyncio.to_thread(self.reload)

    async def definition_of(self, run: Run) -> ActionDefinition:
        """The definition that *run* was accepted under, whatever the files say now."""
        current = self.catalogue.actions.get(run.action)
        if current is not None and current.digest == run.definition_digest:
            return current
        known = self._accepted.get(run.definition_digest)
        if known is None:
            document = await self._store.definition(run.definition_digest)
            known = ActionDefinition.model_validate(document)
            self._accepted[run.definition_digest] = known
            if len(self._accepted) > _REMEMBERED:
                self._accepted.popitem(last=False)
        return known
