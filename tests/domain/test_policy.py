"""Who may do what: the table, and what holds of it whoever asks for whatever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.callers import CALLBACK, DEFAULT_TENANT, PLATFORM_ADMIN, Caller
from bridge.domain.policy import (
    RULES,
    Matter,
    Permission,
    Relation,
    admin_by_group,
    is_final,
    refusal,
    relations,
    request_for,
    run_of,
    scope_of,
)
from tests.domain.making import a_run, definition

ANN, BOB = "user:default/ann", "user:default/bob"
TEAM, ADMINS = "group:default/team-a", "group:default/admins"
GROUPS = [TEAM, ADMINS, "group:default/other", ANN, BOB]
"""Users among them: a list of groups makes nobody another user."""
SUBJECTS = ["plugin:scaffolder", "service:ci", "backstage", "platform:acme/ann", CALLBACK]
ROLES = [PLATFORM_ADMIN, "thing:admin", "other:admin", ":admin", "admin", "thing:user"]
NAMES = [*GROUPS, "admins", "User:Default/Ann", "service:ci", "plugin:scaffolder", "backstage"]

tenants = st.sampled_from([DEFAULT_TENANT, "acme"])
users = st.sampled_from([None, ANN, BOB, "user:default/Ann", "user:other/ann"])
sets_of_groups = st.none() | st.frozensets(st.sampled_from(GROUPS))
callers = st.builds(
    Caller,
    subject=st.sampled_from(SUBJECTS),
    user=users,
    tenant=tenants,
    roles=st.frozensets(st.sampled_from(ROLES)),
    groups=sets_of_groups,
)
lists = st.lists(st.sampled_from(NAMES), max_size=3).map(tuple)
matters = st.builds(
    Matter,
    tenant=tenants,
    action=st.sampled_from(["thing:make", "other:make"]),
    invited=lists,
    approvers=st.none() | lists,
    four_eyes=st.booleans(),
    team=st.sampled_from([None, TEAM, ANN]),
    caller=st.sampled_from([None, *SUBJECTS]),
    user=users,
)
permissions = st.sampled_from(Permission)
OF_RUNS = [p for p in Permission if p not in {Permission.RUN, Permission.AUDIT, Permission.REPORT}]


def may(permission: Permission, caller: Caller, matter: Matter) -> bool:
    """Whether it is allowed."""
    return refusal(permission, caller, matter) is None


# --- what holds for everybody -----------------------------------------------------------------


@given(permissions, callers, matters)
def test_tenants_are_kept_apart(permission, caller, matter):
    """Whatever somebody is in one tenant, they may do nothing at all in another."""
    elsewhere = replace(matter, tenant=f"not-{caller.tenant}")

    assert not may(permission, caller, elsewhere)
    assert relations(caller, elsewhere) == frozenset()


@given(callers, matters, permissions)
def test_who_is_nothing_to_a_run_may_nothing(caller, matter, permission):
    """Only one of the relations of the table opens anything, and seeing comes with it."""
    have = relations(caller, matter)
    every = all(clause.anyone & have for clause in RULES[permission])

    assert may(permission, caller, matter) == (every and caller.tenant == matter.tenant)


@given(st.sampled_from(OF_RUNS), callers, matters)
def test_nobody_can_act_on_what_they_cannot_see(permission, caller, matter):
    """A run is not there for whoever may not see it, so nothing else may be allowed on it."""
    if may(permission, caller, matter):
        assert may(Permission.SEE, caller, matter)


@given(permissions, callers, matters, st.sampled_from(ROLES))
def test_a_role_takes_nothing_away(permission, caller, matter, role):
    """Whoever is given a role may afterwards do all that they could do before."""
    if may(permission, caller, matter):
        assert may(permission, replace(caller, roles=caller.roles | {role}), matter)


@given(permissions, callers, matters, sets_of_groups)
def test_a_group_takes_nothing_away(permission, caller, matter, more):
    """What is allowed without looking groups up stays allowed with them."""
    if may(permission, caller, matter):
        known = replace(caller, groups=(caller.groups or frozenset()) | (more or frozenset()))
        assert may(permission, known, matter)


@given(permissions, callers, matters)
def test_what_is_final_is_final(permission, caller, matter):
    """Where groups are not looked up, not even being in all of them would have helped."""
    unknown = replace(caller, groups=None)
    if not may(permission, unknown, matter) and is_final(permission, unknown, matter):
        known = admin_by_group(replace(caller, groups=frozenset(GROUPS)), {ADMINS})
        assert not may(permission, known, matter)


@given(callers, matters)
def test_four_eyes(caller, matter):
    """Nobody decides on what they asked for, whatever token they come with, or may have asked."""
    matter = replace(matter, four_eyes=True)
    same_person = caller.user is not None and caller.user.lower() == (matter.user or "").lower()
    unknown = caller.user is None or matter.user is None
    if same_person or (unknown and caller.subject == matter.caller):
        assert not may(Permission.DECIDE, caller, matter)


@given(callers, matters, permissions)
def test_a_refusal_is_a_sentence(caller, matter, permission):
    """Whoever is refused reads what it is about, in whole words."""
    why = refusal(permission, caller, matter)
    if why is not None:
        assert why.endswith(".")
        assert "{" not in why
        assert "None" not in why


@given(callers, matters)
def test_a_list_shows_what_can_be_opened(caller, matter):
    """A run is in somebody's list exactly when they may see it by its id."""
    spec = {"node": "a", "by": list(matter.approvers or ())}
    action = definition(approval=spec if matter.approvers is not None else None)
    run = a_run(
        tenant=matter.tenant, team=matter.team, caller=matter.caller or "c", user=matter.user
    )

    seen = may(Permission.SEE, caller, run_of(action, run))

    assert scope_of(caller, [action]).holds(run) == seen


# --- who is who ---------------------------------------------------------------------------------


def asked(**fields) -> Matter:
    """A run that Ann asked for through Backstage, for team A, which admins approve."""
    plain = Matter(
        tenant=DEFAULT_TENANT,
        action="thing:make",
        approvers=("admins",),
        team=TEAM,
        caller="plugin:scaffolder",
        user=ANN,
    )
    return replace(plain, **fields)


REQUESTER = Caller("oidc:entra/1", "user:default/Ann")
MEMBER = Caller("backstage", BOB, groups=frozenset({TEAM}))
APPROVER = Caller("backstage", BOB, groups=frozenset({ADMINS}))
ADMIN = Caller("service:ops", roles=frozenset({"thing:admin"}))
STRANGER = Caller("backstage", BOB, groups=frozenset(), roles=frozenset({"other:admin"}))


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (REQUESTER, {Permission.SEE, Permission.CANCEL, Permission.TERMINATE, Permission.RETRY}),
        (MEMBER, {Permission.SEE, Permission.CANCEL, Permission.RETRY}),
        (APPROVER, {Permission.SEE, Permission.DECIDE}),
        (ADMIN, {Permission.SEE, Permission.CANCEL, Permission.TERMINATE, Permission.RETRY}),
        (STRANGER, set()),
    ],
    ids=["requester", "member", "approver", "admin", "stranger"],
)
def test_what_each_may_do_to_a_run(caller, allowed):
    """Members help out, approvers decide, admins end things, strangers see nothing."""
    assert {p for p in OF_RUNS if may(p, caller, asked())} == allowed


def test_backstage_alone_goes_on_with_what_was_asked_through_it():
    """When a user's session has ended, the scaffolder still follows and cancels their run."""
    scaffolder = Caller("plugin:scaffolder")

    assert may(Permission.SEE, scaffolder, asked())
    assert may(Permission.CANCEL, scaffolder, asked())
    assert not may(Permission.SEE, Caller("plugin:catalog"), asked())
    assert not may(Permission.SEE, replace(scaffolder, user=BOB), asked())


@pytest.mark.parametrize(
    ("caller", "user"),
    [
        (Caller("platform:default/ann", ANN, groups=frozenset({ADMINS})), ANN),
        (Caller("backstage", "user:default/ANN", groups=frozenset({ADMINS})), ANN),
        (Caller("plugin:scaffolder", groups=frozenset({ADMINS})), ANN),
        (Caller("plugin:scaffolder", BOB, groups=frozenset({ADMINS})), None),
    ],
)
def test_another_token_is_not_another_person(caller, user):
    """Whoever asked is not let in by a second door, nor is who may be the same."""
    matter = asked(user=user)

    why = refusal(Permission.DECIDE, caller, matter)

    assert why == "Whoever asked for a run cannot decide on it; somebody else has to."
    assert may(Permission.DECIDE, caller, replace(matter, four_eyes=False))


@pytest.mark.parametrize(
    ("caller", "names"),
    [
        (Caller("backstage", BOB), ("backstage",)),
        (Caller("backstage", BOB, groups=frozenset({ANN})), (ANN,)),
        (Caller("plugin:scaffolder", BOB), ("plugin:scaffolder",)),
        (Caller("service:ops"), ("group:default/ops", "ops", "user:default/ops")),
        (Caller("backstage", BOB), ("Bob B.", "user:default/bob b.", "bob@")),
    ],
)
def test_nobody_is_named_by_what_only_looks_like_them(caller, names):
    """A shared subject is no group, a list of groups no user, and a service no person."""
    assert not may(Permission.DECIDE, caller, asked(approvers=names))
    assert not may(Permission.RUN, caller, asked(invited=names))


def test_a_name_that_is_no_reference_names_only_itself():
    """A list may hold any subject, also one that reads like no entity."""
    caller = Caller("ops bot")

    assert may(Permission.RUN, caller, asked(invited=("ops bot",)))
    assert not may(Permission.RUN, caller, asked(invited=("ops bots",)))


def test_who_may_have_a_run():
    """A run is for those whom the action invites, and for a team only by its members."""
    matter = asked(invited=("team-a", "service:ci"))

    assert may(Permission.RUN, MEMBER, matter)
    assert may(Permission.RUN, ADMIN, matter)
    assert not may(Permission.RUN, ADMIN, replace(matter, action="things:make"))
    assert may(Permission.RUN, Caller("service:ci"), matter)
    assert not may(Permission.RUN, Caller("service:cd"), matter)
    assert "thing:make is for team-a or service:ci; user:default/bob is none of them" in str(
        refusal(Permission.RUN, STRANGER, matter)
    )
    assert f"A run for {TEAM} can be asked for by its members only" in str(
        refusal(Permission.RUN, STRANGER, replace(matter, invited=()))
    )
    assert may(Permission.RUN, STRANGER, replace(matter, invited=(), team=None))


def test_without_a_catalog_a_refusal_says_what_to_configure():
    """A bridge that cannot look groups up says so, in place of letting everybody in."""
    why = refusal(Permission.RUN, Caller("backstage", BOB), asked())

    assert "BRIDGE_BACKSTAGE_URL" in str(why)


def test_an_admin_of_a_group_is_one_in_the_default_tenant_only():
    """Another tenant's group of the same name makes nobody an admin."""
    caller = Caller("platform:acme/bob", BOB, groups=frozenset({ADMINS}))

    assert PLATFORM_ADMIN in admin_by_group(caller, {ADMINS}).roles
    assert admin_by_group(replace(caller, tenant="acme"), {ADMINS}).roles == frozenset()
    assert admin_by_group(caller, {TEAM, BOB}).roles == frozenset()


def test_the_trail_is_for_platform_admins_and_reports_for_workflows():
    """An admin of one area reads no trail, and nobody but a workflow reports a namespace."""
    here = Matter(tenant=DEFAULT_TENANT)
    root = Caller("service:ops", roles=frozenset({PLATFORM_ADMIN}))

    assert may(Permission.AUDIT, root, here)
    assert not may(Permission.AUDIT, ADMIN, here)
    assert may(Permission.REPORT, Caller(CALLBACK), here)
    assert not may(Permission.REPORT, root, here)


def test_what_a_definition_says_of_a_run():
    """The groups, the approvers and the four eyes come from the action, the rest from the run."""
    action = definition(
        access={"groups": ["team-a"]}, approval={"node": "a", "by": [], "notRequester": False}
    )
    run = a_run(team=TEAM, tenant="acme")

    assert run_of(action, run) == Matter(
        tenant="acme",
        action="thing:make",
        invited=("team-a",),
        approvers=(),
        four_eyes=False,
        team=TEAM,
        caller="plugin:scaffolder",
        user=ANN,
    )
    assert request_for(definition(approval=None), tenant="acme", team=None) == Matter(
        tenant="acme", action="thing:make"
    )


def test_every_relation_opens_something():
    """Nothing in the table is for nobody."""
    used = {relation for clauses in RULES.values() for c in clauses for relation in c.anyone}

    assert used == set(Relation)
    assert set(RULES) == set(Permission)
