"""May they? The one table of the policy, with the groups that only the catalog knows.

Knows that groups are looked up only where they could change the answer, that who may not see a
run is told that there is none, and that a refused attempt is kept. Must not know what is done
once it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Never

from bridge.domain.actions import ActionDefinition
from bridge.domain.audit import AuditDraft
from bridge.domain.callers import Caller
from bridge.domain.errors import BridgeError, CatalogUnavailable, Forbidden, RunUnknown
from bridge.domain.policy import (
    Matter,
    Permission,
    Scope,
    admin_by_group,
    is_final,
    refusal,
    request_for,
    run_of,
    scope_of,
)
from bridge.domain.runs import Run
from bridge.services.actions import Actions
from bridge.services.memberships import Memberships
from bridge.services.refusals import Refusals


class Access:
    """Answers for every use case whether a caller may."""

    def __init__(
        self,
        *,
        actions: Actions,
        refusals: Refusals,
        memberships: Memberships | None,
        admins: Iterable[str] = (),
    ) -> None:
        """Args: *admins* are subjects, and entity refs in lower case."""
        self._actions = actions
        self._refusals = refusals
        self._memberships = memberships
        self._admins = frozenset(admins)

    async def see(self, run: Run, caller: Caller) -> None:
        """Nothing, if *caller* may see *run*.

        Raises:
            RunUnknown: They may not; the same words as where there is none.
            CatalogUnavailable: It depends on groups that cannot be looked up.
        """
        matter = await self._matter(run)
        if await self._refusal(Permission.SEE, caller, matter) is not None:
            raise RunUnknown.of(run.id)

    async def sees(self, run: Run, caller: Caller) -> bool:
        """Whether *caller* may see *run*, as far as that can be said now."""
        try:
            await self.see(run, caller)
        except (RunUnknown, CatalogUnavailable):
            return False
        return True

    async def check(
        self,
        permission: Permission,
        run: Run,
        caller: Caller,
        *,
        attempt: AuditDraft | None = None,
    ) -> None:
        """Nothing, if *caller* may do that to *run*; a refused *attempt* is kept.

        Raises:
            RunUnknown: They may not even see it.
            Forbidden: They may not; says who may.
            CatalogUnavailable: It depends on groups that cannot be looked up.
        """
        matter = await self._matter(run)
        why = await self._refusal(permission, caller, matter)
        if why is None:
            return
        hidden = await self._refusal(Permission.SEE, caller, matter) is not None
        await self._refuse(RunUnknown.of(run.id) if hidden else Forbidden(why), attempt)

    async def check_request(
        self,
        action: ActionDefinition,
        caller: Caller,
        *,
        team: str | None,
        attempt: AuditDraft | None = None,
    ) -> None:
        """Nothing, if *caller* may have a run of *action* for *team*; a refused attempt is kept.

        Raises:
            Forbidden: They may not; names those who may.
            CatalogUnavailable: It depends on groups that cannot be looked up.
        """
        matter = request_for(action, tenant=caller.tenant, team=team)
        why = await self._refusal(Permission.RUN, caller, matter)
        if why is not None:
            await self._refuse(Forbidden(why), attempt)

    async def _refuse(self, error: BridgeError, attempt: AuditDraft | None) -> Never:
        if attempt is not None:
            await self._refusals.keep(replace(attempt, outcome=error.code))
        raise error

    async def check_audit(self, caller: Caller) -> None:
        """Nothing, if *caller* may read the audit trail of their tenant.

        Raises:
            Forbidden, CatalogUnavailable.
        """
        why = await self._refusal(Permission.AUDIT, caller, Matter(tenant=caller.tenant))
        if why is not None:
            raise Forbidden(why)

    async def check_report(self, caller: Caller) -> None:
        """Nothing, if *caller* may say which namespaces there are.

        Raises:
            Forbidden: Only workflows know.
        """
        why = await self._refusal(Permission.REPORT, caller, Matter(tenant=caller.tenant))
        if why is not None:
            raise Forbidden(why)

    async def scope(self, caller: Caller) -> Scope:
        """The runs that *caller* may see.

        Raises:
            CatalogUnavailable: It depends on groups that cannot be looked up.
        """
        scope = scope_of(caller, ())
        if scope.everything:
            return scope
        return scope_of(await self._known(caller), self._actions.catalogue.actions.values())

    async def _matter(self, run: Run) -> Matter:
        return run_of(await self._actions.definition_of(run), run)

    async def _refusal(self, permission: Permission, caller: Caller, matter: Matter) -> str | None:
        why = refusal(permission, caller, matter)
        if why is None or is_final(permission, caller, matter):
            return why
        return refusal(permission, await self._known(caller), matter)

    async def _known(self, caller: Caller) -> Caller:
        """The caller with everything that groups give."""
        if caller.groups is None and caller.user is not None and self._memberships is not None:
            caller = replace(caller, groups=await self._memberships.of(caller.user))
        return admin_by_group(caller, self._admins)
