"""RFC 6902 patches: `add`, `remove`, `replace`, `test`, `copy` and `move`.

Knows JSON Pointers and JSON-like values. Must not know Kubernetes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


class JsonPatchError(Exception):
    """A patch that is none, or does not fit the document; `str()` is one sentence."""


def apply_json_patch(document: Any, patch: Any) -> Any:
    """Return a changed copy of `document`; raise JsonPatchError and change nothing."""
    if not isinstance(patch, list):
        raise JsonPatchError("a json patch is a list of operations")
    root = {"": copy.deepcopy(document)}
    for operation in patch:
        if not isinstance(operation, Mapping):
            raise JsonPatchError("an operation of a json patch is an object")
        _apply(root, operation)
    return root[""]


def _apply(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    name, path = operation.get("op"), _pointer(operation, "path")
    if name in ("copy", "move"):
        source = _pointer(operation, "from")
        value = copy.deepcopy(_read(root, source))
        if name == "move":
            _remove(root, source)
        _add(root, path, value)
    elif name == "remove":
        _remove(root, path)
    elif name in ("add", "replace", "test") and "value" in operation:
        _write(root, str(name), path, operation["value"])
    else:
        raise JsonPatchError(f"unknown operation {name} or no value")


def _write(root: dict[str, Any], name: str, path: list[str], value: Any) -> None:
    if name == "test":
        if _read(root, path) != value:
            raise JsonPatchError(f"testing path {_shown(path)} failed")
        return
    if name == "replace":
        _remove(root, path)
    _add(root, path, copy.deepcopy(value))


def _pointer(operation: Mapping[str, Any], field: str) -> list[str]:
    """Return the keys from an imagined root that holds the document under ""."""
    path = operation.get(field)
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise JsonPatchError(f"{field} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]


def _shown(path: list[str]) -> str:
    return "/".join(path) or "/"


def _read(root: Any, path: list[str]) -> Any:
    value = root
    for key in path:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list):
            value = value[_index(value, key, path, end=len(value) - 1)]
        else:
            raise JsonPatchError(f"nothing at the path {_shown(path)}")
    return value


def _index(items: list[Any], key: str, path: list[str], *, end: int) -> int:
    if key == "-" and end == len(items):
        return end
    if not (key.isascii() and key.isdecimal() and int(key[:9]) <= end):
        raise JsonPatchError(f"nothing at the path {_shown(path)}")
    return int(key)


def _add(root: Any, path: list[str], value: Any) -> None:
    parent = _read(root, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], path, end=len(parent)), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise JsonPatchError(f"nothing at the path {_shown(path)}")


def _remove(root: Any, path: list[str]) -> None:
    _read(root, path)
    parent = _read(root, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
