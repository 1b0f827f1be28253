"""What every answer says to a browser: do not guess, do not show in a frame, do not keep.

Knows the headers' defaults. Must not know which answer gets them; what an answer says itself,
stays.
"""

from __future__ import annotations

from collections.abc import Iterable

RawHeaders = Iterable[tuple[bytes, bytes]]

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

HSTS = (b"strict-transport-security", b"max-age=31536000")
"""For HTTPS only: browsers then come by HTTPS for a year."""


def secured(headers: RawHeaders, *, more: RawHeaders = ()) -> list[tuple[bytes, bytes]]:
    """*headers*, and each default that they do not set."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return [*given, *(pair for pair in (*SECURITY_HEADERS, *more) if pair[0] not in names)]
