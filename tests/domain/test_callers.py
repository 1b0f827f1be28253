"""Who somebody is, as a value."""

from __future__ import annotations

import pytest

from bridge.domain.callers import (
    PLATFORM_ADMIN,
    Caller,
    group_refs,
    is_tenant,
    is_user_ref,
    user_ref,
    with_admins,
)


@pytest.mark.parametrize("name", ["ann", "a", "a.b-c_d", "0b1c", "a" * 63])
def test_an_entity_name_is_a_user(name: str):
    """People are in the bridge who they are in the catalog."""
    assert user_ref(name) == f"user:default/{name}"


@pytest.mark.parametrize(
    "name", ["", "Ann", "a b", "a/b", "a@b", "-a", "a-", ".", "..", "a" * 64, "ä", "a\n", "user:a"]
)
def test_another_name_is_nobodys(name: str):
    """No name is bent into one that somebody else may have."""
    assert user_ref(name) is None


def test_groups_are_compared_as_the_catalog_does():
    """A group is the same in any case; what can be no entity is no group."""
    assert group_refs(["Platform-Admins", "platform-admins", "a b", "", "x/y"]) == {
        "group:default/platform-admins"
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("user:default/ann", True),
        ("User:Default/Ann", True),
        ("user:development/guest", True),
        ("group:default/ann", False),
        ("user:ann", False),
        ("ann", False),
        ("user:default/ann ", False),
        ("user:default/ann\n", False),
        ("user:default/a/b", False),
    ],
)
def test_only_a_full_reference_is_a_user(text: str, right: bool):
    """What Backstage says of a person is taken as it is or not at all."""
    assert is_user_ref(text) is right


@pytest.mark.parametrize(("text", "right"), [("acme", True), ("a/b", False), ("", False)])
def test_a_tenant_is_one_word(text: str, right: bool):
    """No tenant can be spelled so that a subject of it is one of another."""
    assert is_tenant(text) is right


ADMINS = frozenset({"user:default/ann", "service:ci", "platform:acme/bob", "plugin:scaffolder"})


@pytest.mark.parametrize(
    ("caller", "listed"),
    [
        (Caller("backstage", "user:default/ann"), True),
        (Caller("backstage", "User:default/Ann"), True),
        (Caller("plugin:scaffolder", "user:default/ann"), True),
        (Caller("oidc:entra/7", "user:default/ann"), True),
        (Caller("service:ci"), True),
        (Caller("plugin:scaffolder"), True),
        (Caller("platform:acme/bob", "user:default/bob", "acme"), True),
        (Caller("plugin:scaffolder", "user:default/bob"), False),
        (Caller("platform:acme/ann", "user:default/ann", "acme"), False),
        (Caller("platform:default/bob", "user:default/bob"), False),
        (Caller("service:ops"), False),
        (Caller("service:user:default/ann"), False),
    ],
)
def test_an_admin_is_who_the_operator_listed(caller: Caller, listed: bool):
    """A listed person is one in any way to ask, and nobody is one by another's plugin or tenant."""
    assert (PLATFORM_ADMIN in with_admins(caller, ADMINS).roles) is listed


def test_being_listed_takes_nothing_away():
    """An admin keeps what the token says."""
    caller = Caller("service:ci", None, "acme", frozenset({"ns:admin"}), frozenset({"g"}))
    changed = with_admins(caller, ADMINS)
    assert (changed.roles, changed.tenant) == ({"ns:admin", PLATFORM_ADMIN}, "acme")
    assert changed.groups == {"g"}
    assert with_admins(caller, frozenset()) is caller


def test_somebody_is_named_as_a_person_where_there_is_one():
    """Logs and audits show people before programs."""
    assert Caller("plugin:scaffolder", "user:default/ann").name == "user:default/ann"
    assert Caller("service:ci").name == "service:ci"
