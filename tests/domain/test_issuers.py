"""Issuers of OpenID Connect as operators describe them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.domain.errors import SettingsInvalid
from bridge.domain.issuers import OidcIssuer, issuers

ENTRA = {
    "name": "entra",
    "issuer": "https://login.example/tenant/v2.0",
    "audience": "api://bridge",
}


def read(*described: dict[str, Any]) -> tuple[OidcIssuer, ...]:
    """Issuers from their JSON."""
    return issuers(json.dumps(described), of="BRIDGE_OIDC_ISSUERS")


def test_three_words_describe_an_issuer():
    """A name, an address and an audience are enough; all else has its usual meaning."""
    (one,) = read(ENTRA)
    assert one.audience == ("api://bridge",)
    assert one.discovery == "https://login.example/tenant/v2.0/.well-known/openid-configuration"
    assert (one.algorithms, one.user_claim, one.groups_claim) == (("RS256",), "sub", "groups")
    assert read() == ()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"issuer": "http://login.example"}, "https://"),
        ({"issuer": "https://user@login.example"}, "https://"),
        ({"issuer": "https://login.example?x=1"}, "https://"),
        ({"issuer": "https://"}, "https://"),
        ({"issuer": "https://[::1"}, "https://"),
        ({"issuer": "https://login.example:port"}, "https://"),
        ({"issuer": "login.example"}, "https://"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"audience": []}, "audience"),
        ({"audience": ""}, "audience"),
        ({"name": "a/b"}, "name"),
        ({"tenant": "A"}, "tenant"),
        ({"userClam": "oid"}, "userClam"),
    ],
)
def test_a_description_that_would_let_others_in_does_not_start(
    changed: dict[str, Any], sentence: str
):
    """A slip in a description is a sentence at the start."""
    with pytest.raises(SettingsInvalid, match=sentence):
        read({**ENTRA, **changed})


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "[" * 5_000])
def test_what_is_no_list_of_issuers_does_not_start(text: str):
    """So is a file of something else."""
    with pytest.raises(SettingsInvalid, match="BRIDGE_OIDC_ISSUERS"):
        issuers(text, of="BRIDGE_OIDC_ISSUERS")


@pytest.mark.parametrize("same", ["name", "issuer"])
def test_two_issuers_are_two(same: str):
    """Two issuers of one name would make one person of two."""
    other = {**ENTRA, "name": "other", "issuer": "https://other.example"}
    with pytest.raises(SettingsInvalid, match="same name or address"):
        read(ENTRA, {**other, same: ENTRA[same]})


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("https://login.example/keys", True),
        ("https://LOGIN.example/keys", True),
        ("https://keys.example:8443/keys", True),
        ("https://keys.example/keys", False),
        ("http://login.example/keys", False),
        ("https://login.example.evil.com/keys", False),
        ("https://login.example@evil.com/keys", False),
        ("https://evil.com/login.example", False),
        ("https://169.254.169.254/", False),
        ("/keys", False),
        ("https://login.example/ke\nys", False),
    ],
)
def test_keys_are_read_from_configured_hosts_only(address: str, right: bool):
    """An issuer's document cannot lead the bridge into the network behind it."""
    (one,) = read({**ENTRA, "hosts": ["keys.example:8443"]})
    assert one.leads_to(address) is right


def test_an_issuer_on_loopback_may_do_without_tls():
    """Trying an issuer out takes no certificate."""
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
        (one,) = read({**ENTRA, "issuer": f"http://{host}/realm"})
        assert one.leads_to(f"http://{host}/keys")
