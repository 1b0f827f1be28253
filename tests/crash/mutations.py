"""Faults put into the product on purpose: each must be found by the checker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

MUTATIONS: Mapping[str, Callable[[], None]] = {}


def mutate(name: str) -> None:
    """Break this process in the way *name*; nothing for an empty name."""
    if name:
        MUTATIONS[name]()
