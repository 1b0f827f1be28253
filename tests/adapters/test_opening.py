"""What the settings say of the way to each peer: authorities and the proxy."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.entities import EntityRef
from bridge.domain.errors import (
    CatalogUnavailable,
    EngineUnavailable,
    IssuerUnavailable,
    SettingsInvalid,
)
from bridge.opening import TARGET, open_adapters
from bridge.settings import Settings
from tests.adapters.replay import Reply, json_reply, replay
from tests.web.certificates import write_certificate

LISTING = json_reply({"metadata": {"resourceVersion": "7"}, "items": []})
ENTITY = json_reply({"metadata": {"name": "a"}})


def issuer(url: str) -> str:
    """The setting for one issuer at *url*."""
    return json.dumps([{"name": "idp", "issuer": url, "audience": ["bridge"]}])


def serving(chain: Path, key: Path) -> ssl.SSLContext:
    """The context of a peer with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


async def asked(settings: Settings) -> list[str]:
    """What came of a question to each peer that the settings name."""
    told = []
    async with open_adapters(settings) as adapters:
        try:
            told.append((await adapters.engines[TARGET].listing()).resource_version)
        except EngineUnavailable as error:
            told.append(error.code)
        if adapters.catalog is not None:
            try:
                told.append(str(await adapters.catalog.entity(EntityRef.parse("user:a"))))
            except CatalogUnavailable as error:
                told.append(error.code)
        for one, keys in adapters.issuers:
            try:
                told.append(str(await keys.key(one.issuer, kid="k")))
            except IssuerUnavailable as error:
                told.append(error.code)
    return told


def settings_for(url: str, *, folder: Path, **more: Any) -> Settings:
    """Settings whose peers are all at *url*."""
    return Settings(
        demo=True,
        host="127.0.0.1",
        database=folder / "bridge.db",
        argo_url=url,
        backstage_url=url,
        oidc_issuers=issuer(url),
        **more,
    )


async def test_a_private_authority_is_trusted_for_every_peer(tmp_path: Path):
    """Argo, Backstage and an issuer with certificates of the house are asked, and no others."""
    chain, key = write_certificate(tmp_path)

    def answers(url: str) -> list[Reply]:
        discovery = json_reply({"issuer": url, "jwks_uri": f"{url}/keys"})
        return [LISTING, ENTITY, discovery, json_reply({"keys": []})]

    replies: list[Reply] = []
    async with replay(replies, tls=serving(chain, key)) as peer:
        replies += answers(peer.url)
        trusted = await asked(settings_for(peer.url, folder=tmp_path, ca_file=chain))
        seen = len(peer.received)
        strangers = await asked(settings_for(peer.url, folder=tmp_path))
    assert trusted == ["7", "{'metadata': {'name': 'a'}}", "None"]
    assert seen == 4
    assert strangers == ["engine_unreached", "catalog_unavailable", "issuer_unavailable"]
    assert len(peer.received) == 4


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_a_file_of_authorities_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, text: str | None
):
    """Not at the first run: the bridge does not start, and the setting is named."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    settings = Settings(demo=True, host="127.0.0.1", ca_file=file, database=tmp_path / "b.db")
    with pytest.raises(SettingsInvalid, match="BRIDGE_CA_FILE"):
        await asked(settings)


async def test_issuers_are_asked_by_the_proxy_of_the_settings(tmp_path: Path):
    """An issuer on the internet is reached by the proxy of the house; Argo is not asked by it."""
    async with replay([Reply(503)]) as proxy, replay([LISTING]) as argo:
        settings = Settings(
            demo=True,
            host="127.0.0.1",
            database=tmp_path / "bridge.db",
            argo_url=argo.url,
            oidc_issuers=issuer("https://login.example/t"),
            issuer_proxy=proxy.url,
        )
        assert await asked(settings) == ["7", "issuer_unavailable"]
    assert [(one.method, one.target) for one in proxy.received] == [
        ("CONNECT", "login.example:443")
    ]


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://p:1", "http://a:pw@p:1", "http://p/x"])
def test_a_proxy_that_is_none_is_told_at_the_start(proxy: str):
    """What is no plain address is refused by the setting's name, and not shown."""
    with pytest.raises(SettingsInvalid, match="BRIDGE_ISSUER_PROXY") as caught:
        Settings(demo=True, host="127.0.0.1", issuer_proxy=proxy)
    assert proxy not in str(caught.value)
