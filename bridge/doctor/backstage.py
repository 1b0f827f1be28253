"""Checks of Backstage: its keys, its catalog, and whether the catalog may read from the bridge.

Knows the catalog's REST API (research: backstage-live, section 7). Must not register anything:
a location is tried as a dry run, which reads and processes it for real.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from bridge.adapters.http import client, tls_context, token_source
from bridge.adapters.keys import KeySets, keys_of_backstage
from bridge.adapters.probe import Answer, NoAnswer, Probe
from bridge.adapters.system import SystemClock
from bridge.doctor.issuers import check_keys
from bridge.domain.checkups import Finding, certificate_of, clock_of, failed, ok, skipped
from bridge.domain.entities import cluster_document
from bridge.settings import Settings
from bridge.web.verifiers.backstage import USER_KEYS, plugin_keys

_SECONDS = 15.0
_REACH = "Let BRIDGE_BACKSTAGE_URL be the address of the Backstage backend as this machine sees it."
_KEYS = "Let BRIDGE_TRUSTED_PLUGINS name plugins that this Backstage has; it must be started."
_LET_IN = (
    "In app-config.yaml, backend.auth.externalAccess needs a static entry with the token of "
    "BRIDGE_BACKSTAGE_TOKEN and accessRestrictions: [{plugin: catalog}]."
)


async def check_backstage(settings: Settings) -> list[Finding]:
    """Everything of the Backstage of the settings."""
    if settings.backstage_url is None:
        return [skipped("Backstage", "BRIDGE_BACKSTAGE_URL is not set: no catalog, no tokens")]
    given = settings.backstage_token
    token = token_source(
        value=given.get_secret_value() if given is not None else None,
        file=settings.backstage_token_file,
    )
    tls = tls_context(ca_file=settings.ca_file)
    async with client(settings.backstage_url, timeout=_SECONDS, connections=8, verify=tls) as http:
        probe = Probe(http, token=token, patience=_SECONDS)
        keys = keys_of_backstage(http, clock=SystemClock())
        try:
            return await _all(settings, probe, keys)
        except NoAnswer as error:
            return [failed("Backstage", f"{settings.backstage_url}: {error}", mend=_REACH)]


async def _all(settings: Settings, probe: Probe, keys: KeySets) -> list[Finding]:
    answer = await probe.ask("GET", "/api/catalog/entities", query={"limit": "1"})
    now = datetime.now(UTC)
    found = [
        ok("Backstage", f"answers at {settings.backstage_url}"),
        clock_of("Backstage", here=now, there=answer.date),
    ]
    if answer.certificate_ends is not None:
        found.append(certificate_of("Backstage", ends=answer.certificate_ends, now=now))
    found += await _keys(settings, keys)
    found.append(_catalog(answer))
    if answer.good:
        found.append(await _location(settings, probe))
    return found


async def _keys(settings: Settings, keys: KeySets) -> list[Finding]:
    places = {f"keys of plugin {name}": plugin_keys(name) for name in settings.trusted_plugins}
    if settings.user_issuer is not None:
        places["keys of users"] = USER_KEYS
    found = [
        check_keys(f"Backstage: {what}", keys, place, mend=_KEYS) for what, place in places.items()
    ]
    return list(await asyncio.gather(*found))


def _catalog(answer: Answer) -> Finding:
    check = "Backstage: catalog"
    if answer.good:
        return ok(check, "takes the token")
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return failed(check, f"refuses the token: {answer.reason}", mend=_LET_IN)
    return failed(check, f"{answer.status}: {answer.reason}", mend=_REACH)


async def _location(settings: Settings, probe: Probe) -> Finding:
    """A dry run of the cluster's own document: read from the bridge, checked by the rules.

    It is read for real also when it is registered already.
    """
    check = "Backstage: registration"
    cluster = cluster_document(settings.cluster, owner=settings.cluster_owner)
    target = f"{settings.url}{cluster.path}"
    answer = await probe.ask(
        "POST",
        "/api/catalog/locations",
        query={"dryRun": "true"},
        body={"type": "url", "target": target},
    )
    if answer.good:
        return ok(check, f"the catalog reads {target} and takes its Resource")
    return failed(check, answer.reason, mend=_mend(settings, answer))


def _mend(settings: Settings, answer: Answer) -> str:
    reason = answer.reason
    host = urlsplit(settings.url).netloc
    if "reading.allow" in reason:
        return (
            "In app-config.yaml, backend.reading.allow needs "
            f"{{host: '{host}', paths: ['/catalog/']}}: host and port as in BRIDGE_PUBLIC_URL."
        )
    if "not of an allowed kind" in reason:
        return "In app-config.yaml, catalog.rules must allow the kind Resource."
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return (
            "The token of the bridge needs the permission catalog.location.create; "
            "catalog.readonly must not be set."
        )
    return (
        "Let the bridge run, and BRIDGE_PUBLIC_URL be an address under which Backstage reaches it "
        "(network policies, DNS, TLS)."
    )
