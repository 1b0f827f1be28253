"""Who may do what: one table.

Knows what somebody can be to a run or an action, and what each of that allows. Must not know
tokens, nor where groups are looked up: a caller whose groups are None is taken to be in none.

docs/reference/permissions.md shows the table (tested).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from bridge.domain.actions import ActionDefinition
from bridge.domain.callers import CALLBACK, DEFAULT_TENANT, PLATFORM_ADMIN, Caller
from bridge.domain.entities import EntityRef
from bridge.domain.runs import Run

_ADMIN = ":admin"
_ENTITIES = ("user", "group")
_ONE_PERSON_EACH = ("platform:", "oidc:")
"""Subjects that name a person; those of services say nothing of whom they speak for."""


class Permission(StrEnum):
    """What can be allowed."""

    RUN = "run"
    SEE = "see"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    RETRY = "retry"
    DECIDE = "decide"
    AUDIT = "audit"
    REPORT = "report"


class Relation(StrEnum):
    """What somebody is to a run, or to an action of which there is to be one."""

    INVITED = "named by the action's `access.groups`, or anybody if it names nobody"
    UNOWNED = "anybody, if the run is no team's"
    SERVICE = "a service that speaks for no person"
    REQUESTER = "whoever asked for the run"
    OTHER = "anybody but whoever asked for the run, unless `approval.notRequester` is false"
    MEMBER = "a member of the run's team"
    APPROVER = "named by the action's `approval.by`, or anybody if it names nobody"
    ADMIN = "an admin of the action"
    CALLBACK = "a workflow, by the token of its callback"


_BY_GROUP = frozenset({Relation.INVITED, Relation.MEMBER, Relation.APPROVER, Relation.ADMIN})


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of a permission: to be one of these; else a sentence that says what to do."""

    anyone: frozenset[Relation]
    refusal: str


def _clause(refusal: str, *anyone: Relation) -> Clause:
    return Clause(frozenset(anyone), refusal)


RULES: Mapping[Permission, tuple[Clause, ...]] = MappingProxyType(
    {
        Permission.RUN: (
            _clause("{action} is for {invited}{who}.", Relation.INVITED, Relation.ADMIN),
            _clause(
                "A run for {team} can be asked for by its members only{who}.",
                *(Relation.UNOWNED, Relation.MEMBER, Relation.ADMIN, Relation.SERVICE),
            ),
        ),
        Permission.SEE: (
            _clause(
                "The run is for others to see.",
                *(Relation.REQUESTER, Relation.MEMBER, Relation.APPROVER, Relation.ADMIN),
            ),
        ),
        Permission.CANCEL: (
            _clause(
                "Cancelling is for whoever asked for the run, members of its team and admins of "
                "{action}{who}.",
                *(Relation.REQUESTER, Relation.MEMBER, Relation.ADMIN),
            ),
        ),
        Permission.TERMINATE: (
            _clause(
                "Terminating is for whoever asked for the run and admins of {action}{who}; "
                "cancel it, or ask one of them.",
                *(Relation.REQUESTER, Relation.ADMIN),
            ),
        ),
        Permission.RETRY: (
            _clause(
                "Retrying is for whoever asked for the run, members of its team and admins of "
                "{action}{who}.",
                *(Relation.REQUESTER, Relation.MEMBER, Relation.ADMIN),
            ),
        ),
        Permission.DECIDE: (
            _clause(
                "Whoever asked for a run cannot decide on it; somebody else has to.",
                Relation.OTHER,
            ),
            _clause("The approval is for {approvers}{who}.", Relation.APPROVER),
        ),
        Permission.AUDIT: (
            _clause(
                "The audit trail is for who has the role platform:admin, by the token or by "
                "BRIDGE_ADMINS{who}.",
                Relation.ADMIN,
            ),
        ),
        Permission.REPORT: (
            _clause(
                "Namespaces are reported by workflows, with the PLATFORM_API_TOKEN.",
                Relation.CALLBACK,
            ),
        ),
    }
)
"""Every clause of a permission has to be met."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What is asked about: a run with its action, or what there is to be a run of.

    ``invited`` and ``approvers`` are entity refs or subjects, empty for everybody; no approvers
    at all are None. ``caller`` is the subject that asked, ``user`` the person it spoke for.
    """

    tenant: str
    action: str = ""
    invited: tuple[str, ...] = ()
    approvers: tuple[str, ...] | None = None
    four_eyes: bool = True
    team: str | None = None
    caller: str | None = None
    user: str | None = None


def request_for(action: ActionDefinition, *, tenant: str, team: str | None) -> Matter:
    """A run that somebody would like to have."""
    approval = action.spec.approval
    return Matter(
        tenant=tenant,
        action=action.id,
        invited=action.spec.access.groups,
        approvers=approval.by if approval is not None else None,
        four_eyes=approval.not_requester if approval is not None else True,
        team=team,
    )


def run_of(action: ActionDefinition, run: Run) -> Matter:
    """A run that there is, under the definition that it was accepted by."""
    asked = request_for(action, tenant=run.tenant, team=run.team)
    return replace(asked, action=run.action, caller=run.caller, user=run.user)


def relations(caller: Caller, matter: Matter) -> frozenset[Relation]:
    """Everything that *caller* is to *matter*; nothing in another tenant."""
    if caller.tenant != matter.tenant:
        return frozenset()
    approvers = matter.approvers
    holds = (
        (Relation.INVITED, not matter.invited or _is_named(caller, matter.invited)),
        (Relation.UNOWNED, matter.team is None),
        (Relation.SERVICE, caller.user is None),
        (Relation.REQUESTER, _asked(caller, matter)),
        (Relation.OTHER, not matter.four_eyes or not _may_have_asked(caller, matter)),
        (Relation.MEMBER, matter.team is not None and _is_named(caller, (matter.team,))),
        (
            Relation.APPROVER,
            approvers is not None and (not approvers or _is_named(caller, approvers)),
        ),
        (Relation.ADMIN, administers(caller, matter.action)),
        (Relation.CALLBACK, caller.subject == CALLBACK),
    )
    return frozenset(relation for relation, so in holds if so)


def is_final(permission: Permission, caller: Caller, matter: Matter) -> bool:
    """Whether a refusal stands, whatever groups the caller turns out to be in."""
    have = relations(caller, matter)
    unmet = [clause for clause in RULES[permission] if not have & clause.anyone]
    return caller.tenant != matter.tenant or any(
        clause.anyone.isdisjoint(_BY_GROUP) for clause in unmet
    )


def refusal(permission: Permission, caller: Caller, matter: Matter) -> str | None:
    """Why *caller* may not, in a sentence; None if they may."""
    have = relations(caller, matter)
    for clause in RULES[permission]:
        if not have & clause.anyone:
            return clause.refusal.format(
                action=matter.action,
                invited=" or ".join(matter.invited),
                approvers=" or ".join(matter.approvers or ("nobody",)),
                team=matter.team,
                who=_who(caller),
            )
    return None


def administers(caller: Caller, action: str) -> bool:
    """Whether a role of theirs covers the action with this id."""
    return PLATFORM_ADMIN in caller.roles or any(action.startswith(area) for area in _areas(caller))


def admin_by_group(caller: Caller, admins: Iterable[str]) -> Caller:
    """The caller, as a platform admin if *admins* (refs in lower case) name a group of theirs.

    Only in the default tenant: another one may have a group of the same name.
    """
    groups = _groups(caller) if caller.tenant == DEFAULT_TENANT else frozenset()
    if groups.isdisjoint(admins):
        return caller
    return replace(caller, roles=caller.roles | {PLATFORM_ADMIN})


def _areas(caller: Caller) -> frozenset[str]:
    """What the ids of administered actions begin with: ``namespace:`` of ``namespace:admin``."""
    return frozenset(
        role.removesuffix("admin")
        for role in caller.roles
        if role.endswith(_ADMIN) and role != _ADMIN
    )


# --- who is who ------------------------------------------------------------------------------


def full_ref(text: str) -> str:
    """A user or group in the one form in which refs are compared; any other text as it is."""
    kind, colon, _ = text.partition(":")
    if colon and kind.strip().lower() not in _ENTITIES:
        return text
    try:
        return str(EntityRef.parse(text)).lower()
    except ValueError:
        return text


def _identities(caller: Caller) -> frozenset[str]:
    """Everything by which a list may name the caller."""
    named = set(_groups(caller))
    if caller.user is not None:
        named.add(full_ref(caller.user))
    if caller.user is None or caller.subject.startswith(_ONE_PERSON_EACH):
        named.add(caller.subject)
    return frozenset(named)


def _groups(caller: Caller) -> frozenset[str]:
    """Only what is a group: nobody becomes another user by a list of groups."""
    return frozenset(group for group in caller.groups or () if group.startswith("group:"))


def _is_named(caller: Caller, names: Iterable[str]) -> bool:
    known = _identities(caller)
    return any(full_ref(name) in known for name in names)


def _asked(caller: Caller, matter: Matter) -> bool:
    """Whether they asked: the same person, or the same service where it speaks for itself."""
    if caller.user is None:
        return caller.subject == matter.caller
    return matter.user is not None and full_ref(caller.user) == full_ref(matter.user)


def _may_have_asked(caller: Caller, matter: Matter) -> bool:
    """Like :func:`_asked`, and where a person is not known, whoever comes by the same service."""
    if caller.user is None or matter.user is None:
        return caller.subject == matter.caller
    return _asked(caller, matter)


def _who(caller: Caller) -> str:
    """The end of a refusal: what was found of the caller."""
    if caller.user is None:
        return f"; {caller.subject} is none of them, and the token names no person"
    if caller.groups is None:
        return (
            f"; {caller.user} is not known to be one, because without BRIDGE_BACKSTAGE_URL the "
            "bridge cannot look up who is in a group"
        )
    return f"; {caller.user} is none of them"


# --- lists -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """The runs that somebody may see, as a store can look for them.

    Of one tenant: ``everything``, or what ``user`` (in lower case) or ``caller`` asked for, what
    belongs to ``teams``, of ``actions``, and of actions whose ids begin with one of ``areas``.
    """

    tenant: str
    everything: bool = False
    user: str | None = None
    caller: str | None = None
    teams: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    areas: frozenset[str] = frozenset()

    def holds(self, run: Run) -> bool:
        """Whether *run* is among them."""
        return run.tenant == self.tenant and (
            self.everything
            or (self.user is not None and self.user == (run.user or "").lower())
            or (self.caller is not None and self.caller == run.caller)
            or run.team in self.teams
            or run.action in self.actions
            or any(run.action.startswith(area) for area in self.areas)
        )


def scope_of(caller: Caller, actions: Iterable[ActionDefinition]) -> Scope:
    """What :attr:`Permission.SEE` gives *caller*, with approvers by *actions* as they are now."""
    decided = {
        action.id
        for action in actions
        if (approval := action.spec.approval) is not None
        and (not approval.by or _is_named(caller, approval.by))
    }
    return Scope(
        tenant=caller.tenant,
        everything=PLATFORM_ADMIN in caller.roles,
        user=full_ref(caller.user) if caller.user is not None else None,
        caller=caller.subject if caller.user is None else None,
        teams=_identities(caller),
        actions=frozenset(decided),
        areas=_areas(caller),
    )
