"""Issuers of OpenID Connect as operators describe them.

Knows the shape, and which addresses an issuer may lead to. Must not know tokens, nor how anything
is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from bridge.domain.callers import DEFAULT_TENANT
from bridge.domain.errors import SettingsInvalid
from bridge.domain.hosts import is_loopback

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures that need a private key; a shared secret is not for issuers with published keys."""


class OidcIssuer(BaseModel):
    """One issuer, and what its tokens' claims mean here."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")]
    """Part of the subjects ``oidc:<name>/<sub>``: it must stay the same."""
    issuer: str
    """As in the claim ``iss``, to the letter; ``/.well-known/openid-configuration`` is below it."""
    audience: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """One of these must be in the claim ``aud``."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    hosts: tuple[str, ...] = ()
    """Hosts, with a port if it is an odd one, that keys may be read from beside the issuer's."""
    user_claim: Annotated[str, Field(min_length=1)] = "sub"
    user_suffix: str = ""
    """What every user's name must end with, and what is left away: ``@example.com``."""
    groups_claim: str = "groups"
    """Empty: the catalog is asked for the groups."""
    group_names: Mapping[str, str] = Field(default_factory=dict)
    """Names for groups that the issuer gives by ids."""
    roles_claim: Annotated[str, Field(min_length=1)] = "roles"
    tid: str | None = None
    """The directory of Entra ID that the claim ``tid`` must name."""
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")] = (
        DEFAULT_TENANT
    )

    @model_validator(mode="before")
    @classmethod
    def _one_audience(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("audience"), str):
            return {**values, "audience": (values["audience"],)}
        return values

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        found = _parts(self.issuer)
        if found is None or found.query or found.fragment:
            raise ValueError(
                "issuer must be an https:// address without user, query and fragment; http:// is "
                "for loopback"
            )
        return self

    @property
    def discovery(self) -> str:
        """Where the issuer says where its keys are."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    def leads_to(self, address: str) -> bool:
        """Whether keys may be read there: the issuer's own host, or a listed one."""
        there, own = _parts(address), urlsplit(self.issuer)
        if there is None or there.scheme != own.scheme:
            return False
        return there.netloc.lower() in {own.netloc.lower(), *(host.lower() for host in self.hosts)}


def _parts(address: str) -> SplitResult | None:
    """An address that something may be fetched from, or None."""
    try:
        found = urlsplit(address)
        host, _ = found.hostname, found.port
    except ValueError:
        return None
    if not host or "@" in found.netloc or not address.isascii() or not address.isprintable():
        return None
    if found.scheme == "https" or (found.scheme == "http" and is_loopback(host)):
        return found
    return None


_ISSUERS = TypeAdapter(tuple[OidcIssuer, ...])


def issuers(text: str, *, of: str) -> tuple[OidcIssuer, ...]:
    """Issuers from a JSON list.

    Raises:
        SettingsInvalid: It is none, or two of them have the same name or address.
    """
    try:
        found = _ISSUERS.validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        raise SettingsInvalid(f"{of}: {where}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsInvalid(f"{of} is not JSON: {error}") from error
    return distinct(found, of=of)


def distinct(found: tuple[OidcIssuer, ...], *, of: str) -> tuple[OidcIssuer, ...]:
    """*found*, if each has a name and an address of its own.

    Raises:
        SettingsInvalid: Two have the same.
    """
    for taken in ([one.name for one in found], [one.issuer for one in found]):
        if len(set(taken)) < len(taken):
            raise SettingsInvalid(f"{of}: two issuers have the same name or address")
    return found
