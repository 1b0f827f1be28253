"""Which proofs of identity count: from the settings to the authenticator.

Knows settings, secrets and verifiers, and joins them. A part of the composition root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from bridge.adapters.http import client, tls_context
from bridge.adapters.keys import KeySets, keys_of_issuer
from bridge.adapters.secrets import SecretFile
from bridge.domain.credentials import (
    PUBLISHED_SECRET,
    bearer_digests,
    keys,
    token_digests,
    webhook_keys,
)
from bridge.domain.issuers import OidcIssuer
from bridge.ports import Clock, KeySource
from bridge.settings import Settings
from bridge.web.auth import Authenticator, Verifiers
from bridge.web.verifiers.backstage import BackstageTokens
from bridge.web.verifiers.oidc import OidcTokens
from bridge.web.verifiers.platform import PlatformTokens
from bridge.web.verifiers.signed import TokenVerifier
from bridge.web.verifiers.webhooks import Webhooks

T = TypeVar("T")
_ISSUER_SECONDS = 5.0


Issuers = Sequence[tuple[OidcIssuer, KeySets]]
"""Issuers of OpenID Connect, each with the keys that it publishes."""


async def open_issuers(settings: Settings, stack: AsyncExitStack, *, clock: Clock) -> Issuers:
    """The issuers of the settings, each with a client of its own: none waits for another."""
    issuers = settings.issuers()
    if not issuers:
        return ()
    opened = []
    open_client = partial(
        client,
        timeout=_ISSUER_SECONDS,
        connections=2,
        verify=tls_context(ca_file=settings.ca_file),
        proxy=settings.issuer_proxy,
    )
    for issuer in issuers:
        http = await stack.enter_async_context(open_client(issuer.issuer, hosts=issuer.hosts))
        opened.append((issuer, keys_of_issuer(http, issuer, clock=clock)))
    return opened


def authenticator_of(
    settings: Settings,
    keys_of_backstage: KeySource | None,
    *,
    clock: Clock,
    issuers: Issuers = (),
) -> Authenticator:
    """The verifiers that the settings ask for.

    Raises:
        SettingsInvalid: A file of secrets cannot be used.
    """
    strict = not settings.demo
    verifiers = Verifiers(
        services=rotating(
            settings.tokens,
            settings.tokens_file,
            parse=partial(token_digests, of="BRIDGE_TOKENS", strict=strict),
        ),
        callback=rotating(
            settings.platform_api_token,
            settings.platform_api_token_file,
            parse=partial(bearer_digests, of="PLATFORM_API_TOKEN", strict=strict),
        ),
        signed=tuple(_signed(settings, keys_of_backstage, issuers)),
        webhooks=_webhooks(settings, clock),
        guest=settings.demo,
        strangers=settings.demo and keys_of_backstage is None,
    )
    return Authenticator(verifiers, admins=frozenset(settings.admins))


def _webhooks(settings: Settings, clock: Clock) -> Webhooks | None:
    if settings.webhook_secrets is None and settings.webhook_secrets_file is None:
        return None
    parse = partial(webhook_keys, of="BRIDGE_WEBHOOK_SECRETS", strict=not settings.demo)
    return Webhooks(
        rotating(settings.webhook_secrets, settings.webhook_secrets_file, parse=parse), clock
    )


def _signed(
    settings: Settings, keys_of_backstage: KeySource | None, issuers: Issuers
) -> Iterable[TokenVerifier]:
    if keys_of_backstage is not None:
        yield BackstageTokens(
            keys_of_backstage,
            plugin_id=settings.plugin_id,
            trusted_plugins=settings.trusted_plugins,
            user_issuer=settings.user_issuer,
        )
    for issuer, keys_of in issuers:
        yield OidcTokens(issuer, keys_of)
    secrets = rotating(
        settings.platform_secret,
        settings.platform_secret_file,
        parse=partial(keys, of="BRIDGE_PLATFORM_SECRET", strict=not settings.demo),
    )
    if settings.demo and not secrets():
        secrets = _published
    if secrets():
        yield PlatformTokens(
            secrets, issuer=settings.platform_issuer, audience=settings.platform_audience
        )


def _published() -> tuple[bytes, ...]:
    return (PUBLISHED_SECRET,)


def rotating(
    value: SecretStr | None, file: Path | None, *, parse: Callable[[str], tuple[T, ...]]
) -> Callable[[], tuple[T, ...]]:
    """What a secret and its file say together: the value once, the file whenever it changes."""
    fixed = parse(value.get_secret_value()) if value is not None else ()
    if file is None:
        return lambda: fixed
    changing = SecretFile(file, parse=parse)
    return lambda: fixed + changing()
