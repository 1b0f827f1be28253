"""Parameters of an address, checked.

Knows how a number or a name in a query or a path may look: nothing that a store could not keep.
Must not know what it is for.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from bridge.domain.errors import RequestInvalid

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_MAX_DIGITS = 9


def whole_number(request: Request, name: str, *, default: int, largest: int) -> int:
    """A parameter from 1 to *largest*.

    Raises:
        RequestInvalid: It is anything else.
    """
    given = request.query_params.get(name)
    if given is None:
        return default
    is_number = given.isascii() and given.isdigit() and len(given) <= _MAX_DIGITS
    if not is_number or not 1 <= int(given) <= largest:
        raise RequestInvalid(f"{name} must be a whole number from 1 to {largest}")
    return int(given)


def text(request: Request, name: str) -> str | None:
    """A parameter, or None if it is not given.

    Raises:
        RequestInvalid: It has control characters.
    """
    found = request.query_params.get(name)
    return None if found is None else _visible(name, found)


def path_text(request: Request, name: str) -> str:
    """A part of the path. Raises like :func:`text`."""
    return _visible(name, str(request.path_params[name]))


def _visible(name: str, found: str) -> str:
    # PostgreSQL refuses U+0000, and no name here has any other.
    if _CONTROLS.search(found):
        raise RequestInvalid(f"{name} must not contain control characters")
    return found
