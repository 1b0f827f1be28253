"""Static tokens: whoever knows one is its holder.

Knows their digests only. Must not know where they are configured, nor what a holder may do.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256

Holders = Callable[[], Sequence[tuple[str, bytes]]]
"""Names and the SHA-256 digests of their tokens that count now; a name may have several."""


def holder_of(token: str, holders: Holders) -> str | None:
    """Whose token it is. All are compared, each in constant time: nothing is told by how long."""
    digest = sha256(token.encode()).digest()
    found: str | None = None
    for name, expected in holders():
        if hmac.compare_digest(digest, expected):
            found = name
    return found
