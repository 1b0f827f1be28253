"""From the claims of a verified token to a caller, for issuers that speak of people.

Knows which texts may become subjects, users, groups and roles. Must not know how the token was
verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.domain.callers import DEFAULT_TENANT, Caller, group_refs, user_ref
from bridge.domain.errors import Unauthenticated

_LONGEST_SUBJECT = 200
_LONGEST_TEXT = 200
_MOST_TEXTS = 1_000


def person(
    whose: str,
    *,
    sub: str,
    name: str,
    tenant: str,
    roles: tuple[str, ...],
    groups: frozenset[str] | None,
) -> Caller:
    """A caller who is a person.

    Args:
        whose: What parts this issuer's accounts from those of all others.
        sub: The issuer's own id of the account.
        name: What the user is called in the catalog.
        tenant: Whose data it may see at all.
        roles: As claimed.
        groups: Full refs, or None to ask the catalog; it knows the default tenant's users only.

    Raises:
        Unauthenticated: The account or its name cannot be kept as they are.
    """
    if not plain(sub, longest=_LONGEST_SUBJECT):
        raise Unauthenticated(
            "The token's sub is empty, too long, or has blanks or odd characters."
        )
    user = user_ref(name)
    if user is None:
        raise Unauthenticated(
            "The token is valid, but its user is no entity name of Backstage (1 to 63 of a-z, 0-9, "
            "'-', '_', '.', in lower case): choose another claim for it, or another name."
        )
    if groups is None and tenant != DEFAULT_TENANT:
        groups = frozenset()
    return Caller(f"{whose}/{sub}", user, tenant, frozenset(roles), groups)


def texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """A claim that is a list of texts; None if there is none.

    Raises:
        Unauthenticated: It is something else.
    """
    value = claims.get(name)
    if value is None:
        return None
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or len(given) > _MOST_TEXTS:
        raise Unauthenticated(f"The token's claim {name} is no list of texts.")
    if not all(isinstance(one, str) and len(one) <= _LONGEST_TEXT for one in given):
        raise Unauthenticated(f"The token's claim {name} is no list of texts.")
    return tuple(given)


def groups_named(names: tuple[str, ...] | None) -> frozenset[str] | None:
    """Refs of the groups that a token names; None if it names none at all."""
    return None if names is None else group_refs(names)


def plain(text: str, *, longest: int) -> bool:
    """Whether *text* can stand in a log, a header and a key of the store as it is."""
    return 0 < len(text) <= longest and text.isascii() and text.isprintable() and " " not in text
