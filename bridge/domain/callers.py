"""Who is asking: a verified caller, whatever token vouched for it.

Knows identities, groups, roles and tenants as values. Must not know tokens, nor what a caller
may do: ``policy`` decides that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

DEFAULT_TENANT = "default"
PLATFORM_ADMIN = "platform:admin"
CALLBACK = "platform-api"
"""The subject of workflows that report to the Platform API."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_USER = re.compile(r"user:[a-z0-9._-]{1,63}/[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_OWN_SUBJECTS = ("platform:", "oidc:")
"""Subjects that are one person each; that of a plugin is the same for everybody it speaks for."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request came from.

    ``address`` is the peer's that connected, which may be a proxy's; ``request`` the id of the
    request, which its client may have chosen.
    """

    address: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token was verified.

    ``subject`` is the service or account that speaks, unique over all verifiers and tenants;
    ``user`` the person it speaks for, as a full entity ref; ``groups`` are full entity refs in
    lower case, or None where only the catalog knows them. The ``source`` of this request is for
    the audit trail; it makes nobody another one.
    """

    subject: str
    user: str | None = None
    tenant: str = DEFAULT_TENANT
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] | None = None
    source: Source = field(default_factory=Source, compare=False)

    @property
    def name(self) -> str:
        """For people: who did it."""
        return self.user or self.subject


def user_ref(name: str) -> str | None:
    """The user of this name, or None for what is no entity name in lower case.

    The catalog compares without regard to case, so ``Ann`` and ``ann`` would be one user there
    although they are two at an issuer: nothing is folded or replaced.
    """
    return f"user:default/{name}" if _NAME.fullmatch(name) else None


def is_user_ref(text: str) -> bool:
    """Whether *text* is a full reference to a user."""
    return _USER.fullmatch(text.lower()) is not None


def group_refs(names: Iterable[str]) -> frozenset[str]:
    """The groups of these names in lower case; what can be no entity is in no rule either."""
    lower = (name.lower() for name in names)
    return frozenset(f"group:default/{name}" for name in lower if _NAME.fullmatch(name))


def is_tenant(text: str) -> bool:
    """Whether *text* can be a tenant: it becomes a part of subjects."""
    return _NAME.fullmatch(text) is not None


def with_admins(caller: Caller, admins: frozenset[str]) -> Caller:
    """*caller*, with the role ``platform:admin`` if it is listed by its subject or user.

    Args:
        caller: Who is asking.
        admins: Subjects as they are, and entity refs in lower case. A ref is one of the default
            tenant: another tenant may have a user of the same name.
    """
    listed = caller.user is not None and caller.tenant == DEFAULT_TENANT
    named = {caller.user.lower()} if listed and caller.user is not None else set()
    if caller.user is None or caller.subject.startswith(_OWN_SUBJECTS):
        named.add(caller.subject)
    if named.isdisjoint(admins):
        return caller
    return replace(caller, roles=caller.roles | {PLATFORM_ADMIN})
