"""The secrets that a run was given, from its acceptance to its end.

Knows that they are sealed in the store, handed to the workflow that is made of them, hidden in all
that is written of the run, and gone with its end. Must not know ciphers or stores.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import SecretsUnreadable
from bridge.domain.runs import Run
from bridge.domain.secret_inputs import GivenInput
from bridge.ports import RunStore, Sealed, Vault
from bridge.services.redaction import Redaction

_log = logging.getLogger(__name__)
_LOST = SecretsUnreadable("The secrets of the run are not kept any more: ask for it again.")


class SecretInputs:
    """Seals the secrets of runs, and finds them again."""

    def __init__(
        self,
        *,
        store: RunStore,
        redaction: Redaction | None = None,
        vault: Vault | None = None,
    ) -> None:
        self._store = store
        self._redaction = redaction or Redaction()
        self._vault = vault

    def seal(self, given: GivenInput, *, run_id: str) -> Sealed | None:
        """The secrets of an input as they may be stored; None if it has none.

        Raises:
            SecretsUnreadable: There is no key to keep them with.
        """
        if not given.secrets:
            return None
        if self._vault is None:
            raise SecretsUnreadable("There is no key to keep secrets with: set BRIDGE_SECRET_KEY.")
        return self._vault.seal(given.secrets, run_id=run_id)

    async def of_run(self, run: Run, definition: ActionDefinition) -> Mapping[str, str]:
        """The secrets of an open run by their fields; from now on they are hidden in its words.

        Raises:
            SecretsUnreadable: They are gone, or the key is.
            StoreUnavailable: The store cannot be read.
        """
        if not definition.secret_fields & run.input.keys():
            return {}
        sealed = await self._store.sealed(run.id)
        if sealed is None or self._vault is None:
            raise _LOST
        secrets = self._vault.open(sealed, run_id=run.id)
        self._redaction.learn(run.id, secrets.values())
        return secrets

    async def hide(self, run: Run, definition: ActionDefinition) -> None:
        """Hide the secrets of a run that goes on here; it goes on without, if they are gone.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        try:
            await self.of_run(run, definition)
        except SecretsUnreadable as error:
            _log.warning("cannot hide secrets", extra={"run": run.id, "reason": error.detail})
