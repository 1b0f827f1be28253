"""Secrets as operators write them down."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest

from bridge.domain.credentials import (
    PUBLISHED_SECRET,
    bearer_digests,
    fault,
    keys,
    token_digests,
    webhook_keys,
)
from bridge.domain.errors import SettingsInvalid

GOOD = "k7Jq2vX9mB4nR8sT1wZ5cF3gH6dL0pYa"
HASH = sha256(GOOD.encode()).hexdigest()


@pytest.mark.parametrize(
    "secret",
    [
        "change-me-in-production",
        "Change-Me-In-Production",
        "please-change-me-before-you-go-live-with-it",
        "secret",
        "SECRET",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long-and-secure",
        "keyboard cat",
        "tiny",
        GOOD[:-1],
        "",
    ],
)
def test_a_secret_that_others_know_or_guess_is_none(secret: str):
    """What stands in a manual or is guessed in a night does not protect anything."""
    assert fault(secret.encode(), least=32) is not None
    with pytest.raises(SettingsInvalid) as refused:
        keys(secret, of="the setting", strict=True)
    assert not secret or secret not in refused.value.detail


def test_keys_are_several_while_one_replaces_another():
    """Both count; the demo takes the published one too."""
    assert fault(GOOD.encode(), least=32) is None
    assert keys(f"{GOOD}\n {GOOD[::-1]}\n", of="X", strict=True) == (
        GOOD.encode(),
        GOOD[::-1].encode(),
    )
    assert keys("change-me-in-production", of="X", strict=False) == (PUBLISHED_SECRET,)
    with pytest.raises(SettingsInvalid, match="Secret 2 of X is too short"):
        keys(f"{GOOD} tiny", of="X", strict=True)


def test_tokens_are_kept_as_hashes():
    """A file of tokens may hold hashes only; in clear or hashed, a token is the same."""
    text = f"# of the build\nci={GOOD}, ops = sha256:{HASH}\n\nci={GOOD[::-1]}"
    assert token_digests(text, of="X", strict=True) == (
        ("ci", bytes.fromhex(HASH)),
        ("ops", bytes.fromhex(HASH)),
        ("ci", sha256(GOOD[::-1].encode()).digest()),
    )
    assert token_digests(" ,\n#\n", of="X", strict=True) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ci", "Entry 1 of X is not NAME=SECRET"),
        (f"ci={GOOD},={GOOD}", "Entry 2"),
        ("ci=", "Entry 1"),
        (f"c i={GOOD}", "Entry 1"),
        (f"user:default/ann={GOOD}", "Entry 1"),
        ("ci=tiny", "'ci' in X is too short"),
        ("ci=change-me-to-something-longer", "'ci' in X is one that everybody knows"),
        ("ci=sha256:abc", "64 hex digits"),
        (f"ci=sha256:{HASH.upper()}", "64 hex digits"),
    ],
)
def test_an_entry_that_cannot_be_right_is_named(text: str, sentence: str):
    """A slip in the settings is found at the start and not shown in clear."""
    with pytest.raises(SettingsInvalid, match=sentence) as refused:
        token_digests(text, of="X", strict=True)
    assert GOOD not in refused.value.detail
    assert "tiny" not in refused.value.detail


def test_one_holder_may_have_two_tokens():
    """The workflows' token rotates as others do."""
    found = bearer_digests(f"{GOOD} sha256:{HASH}\n", of="PLATFORM_API_TOKEN", strict=True)
    assert [digest for _, digest in found] == [bytes.fromhex(HASH)] * 2
    with pytest.raises(SettingsInvalid, match="PLATFORM_API_TOKEN is too short"):
        bearer_digests("p", of="PLATFORM_API_TOKEN", strict=True)
    with pytest.raises(SettingsInvalid, match="PLATFORM_API_TOKEN is empty"):
        bearer_digests(" ", of="PLATFORM_API_TOKEN", strict=False)
    assert bearer_digests("p", of="PLATFORM_API_TOKEN", strict=False)


def whsec(key: bytes) -> str:
    """A secret as senders show it."""
    return f"whsec_{base64.b64encode(key).decode()}"


def test_webhook_secrets_are_as_senders_show_them():
    """What the other side shows is pasted as it is."""
    key = GOOD.encode()
    found = webhook_keys(f"git={whsec(key)}\ngit={whsec(key[:24])}", of="X", strict=True)
    assert found == (("git", key), ("git", key[:24]))


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        (GOOD, "not start with whsec_"),
        ("whsec_!", "not base64"),
        (whsec(b"x" * 23), "too short"),
        (whsec(b"change-me-in-production-or-not"), "everybody knows"),
    ],
)
def test_a_webhook_secret_that_is_none_is_named(secret: str, sentence: str):
    """A slip is found at the start."""
    with pytest.raises(SettingsInvalid, match=f"'git' in X .*{sentence}"):
        webhook_keys(f"git={secret}", of="X", strict=True)
