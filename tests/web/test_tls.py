"""HTTPS by the bridge itself."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import pytest

from bridge.adapters.http import HttpError, client
from bridge.domain.errors import SettingsInvalid
from bridge.web import server
from bridge.web.tls import Certificate
from tests.web.certificates import trusting, write_certificate
from tests.web.making import AUTHORIZED, served, settings_for, until


def changed(file: Path) -> None:
    """Make sure that a look at the file's age sees a change."""
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))


async def test_the_bridge_serves_https(tmp_path: Path):
    """With a certificate everything goes by TLS 1.2 or later, and browsers remember it."""
    chain, key = write_certificate(tmp_path)
    settings = settings_for(tls_cert_file=chain, tls_key_file=key)
    assert settings.url == "https://127.0.0.1:8080"
    async with served(settings) as rig:
        port = rig.http.base_url.port
        url = f"https://localhost:{port}"
        async with client(url, timeout=10, connections=1, verify=trusting(chain)) as http:
            answer = await http.get("/v1/actions", headers=AUTHORIZED)
        old = trusting(chain)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        async with client(url, timeout=10, connections=1, verify=old) as http:
            older = await http.get("/healthz")
    assert (answer.status_code, older.status_code) == (200, 200)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_bridge_that_serves_takes_a_renewed_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A certificate that is replaced in its file is what the next client is shown."""
    monkeypatch.setattr(server, "RENEW_TICKS", 1)
    chain, key = write_certificate(tmp_path)
    async with served(settings_for(tls_cert_file=chain, tls_key_file=key)) as rig:
        url = f"https://localhost:{rig.http.base_url.port}"
        write_certificate(tmp_path)
        changed(chain)

        async def shown() -> bool:
            async with client(url, timeout=10, connections=1, verify=trusting(chain)) as http:
                try:
                    return (await http.get("/healthz")).status_code == 200
                except HttpError:
                    return False

        await until(shown)


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path):
    """Broken versions of TLS are not accepted."""
    chain, key = write_certificate(tmp_path)

    assert Certificate(chain, key=key).context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_taken_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """When the files are replaced, the next connection sees the new certificate."""
    caplog.set_level(logging.INFO)
    chain, key = write_certificate(tmp_path)
    certificate = Certificate(chain, key=key)
    assert shaken(certificate, trusting(chain))
    certificate.renew()
    assert not caplog.messages

    old = trusting(chain)
    write_certificate(tmp_path)
    changed(chain)
    certificate.renew()

    assert caplog.messages == ["the certificate was replaced"]
    assert shaken(certificate, trusting(chain))
    assert not shaken(certificate, old)


def test_half_a_renewal_waits_for_its_other_half(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A certificate whose key is not there yet does not take the old one out of service."""
    chain, key = write_certificate(tmp_path)
    certificate, old = Certificate(chain, key=key), trusting(chain)
    other = tmp_path / "other"
    other.mkdir()
    new_chain, new_key = write_certificate(other)

    chain.write_bytes(new_chain.read_bytes())
    changed(chain)
    certificate.renew()
    assert caplog.messages == ["the new certificate cannot be used yet"]
    assert shaken(certificate, old)
    key.unlink()
    certificate.renew()
    assert shaken(certificate, old)

    key.write_bytes(new_key.read_bytes())
    certificate.renew()
    assert shaken(certificate, trusting(new_chain))


def shaken(certificate: Certificate, context: ssl.SSLContext) -> bool:
    """Whether a client with *context* would go on talking to the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    peer = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    done: set[ssl.SSLObject] = set()
    try:
        for _ in range(4):
            for side in (peer, server):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLError:
        return False
    return len(done) == 2


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, broken: str):
    """The operator reads which files do not work, instead of a bridge that nobody can reach."""
    chain, key = write_certificate(tmp_path)
    (tmp_path / broken).write_text("nothing")

    with pytest.raises(SettingsInvalid, match=r"BRIDGE_TLS_CERT_FILE \S+tls\.crt with"):
        Certificate(chain, key=key)


def test_certificate_and_key_go_together(tmp_path: Path):
    """A forgotten half is told at the start, not served without TLS."""
    with pytest.raises(SettingsInvalid, match="go together"):
        settings_for(tls_cert_file=tmp_path)


@pytest.mark.parametrize(
    "origin", ["*", "portal.example", "https://portal.example/", "https://*.x"]
)
def test_an_origin_that_is_none_is_told_at_the_start(origin: str):
    """A list that would match nothing, or everything, does not start."""
    with pytest.raises(SettingsInvalid, match="which is no origin"):
        settings_for(cors_origins=origin)
