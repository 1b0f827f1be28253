"""Checks of what is the bridge's own: definitions, store, disk, certificate, public address.

Knows the settings and local files. Must not know Argo or Backstage.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

from bridge.adapters import postgres, sqlite
from bridge.adapters.definitions import DefinitionFolders
from bridge.adapters.http import client, tls_context
from bridge.adapters.probe import NoAnswer, Probe, certificate_end
from bridge.adapters.system import SystemClock
from bridge.domain.checkups import Finding, certificate_of, failed, ok, skipped
from bridge.domain.definitions import Catalogue
from bridge.domain.errors import StoreUnavailable
from bridge.identity import authenticator_of
from bridge.known_secrets import vault_of
from bridge.settings import Settings

_LEAST_FREE = 256 * 1024 * 1024
_SECONDS = 5.0


async def check_installation(settings: Settings) -> list[Finding]:
    """Everything of the bridge's own."""
    return [
        _settings(settings),
        await asyncio.to_thread(_definitions, settings),
        await asyncio.to_thread(_store, settings),
        *_disk(settings),
        *_certificate(settings),
        await _address(settings),
    ]


def _settings(settings: Settings) -> Finding:
    """Reads every file of secrets. Raises SettingsInvalid, as starting would."""
    authenticator_of(settings, None, clock=SystemClock())
    vault_of(settings)
    settings.issuers()
    return ok("settings", "all can be read")


def _definitions(settings: Settings) -> Finding:
    sealed = vault_of(settings) is not None
    folders = DefinitionFolders((settings.actions,), secrets=sealed)
    catalogue = folders.load(last_good=Catalogue(files={}))
    if catalogue.problems:
        first = catalogue.problems[0]
        more = f"; {len(catalogue.problems) - 1} more" if len(catalogue.problems) > 1 else ""
        return failed(
            "definitions",
            f"{first.file}:{first.line}: {first.message}{more}",
            mend=f"bridge actions validate {settings.actions} lists all of them.",
        )
    return ok("definitions", f"{len(catalogue.actions)} actions in {settings.actions}")


def _store(settings: Settings) -> Finding:
    try:
        address = settings.postgres()
        if address is not None:
            pending = postgres.pending_migrations(address)
        else:
            pending = sqlite.pending_migrations(settings.database)
    except StoreUnavailable as error:
        return failed(
            "store",
            error.detail,
            mend="Let BRIDGE_DATABASE or BRIDGE_DATABASE_URL name a store of this version that "
            "can be reached.",
        )
    if address is None:
        made = f", {len(pending)} migrations are applied at the start" if pending else ""
        return ok("store", f"SQLite at {settings.database}{made}")
    if pending:
        return failed(
            "store", f"PostgreSQL lacks migration {pending[0]}", mend="Run bridge migrate."
        )
    return ok("store", "PostgreSQL, up to date")


def _disk(settings: Settings) -> list[Finding]:
    """Room for the SQLite file; PostgreSQL looks after its own."""
    if settings.postgres() is not None:
        return []
    folder = next(place for place in settings.database.absolute().parents if place.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free // 2**20} MiB are free for {settings.database}"
    if free < _LEAST_FREE:
        mend = "Enlarge the volume, or keep runs for less time (BRIDGE_KEEP_RUNS_DAYS)."
        return [failed("disk", detail, mend=mend)]
    return [ok("disk", detail)]


def _certificate(settings: Settings) -> list[Finding]:
    file = settings.tls_cert_file
    if file is None:
        return []
    try:
        ends = certificate_end(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        mend = "Let BRIDGE_TLS_CERT_FILE be a PEM file that this user may read."
        return [failed("bridge certificate", f"{file}: {error}", mend=mend)]
    return [certificate_of("bridge", ends=ends, now=datetime.now(UTC))]


async def _address(settings: Settings) -> Finding:
    check = "public address"
    if settings.port == 0 and not settings.public_url:
        return skipped(check, "the system chooses the port")
    mend = (
        "Start the bridge, and let BRIDGE_PUBLIC_URL be the address under which Backstage reaches "
        "it: the catalog reads entities there."
    )
    tls = tls_context(ca_file=settings.ca_file)
    async with client(settings.url, timeout=_SECONDS, connections=1, verify=tls) as http:
        try:
            answer = await Probe(http, patience=_SECONDS).ask("GET", "/healthz")
        except NoAnswer as error:
            if settings.backstage_url is not None:  # a network policy may keep us from ourselves
                why = f"{settings.url} cannot be reached from here ({error})"
                return skipped(check, f"{why}; what counts is whether Backstage reaches it, below")
            return failed(check, f"{settings.url}: {error}", mend=mend)
    if not answer.good or not isinstance(answer.body, dict):
        return failed(check, f"{settings.url} is not the bridge ({answer.status})", mend=mend)
    return ok(check, f"the bridge answers at {settings.url}")
