"""Query parameters, checked.

Knows how a number in a query may look. Must not know what it is for.
"""

from __future__ import annotations

from starlette.requests import Request

from bridge.domain.errors import RequestInvalid


def whole_number(request: Request, name: str, *, default: int, largest: int) -> int:
    """A parameter from 1 to *largest*.

    Raises:
        RequestInvalid: It is anything else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= largest:
        raise RequestInvalid(f"{name} must be a whole number from 1 to {largest}")
    return int(text)
