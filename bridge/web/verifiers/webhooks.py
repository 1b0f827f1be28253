"""Signed webhooks (Standard Webhooks 1.0.0, symmetric signatures).

Knows the three headers and what is signed. Must not know what a request asks for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated
from bridge.ports import Clock

ID, TIMESTAMP, SIGNATURE = b"webhook-id", b"webhook-timestamp", b"webhook-signature"
TOLERANCE_SECONDS = 300
_MOST_SIGNATURES = 16
_ID = re.compile(rb"[!-\-/-~]{1,255}")
"""Visible, and without a full stop: it parts what is signed, so one could be moved across it."""
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")

Secrets = Callable[[], Sequence[tuple[str, bytes]]]
"""Names of senders and their secrets that count now; a sender may have several."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Verifies that a body was signed by a sender whose secret is known."""

    secrets: Secrets
    clock: Clock

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request says that it is signed."""
        return SIGNATURE in headers and b"authorization" not in headers

    def verify(self, headers: Mapping[bytes, bytes], body: bytes) -> Caller:
        """Who sent it.

        Raises:
            Unauthenticated: The headers are not right, it is too old or too new, or nobody whom we
                know signed it.
        """
        signed_id, timestamp = headers.get(ID, b""), headers.get(TIMESTAMP, b"")
        if _ID.fullmatch(signed_id) is None or _TIMESTAMP.fullmatch(timestamp) is None:
            raise Unauthenticated(
                "A signed webhook needs a webhook-id (1 to 255 visible characters, no full stop) "
                "and a webhook-timestamp (seconds)."
            )
        if abs(self.clock.now().timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
            raise Unauthenticated("The webhook was signed too long ago: compare the clocks.")
        sender = self._sender(b".".join((signed_id, timestamp, body)), headers[SIGNATURE])
        if sender is None:
            raise Unauthenticated("The webhook is not signed by anybody that this bridge knows.")
        return Caller(f"webhook:{sender}")

    def _sender(self, content: bytes, header: bytes) -> str | None:
        """Whose signature is among those of the header; all are compared, in constant time."""
        sent = [part[3:] for part in header.split()[:_MOST_SIGNATURES] if part.startswith(b"v1,")]
        found: str | None = None
        for name, secret in self.secrets():
            expected = hmac.digest(secret, content, "sha256")
            for signature in sent:
                if hmac.compare_digest(_decoded(signature), expected):
                    found = name
        return found


def _decoded(signature: bytes) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except binascii.Error:
        return b""
