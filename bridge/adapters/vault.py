"""Secrets under a key of the operator: sealed for the store, and told apart without being shown.

Knows AES-256-GCM, HKDF and HMAC (RFC 5116, 5869, 2104). Must not know what is sealed, nor where it
is kept.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge.domain.errors import SecretsUnreadable
from bridge.ports import Sealed

_NONCE = 12


class KeyVault:
    """A Vault over keys that may rotate: the first one seals, each of them opens."""

    def __init__(self, keys: Callable[[], tuple[bytes, ...]]) -> None:
        self._keys = keys

    def seal(self, values: Mapping[str, str], *, run_id: str) -> Sealed:
        """See Vault."""
        key = next(iter(self._keys()), None)
        if key is None:
            raise SecretsUnreadable("There is no key to keep secrets with: set BRIDGE_SECRET_KEY.")
        text = json.dumps(values, sort_keys=True).encode()
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + AESGCM(_derived(key, "seal")).encrypt(nonce, text, run_id.encode())
        mark = hmac.new(_derived(key, "mark"), text, sha256).hexdigest()
        return Sealed(text=base64.b64encode(sealed).decode(), mark=mark)

    def open(self, text: str, *, run_id: str) -> dict[str, str]:
        """See Vault."""
        sealed = base64.b64decode(text)
        for key in self._keys():
            try:
                opened = AESGCM(_derived(key, "seal")).decrypt(
                    sealed[:_NONCE], sealed[_NONCE:], run_id.encode()
                )
            except InvalidTag:
                continue
            found: dict[str, str] = json.loads(opened)
            return found
        raise SecretsUnreadable(
            "The secrets of the run cannot be read any more, because BRIDGE_SECRET_KEY has "
            "changed: ask for the run again."
        )


def _derived(key: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose."""
    info = f"backstage-argo-bridge {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)
