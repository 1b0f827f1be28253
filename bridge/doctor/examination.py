"""All checks of one installation, side by side, and nothing secret in what they tell.

Knows which groups of checks there are. Must not know what any of them asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

from bridge.doctor.argo import check_argo
from bridge.doctor.backstage import check_backstage
from bridge.doctor.installation import check_installation
from bridge.doctor.issuers import check_issuers
from bridge.domain.checkups import Finding, failed
from bridge.domain.errors import BridgeError
from bridge.domain.redaction import Redactor
from bridge.known_secrets import KnownSecrets
from bridge.settings import Settings

_GROUP_SECONDS = 60.0

Group = Coroutine[None, None, list[Finding]]


async def examine(settings: Settings) -> list[Finding]:
    """Try everything that the settings name; takes as long as the slowest peer, a minute at most.

    Nothing is changed anywhere: what would create is asked as a dry run.
    """
    redactor = Redactor(KnownSecrets(settings)())
    groups = await asyncio.gather(
        _group("settings", check_installation(settings)),
        _group("Argo", check_argo(settings)),
        _group("Backstage", check_backstage(settings)),
        _group("issuers", check_issuers(settings)),
    )
    return [_hidden(finding, redactor) for group in groups for finding in group]


async def _group(name: str, checks: Group) -> list[Finding]:
    try:
        async with asyncio.timeout(_GROUP_SECONDS):
            return await checks
    except BridgeError as error:
        return [failed(name, error.detail, mend="Correct the setting, then ask again.")]
    except TimeoutError:
        reason = f"no end within {_GROUP_SECONDS:.0f} s"
        return [failed(name, reason, mend="Look at the network between here and there.")]


def _hidden(finding: Finding, redactor: Redactor) -> Finding:
    return replace(finding, detail=redactor.text(finding.detail), mend=redactor.text(finding.mend))
