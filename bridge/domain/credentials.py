"""Secrets as operators write them down: how they are read, and which are none.

Knows forms, lengths and placeholders that everybody knows. Must not know files or variables.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256

from bridge.domain.errors import SettingsInvalid

LEAST_KEY_BYTES = 32
"""RFC 7518, section 3.2: a key for HS256 is at least as long as its hash."""
LEAST_TOKEN_BYTES = 24
LEAST_WEBHOOK_BYTES = 24
"""Standard Webhooks 1.0.0: between 24 and 64 random bytes."""
PUBLISHED_SECRET = b"change-me-in-production".ljust(LEAST_KEY_BYTES, b"\0")
"""What the platform API's documents sign with; it counts in demo mode, which lets everybody in."""

_HASHED = "sha256:"
_WEBHOOK = "whsec_"
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PLACEHOLDERS = ("changeme", "replaceme", "changethis", "placeholder", "notsecret", "insecure")
_WELL_KNOWN = frozenset(
    {
        "secret",
        "supersecret",
        "topsecret",
        "mysecret",
        "secretkey",
        "yoursecret",
        "yoursecretkey",
        "mysecretkey",
        "supersecretkey",
        "jwtsecret",
        "password",
        "keyboardcat",
        "shhhhh",
        "your256bitsecret",
        "your384bitsecret",
        "your512bitsecret",
        "astringsecretatleast256bitslong",
        "avalidstringsecretthatisatleast512bitslongwhichisverylongandsecure",
        "demo",
        "test",
        "token",
    }
)


def fault(secret: bytes, *, least: int) -> str | None:
    """Why nobody should rely on a secret, or None; never shows it.

    Args:
        secret: The secret itself.
        least: How many bytes it has to have.
    """
    text = re.sub(r"[^a-z0-9]", "", secret.decode(errors="replace").lower())
    if text in _WELL_KNOWN or any(word in text for word in _PLACEHOLDERS):
        return "is one that everybody knows"
    if len(secret) < least:
        return f"is too short: it takes {least} bytes or more"
    return None


def keys(text: str, *, of: str, strict: bool) -> tuple[bytes, ...]:
    """Keys for HS256, separated by blanks or line ends; all of them count.

    Args:
        text: The keys; none is shown in an error.
        of: Where they are from.
        strict: Whether weak ones are refused.

    Raises:
        SettingsInvalid: There is none, or a weak one.
    """
    found = tuple(part.encode() for part in text.split())
    if not found:
        raise SettingsInvalid(f"{of} is empty")
    for number, secret in enumerate(found, 1):
        reason = fault(secret, least=LEAST_KEY_BYTES) if strict else None
        if reason is not None:
            raise SettingsInvalid(f"Secret {number} of {of} {reason}")
    # HMAC fills short keys up with zeros (RFC 2104): this changes no signature, only the length.
    return tuple(secret.ljust(LEAST_KEY_BYTES, b"\0") for secret in found)


def named(text: str, *, of: str) -> tuple[tuple[str, str], ...]:
    """``NAME=SECRET`` pairs, separated by commas or line ends; lines with a ``#`` first are notes.

    Raises:
        SettingsInvalid: Something is no such pair.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    parts = [part.strip() for line in lines for part in line.split(",") if part.strip()]
    pairs = []
    for number, part in enumerate(parts, 1):
        name, _, secret = (piece.strip() for piece in part.partition("="))
        if not secret or _NAME.fullmatch(name) is None:
            raise SettingsInvalid(f"Entry {number} of {of} is not NAME=SECRET")
        pairs.append((name, secret))
    return tuple(pairs)


def token_digests(text: str, *, of: str, strict: bool) -> tuple[tuple[str, bytes], ...]:
    """Names and the SHA-256 digests of their tokens, given in clear or as ``sha256:<hex>``.

    Raises:
        SettingsInvalid: Something is no pair, no hash, or a weak token.
    """
    return tuple(
        (name, _digest(token, whose=f"The token of {name!r} in {of}", strict=strict))
        for name, token in named(text, of=of)
    )


def _digest(token: str, *, whose: str, strict: bool) -> bytes:
    if token.startswith(_HASHED):
        if _HASH.fullmatch(token) is None:
            raise SettingsInvalid(f"{whose} is not sha256:<64 hex digits>")
        return bytes.fromhex(token.removeprefix(_HASHED))
    reason = fault(token.encode(), least=LEAST_TOKEN_BYTES) if strict else None
    if reason is not None:
        raise SettingsInvalid(f"{whose} {reason}")
    return sha256(token.encode()).digest()


def bearer_digests(text: str, *, of: str, strict: bool) -> tuple[tuple[str, bytes], ...]:
    """As ``token_digests``, for one token or several of one holder, separated by blanks.

    Raises:
        SettingsInvalid: There is none, or a weak one.
    """
    found = tuple((of, _digest(token, whose=of, strict=strict)) for token in text.split())
    if not found:
        raise SettingsInvalid(f"{of} is empty")
    return found


def webhook_keys(text: str, *, of: str, strict: bool) -> tuple[tuple[str, bytes], ...]:
    """Names of senders and their keys, given as ``NAME=whsec_<base64>`` (Standard Webhooks 1.0.0).

    Raises:
        SettingsInvalid: Something is no pair, no such secret, or a weak one.
    """
    return tuple(
        (name, _webhook_key(secret, whose=f"The secret of {name!r} in {of}", strict=strict))
        for name, secret in named(text, of=of)
    )


def _webhook_key(secret: str, *, whose: str, strict: bool) -> bytes:
    if not secret.startswith(_WEBHOOK):
        raise SettingsInvalid(f"{whose} does not start with {_WEBHOOK}")
    try:
        key = base64.b64decode(secret.removeprefix(_WEBHOOK), validate=True)
    except binascii.Error as error:
        raise SettingsInvalid(f"{whose} is not base64") from error
    reason = fault(key, least=LEAST_WEBHOOK_BYTES) if strict else None
    if reason is not None:
        raise SettingsInvalid(f"{whose} {reason}")
    return key
