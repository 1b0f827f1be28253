"""What workflows report of the namespaces that they made.

Knows that a record belongs to the tenant of the run that it names. Must not know HTTP, nor which
token proves that a workflow speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.domain.callers import DEFAULT_TENANT
from bridge.domain.errors import RunUnknown
from bridge.ports import Clock, RunStore

_TENANT = "tenant"


class Namespaces:
    """The records, one for each name."""

    def __init__(self, *, store: RunStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def report(self, name: str, record: Mapping[str, Any], *, run_id: str) -> None:
        """Insert or replace a record; a retried report is harmless.

        Args:
            name: Of the namespace.
            record: What was reported.
            run_id: The run that made it, as far as the workflow says; may be of no run.

        Raises:
            StoreUnavailable.
        """
        kept = {**record, _TENANT: await self._tenant_of(run_id)}
        await self._store.put_namespace(name, record=kept, now=self._clock.now())

    async def of(self, tenant: str) -> list[dict[str, Any]]:
        """What was reported of one tenant's namespaces, by name. Raises StoreUnavailable."""
        return [
            {key: value for key, value in record.items() if key != _TENANT}
            for record in await self._store.namespaces()
            if record.get(_TENANT, DEFAULT_TENANT) == tenant
        ]

    async def _tenant_of(self, run_id: str) -> str:
        try:
            return (await self._store.run(run_id)).tenant
        except RunUnknown:
            return DEFAULT_TENANT
