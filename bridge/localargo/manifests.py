"""YAML of manifests as kubectl reads it: documents one after the other, JSON-like values.

Knows YAML 1.1 the way Go's sigs.k8s.io/yaml turns it into JSON (`y` and `no` are booleans, times
stay text, keys become strings). Must not know kinds of objects.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

MAX_MANIFEST = 1_000_000
_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_GO_BOOLEANS = re.compile(r"^(?:y|Y|n|N)$")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_BOOLEAN = "tag:yaml.org,2002:bool"


class ManifestError(Exception):
    """A text that is not YAML; `str()` is go-yaml's text (`yaml: line 2: found …`)."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the types of Go's library and no doubled keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute, replaced not shared
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = _key(self.construct_object(key_node, deep=True))
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ManifestError(
                    f'yaml: unmarshal errors:\n  line {line}: key "{key}" already set in map'
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(_BOOLEAN, _GO_BOOLEANS, list("yYnN"))
_Loader.bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


def documents(text: str) -> Iterator[Any]:
    """Yield the documents of `text` that are not empty, each parsed when it is asked for.

    So what precedes a broken document can be used, as kubectl does
    (argo-recordings/injection-manifest, inject-doc-in-expr). Raises ManifestError.
    """
    if len(text) > MAX_MANIFEST:
        raise ManifestError(f"yaml: the manifest is longer than {MAX_MANIFEST} characters")
    for part in _SEPARATOR.split(text):
        value = parse(part.removeprefix("\n"))
        if value is not None:
            yield value


def parse(text: str) -> Any:
    """Return the JSON-like value of one YAML document, None if empty; raise ManifestError."""
    try:
        return _json_like(yaml.load(text, Loader=_Loader))  # noqa: S506 - the loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"yaml: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(f"yaml: {error}") from error


def _json_like(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _json_like(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_json_like(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value


def _key(key: Any) -> str:
    if key is None or isinstance(key, bool):
        return "null" if key is None else str(key).lower()
    return str(key)
