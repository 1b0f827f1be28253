"""Definitions from folders: one folder an action, ``action.yaml`` and ``workflow.yaml`` in each.

Knows files. Must not know what a definition means; a bad file never takes the others down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue, merge, parse_definition
from bridge.domain.errors import DefinitionInvalid
from bridge.domain.templates import read_templates
from bridge.domain.yaml_text import MAX_BYTES, documents

Outcome = ActionDefinition | DefinitionInvalid


@dataclass(frozen=True, slots=True)
class _Templates:
    """The WorkflowTemplates of a folder: their names and what is wrong with them."""

    file: str
    names: tuple[str, ...] = ()
    errors: tuple[DefinitionInvalid, ...] = ()


class DefinitionFolders:
    """Every ``*/action.yaml`` below some roots, with the ``workflow.yaml`` beside it.

    An action whose WorkflowTemplate would run or mix up what a form holds is refused like one
    that cannot be read: whichever folder the template is in.
    """

    def __init__(self, roots: tuple[Path, ...], *, secrets: bool = True) -> None:
        """Args: *secrets* says whether there is a key to keep the secret fields of actions."""
        self._roots = roots
        self._secrets = secrets
        self._seen: tuple[tuple[str, int, int], ...] | None = None

    def load(self, *, last_good: Catalogue) -> Catalogue:
        """See DefinitionSource; nothing is read again while no file has changed."""
        seen = tuple(self._signature())
        if seen == self._seen:
            return last_good
        self._seen = seen
        return merge(self._outcomes(), last_good=last_good)

    def _signature(self) -> Iterator[tuple[str, int, int]]:
        for root in self._roots:
            for path in sorted([*root.glob("*/action.yaml"), *root.glob("*/workflow.yaml")]):
                try:
                    state = path.stat()
                except OSError:  # gone or not readable: told when it is read
                    yield str(path), 0, 0
                else:
                    yield str(path), state.st_ctime_ns, state.st_size

    def _outcomes(self) -> Iterator[tuple[str, Outcome]]:
        templates = {
            path.parent: _templates(path)
            for root in self._roots
            for path in sorted(root.glob("*/workflow.yaml"))
        }
        for root in self._roots:
            paths = sorted(root.glob("*/action.yaml"))
            if not paths:
                message = f"no */action.yaml below {root}; set BRIDGE_ACTIONS to the actions folder"
                yield str(root), DefinitionInvalid(message, file=str(root), line=0)
            for path in paths:
                for outcome in _action(path, templates, secrets=self._secrets):
                    yield _name(path), outcome


def _action(
    path: Path, templates: Mapping[Path, _Templates], *, secrets: bool
) -> Iterator[Outcome]:
    """The definition at *path*, or all that keeps it from being used."""
    beside = templates.get(path.parent, _Templates(""))
    yield from beside.errors
    try:
        definition = parse_definition(_read(path), file=_name(path), secrets=secrets)
    except DefinitionInvalid as error:
        yield error
        return
    name = definition.spec.workflow.template
    refused = [
        other.file
        for other in templates.values()
        if other is not beside and other.errors and name in other.names
    ]
    for file in refused:
        message = f"spec.workflow.template: {name} of {file} is refused"
        yield DefinitionInvalid(message, file=_name(path), line=1)
    if not refused and not beside.errors:
        yield definition


def _templates(path: Path) -> _Templates:
    file = _name(path)
    try:
        read = read_templates(_read(path), file=file)
    except DefinitionInvalid as error:
        return _Templates(file, errors=(error,))
    errors = (
        DefinitionInvalid(found.message, file=file, line=found.line) for found in read.findings
    )
    return _Templates(file, read.names, tuple(errors))


def shipped_templates(root: Path) -> dict[str, dict[str, Any]]:
    """The WorkflowTemplates beside the actions below *root* by name; unreadable files have none."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(root.glob("*/workflow.yaml")):
        try:
            text = _read(path)
            documents(text, file=_name(path))  # refuses what is too dear to read
        except DefinitionInvalid:
            continue
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
            if isinstance(document, dict) and document.get("kind") == "WorkflowTemplate":
                found[str((document.get("metadata") or {}).get("name"))] = document
    return found


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _read(path: Path) -> str:
    file = _name(path)
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise DefinitionInvalid(f"cannot be read: {error.strerror}", file=file, line=0) from error
    except UnicodeDecodeError as error:
        raise DefinitionInvalid("is not UTF-8 text", file=file, line=0) from error
