"""YAML text of definition folders: what it may cost to read, and the line of what is wrong.

Knows YAML. Must not know what a document means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from bridge.domain.errors import DefinitionInvalid

MAX_BYTES = 256 * 1024
"""Of one file; Argo itself takes no WorkflowTemplate of more than about 1.5 MB."""
_MAX_DEPTH = 64
_MAX_NODES = 10_000
"""Values and keys of one file, all together."""
_NUMBER = re.compile(r"[-+0-9][-+0-9a-fA-FxXo_:.]{100,}")
"""A number so long that reading it takes seconds (1:59:59… is one to base 60)."""


def documents(text: str, *, file: str) -> tuple[yaml.Node, ...]:
    """Every document of *text* as nodes, which know their lines.

    Raises:
        DefinitionInvalid: It is no YAML, too dear to read, or uses aliases; with the line.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise DefinitionInvalid(f"is larger than {MAX_BYTES // 1024} KiB", file=file, line=1)
    with yaml_refused(file):
        _check_events(text, file=file)
        return tuple(yaml.compose_all(text, Loader=yaml.CSafeLoader))


def only_document(text: str, *, file: str) -> yaml.Node | None:
    """The one document of *text*, or None if there is nothing in it; raises as `documents`."""
    found = documents(text, file=file)
    if len(found) > 1:
        line = found[1].start_mark.line + 1
        raise DefinitionInvalid("holds more than one YAML document", file=file, line=line)
    return found[0] if found else None


@contextmanager
def yaml_refused(file: str) -> Iterator[None]:
    """Turn what the parser raises into DefinitionInvalid with the line."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DefinitionInvalid(
            f"is not YAML: {error.problem or error.context}", file=file, line=line
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise DefinitionInvalid(f"is not YAML: {error}", file=file, line=1) from error


def _check_events(text: str, *, file: str) -> None:
    """Refuse what would cost too much to build: aliases, and nesting that ends the C stack."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise DefinitionInvalid("must not use YAML aliases", file=file, line=line)
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event):
            raise DefinitionInvalid("has a number of more than 100 digits", file=file, line=line)
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > _MAX_NODES:
            message = f"has more than {_MAX_NODES} keys and values"
            raise DefinitionInvalid(message, file=file, line=line)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            message = f"is nested more than {_MAX_DEPTH} levels deep"
            raise DefinitionInvalid(message, file=file, line=line)


def _is_long_number(scalar: yaml.ScalarEvent) -> bool:
    plain = scalar.implicit[0] or scalar.tag is not None
    return plain and _NUMBER.fullmatch(scalar.value) is not None
