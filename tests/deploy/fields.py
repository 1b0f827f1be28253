"""Fields of manifests, and of other files of YAML or JSON, by the paths that documentation uses.

`Kind namespace/name: spec.containers[0].env[name=X].value`, or the path alone. Knows nothing of
what is in the files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifests import ROOT, Document

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")


class NoSuchField(AssertionError):
    """What is looked for is not there; the text says up to where it was found."""


def read(file: str, field: str) -> Any:
    """The value of a field in a file of the repository; without a field, the file's text.

    Text that is itself YAML, as in a ConfigMap, is read where the path goes on into it.

    Raises:
        NoSuchField: no such object, or no such field in it.
    """
    if not field:
        return (ROOT / file).read_text()
    selector, manifest, path = field.rpartition(": ")
    if not manifest:
        return at(yaml.safe_load((ROOT / file).read_text()), field)
    return at(_document(ROOT / file, selector), path)


def at(value: Any, path: str) -> Any:
    """The value at a path: names, `[index]`, `[key with dots]` or `[key=value]` in a list.

    Raises:
        NoSuchField: the path leads nowhere.
    """
    seen = ""
    for match in _STEP.finditer(path):
        seen += match[0]
        if isinstance(value, str):
            value = yaml.safe_load(value)
        try:
            value = _step(value, match[1] or match[2])
        except (KeyError, IndexError, StopIteration, TypeError, ValueError):
            raise NoSuchField(seen) from None
    return value


def _step(value: Any, name: str) -> Any:
    if not isinstance(value, list):
        return value[name]
    key, equals, wanted = name.partition("=")
    return next(each for each in value if each.get(key) == wanted) if equals else value[int(name)]


def _document(path: Path, selector: str) -> Document:
    kind, _, title = selector.partition(" ")
    namespace, _, name = title.rpartition("/")
    for document in yaml.safe_load_all(path.read_text()):
        metadata = document.get("metadata", {})
        if (
            document["kind"] == kind
            and (not name or metadata["name"] == name)
            and (not namespace or metadata["namespace"] == namespace)
        ):
            found: Document = document
            return found
    raise NoSuchField(f"{path.name}: {selector}")
