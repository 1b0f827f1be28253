"""Checks of OpenID Connect issuers: can their keys be read, as for a token.

Knows issuers. Must not know tokens.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bridge.adapters.keys import KeySets, KeysUnreadable
from bridge.adapters.system import SystemClock
from bridge.domain.checkups import Finding, failed, ok
from bridge.identity import open_issuers
from bridge.settings import Settings


async def check_issuers(settings: Settings) -> list[Finding]:
    """One finding an issuer; none if the settings name none."""
    async with AsyncExitStack() as stack:
        issuers = await open_issuers(settings, stack, clock=SystemClock())
        found = [
            check_keys(
                f"keys of {issuer.issuer}",
                keys,
                issuer.issuer,
                mend="Let BRIDGE_OIDC_ISSUERS name the issuer as its discovery document does, and "
                "its key host in hosts; a proxy on the way goes into BRIDGE_ISSUER_PROXY.",
            )
            for issuer, keys in issuers
        ]
        return list(await asyncio.gather(*found))


async def check_keys(check: str, keys: KeySets, place: str, *, mend: str) -> Finding:
    """Whether a set of keys can be read and has any."""
    try:
        count = len(await keys.read(place))
    except KeysUnreadable as error:
        return failed(check, f"they cannot be read: {error}", mend=mend)
    if count == 0:
        return failed(check, "the set is empty", mend=mend)
    return ok(check, f"{count} keys")
