"""The certificate of the server, which is replaced while it serves.

Knows certificate files. Must not know the server.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from bridge.domain.errors import SettingsInvalid

_log = logging.getLogger(__name__)
_State = tuple[tuple[int, int], ...]


class Certificate:
    """A chain and its key; connections that begin after a change see the new ones."""

    def __init__(self, chain: Path, *, key: Path) -> None:
        """Read the files (PEM).

        Raises:
            SettingsInvalid: They cannot be read, or do not fit each other.
        """
        self._chain = chain
        self._key = key
        self._seen = self._state()
        try:
            self.context = self._load(_context())
        except OSError as error:  # ssl.SSLError is one
            raise SettingsInvalid(
                f"BRIDGE_TLS_CERT_FILE {chain} with BRIDGE_TLS_KEY_FILE {key}: {error}"
            ) from error

    def renew(self) -> None:
        """Read the files again if they have changed; half a change waits for its other half."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            # Loading what does not fit would leave the context in use without a key.
            self._load(_context())
            self._load(self.context)
        except OSError as error:
            _log.warning("the new certificate cannot be used yet", extra={"reason": str(error)})
        else:
            _log.info("the certificate was replaced")

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_cert_chain(self._chain, self._key, password=_no_password)
        return context

    def _state(self) -> _State:
        found = []
        for file in (self._chain, self._key):
            try:
                state = file.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((state.st_mtime_ns, state.st_size))
        return tuple(found)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_password() -> str:
    """For a key that is encrypted: OpenSSL would ask on the terminal and wait."""
    return ""
