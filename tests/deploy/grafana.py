"""What Grafana thinks of a dashboard: its own models read the JSON, and say what they do not know.

Knows the models of Grafana 10.1 (package grafana-foundation-sdk), which are made from Grafana's
schemas. Reading them drops unknown fields and checks no types: so this compares and checks.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

_Path = tuple[str, ...]


def complaints(dashboard: dict[str, Any]) -> list[str]:
    """Each field of a dashboard that Grafana does not know, or of which the type is wrong."""
    plugins.register_default_plugins()
    model = Dashboard.from_json(dashboard)
    kept = json.loads(JSONEncoder().encode(model))
    return [*_dropped(dashboard, kept, ()), *_mistyped(model, ())]


def _dropped(given: Any, kept: Any, path: _Path) -> Iterator[str]:
    """What was given and is not there, or other, in what Grafana makes of it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from _dropped(value, kept[name], (*path, name))
            elif value is not None:
                yield f"{'.'.join((*path, name))} is unknown"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, pair in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(*pair, (*path, str(index)))
    elif given != kept:
        yield f"{'.'.join(path)} became {kept!r}"


def _mistyped(model: Any, path: _Path) -> Iterator[str]:
    """The attributes of a model, and of those in it, that are not of the type it states."""
    for name, hint in typing.get_type_hints(type(model)).items():
        value = getattr(model, name)
        if not _fits(value, hint):
            yield f"{'.'.join((*path, name))} is {value!r}"
        for inner in value if isinstance(value, list) else [value]:
            if type(inner).__module__.startswith("grafana_foundation_sdk"):
                yield from _mistyped(inner, (*path, name))


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return any(_fits(value, one) for one in inside)
    if origin is typing.Literal:
        return value in inside
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inside[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inside[1]) for one in value.values())
    if hint in {Any, object}:
        return True
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [one.value for one in hint]
    number = hint in {int, float}
    if number and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if hint is float else hint)
