"""YAML of manifests as kubectl reads it: documents one after the other, JSON-like values.

Knows YAML 1.1 the way Go's sigs.k8s.io/yaml turns it into JSON (`y` and `no` are booleans, times
stay text, keys become strings). Must not know kinds of objects.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from itertools import count
from typing import Any

import yaml

MAX_MANIFEST = 1_000_000
MAX_VALUES = 100_000
"""Of one document, aliases written out."""
_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_GO_BOOLEANS = re.compile(r"^(?:y|Y|n|N)$")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
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
            if key_node.tag != _MERGE:
                key, line = self._key(key_node), key_node.start_mark.line + 1
                if key in seen:
                    raise ManifestError(
                        f'yaml: unmarshal errors:\n  line {line}: key "{key}" already set in map'
                    )
                seen.add(key)
        self.flatten_mapping(node)
        return {
            self._key(key_node): self.construct_object(value_node, deep=deep)
            for key_node, value_node in node.value
        }

    def _key(self, node: yaml.Node) -> str:
        """Return the key as JSON has it; 1 and true are two keys, unlike in Python."""
        key = self.construct_object(node, deep=True)
        if isinstance(key, dict | list):
            raise ManifestError(f"yaml: line {node.start_mark.line + 1}: invalid map key: {key}")
        return "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)

    def go_number(self, node: yaml.ScalarNode) -> Any:
        """Go reads no numbers to base 60: 12:30 is text."""
        text = self.construct_scalar(node)
        if ":" in text:
            return text
        return (
            self.construct_yaml_int(node) if node.tag == _INT else self.construct_yaml_float(node)
        )


_Loader.add_constructor(_INT, _Loader.go_number)
_Loader.add_constructor(_FLOAT, _Loader.go_number)
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
        return _json_like(yaml.load(text, Loader=_Loader), count())  # noqa: S506 - the loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"yaml: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ManifestError(f"yaml: {error}") from error


def _json_like(value: Any, values: Iterator[int]) -> Any:
    if next(values) > MAX_VALUES:
        raise ManifestError("yaml: document contains excessive aliasing")
    if isinstance(value, dict):
        return {key: _json_like(item, values) for key, item in value.items()}
    if isinstance(value, set):
        return dict.fromkeys(sorted(value))
    if isinstance(value, list):
        return [_json_like(item, values) for item in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value
