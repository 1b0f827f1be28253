"""The public keys of token issuers: fetched when needed, kept, and fetched again.

Knows JSON Web Key Sets (RFC 7517) and OpenID Connect Discovery 1.0. Must not know tokens.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from typing import Any

from bridge.adapters.http import HttpClient, HttpError, InvalidUrl
from bridge.domain.errors import IssuerUnavailable
from bridge.domain.issuers import OidcIssuer
from bridge.ports import Clock

_log = logging.getLogger(__name__)

MOST_SECONDS_OLD = 3_600.0
"""After this long a set is read again, so that a key which its issuer withdrew ends."""
KEPT_SECONDS = 24 * 3_600.0
"""For this long the last keys count while the issuer cannot be read."""
_RETRY_SECONDS = 60.0
_FETCH_SECONDS = 10.0
_LARGEST = 256 * 1024
_MOST_KEYS = 100

Keys = Mapping[str, Mapping[str, Any]]
Fetch = Callable[[str], Awaitable[Keys]]


class KeysUnreadable(Exception):
    """A set of keys could not be fetched just now."""


@dataclass(slots=True)
class _Held:
    """What is known of one set; times are monotonic seconds."""

    keys: Keys = field(default_factory=dict)
    not_before: float = -inf
    """Earlier than this the set is not read because of an id that it does not have."""
    refresh_at: float = -inf
    ends_at: float = inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """A KeySource: each set is fetched by one request at a time, whatever others do meanwhile.

    Issuers change their keys, so an unknown key id asks again, but a flood of unknown ids must not
    become a flood of requests: until the cool-down is over nothing is said of an unknown id,
    neither yes nor no. Last good keys outlive a failed fetch, which is tried again soon, because a
    starting Backstage asks before it can be asked.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        clock: Clock,
        cool_down: float = 5.0,
        failed_cool_down: float = 1.0,
    ) -> None:
        """Args: *fetch* reads a set by its name, or raises KeysUnreadable; times are seconds."""
        self._fetch = fetch
        self._clock = clock
        self._cool_down = cool_down
        self._failed_cool_down = failed_cool_down
        self._sets: dict[str, _Held] = {}

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """See KeySource; *path* names a set that the settings know, so that there are few.

        Raises:
            IssuerUnavailable: The set could not be fetched, or not again so soon.
        """
        held = self._sets.setdefault(path, _Held())
        now = self._clock.monotonic()
        if now >= held.ends_at:
            held.keys, held.ends_at = {}, inf
        found = held.keys.get(kid)
        if found is not None and (now < held.refresh_at or held.lock.locked()):
            return found
        async with held.lock:
            return await self._asked(path, held, kid)

    async def _asked(self, path: str, held: _Held, kid: str) -> Mapping[str, Any] | None:
        found = held.keys.get(kid)
        wait = (held.not_before if found is None else held.refresh_at) - self._clock.monotonic()
        if wait <= 0:
            try:
                self._keep(held, await self.read(path))
            except KeysUnreadable as error:
                _log.warning("the keys of %s cannot be read: %s", path, error)
                now, wait = self._clock.monotonic(), self._failed_cool_down
                held.not_before, held.refresh_at = now + wait, now + _RETRY_SECONDS
            else:
                return held.keys.get(kid)
        if found is not None:
            return found
        raise IssuerUnavailable(
            "The token's key is not known, and the keys of its issuer cannot be read just now.",
            retry_after=ceil(wait),
        )

    async def read(self, path: str) -> Keys:
        """The set as its issuer has it now; nothing is kept of it.

        Raises:
            KeysUnreadable: Says why not.
        """
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                return await self._fetch(path)
        except TimeoutError as error:
            raise KeysUnreadable("no answer in time") from error

    def _keep(self, held: _Held, keys: Keys) -> None:
        now = self._clock.monotonic()
        held.keys = keys
        held.not_before = now + self._cool_down
        held.refresh_at, held.ends_at = now + MOST_SECONDS_OLD, now + KEPT_SECONDS


def keys_of_backstage(http: HttpClient, *, clock: Clock) -> KeySets:
    """The sets of a Backstage backend; their names are paths below its address."""
    return KeySets(partial(_keys_at, http), clock=clock)


def keys_of_issuer(http: HttpClient, issuer: OidcIssuer, *, clock: Clock) -> KeySets:
    """The one set of an issuer, where its discovery document says; its name is the issuer."""

    async def fetch(_: str) -> Keys:
        document = await _document(http, issuer.discovery)
        address = document.get("jwks_uri")
        if document.get("issuer") != issuer.issuer or not isinstance(address, str):
            raise KeysUnreadable("the discovery document is of another issuer")
        if not issuer.leads_to(address):
            raise KeysUnreadable("the keys are on a host that is not configured")
        return await _keys_at(http, address)

    return KeySets(fetch, clock=clock)


async def _keys_at(http: HttpClient, address: str) -> Keys:
    keys = (await _document(http, address)).get("keys")
    if not isinstance(keys, list):
        raise KeysUnreadable("it is no set of keys")
    named = (key for key in keys[:_MOST_KEYS] if isinstance(key, dict) and "kid" in key)
    return {str(key["kid"]): key for key in named}


async def _document(http: HttpClient, address: str) -> Mapping[str, Any]:
    """A JSON object of bounded size.

    Raises:
        KeysUnreadable: There is none.
    """
    data = bytearray()
    try:
        async with http.stream("GET", address) as response:
            async for chunk in response.aiter_bytes():
                if len(data) <= _LARGEST:  # the rest is read too, and dropped
                    data += chunk
        if not response.is_success:
            raise KeysUnreadable(f"it answered {response.status_code}")
        if len(data) > _LARGEST:
            raise KeysUnreadable("it is too large")
        value = json.loads(data)
    except (HttpError, InvalidUrl, ValueError, RecursionError) as error:
        raise KeysUnreadable(str(error) or type(error).__name__) from error
    if not isinstance(value, dict):
        raise KeysUnreadable("it is no JSON object")
    return value
