"""Definitions from folders: one folder an action, ``action.yaml`` in each.

Knows files. Must not know what a definition means; a bad file never takes the others down.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue, merge, parse_definition
from bridge.domain.errors import DefinitionInvalid
from bridge.domain.yaml_text import MAX_BYTES


class DefinitionFolders:
    """Every ``*/action.yaml`` below some roots."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots
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
            for path in sorted(root.glob("*/action.yaml")):
                try:
                    state = path.stat()
                except OSError:  # gone or not readable: told when it is read
                    yield str(path), 0, 0
                else:
                    yield str(path), state.st_ctime_ns, state.st_size

    def _outcomes(self) -> Iterator[tuple[str, ActionDefinition | DefinitionInvalid]]:
        for root in self._roots:
            paths = sorted(root.glob("*/action.yaml"))
            if not paths:
                message = f"no */action.yaml below {root}; set BRIDGE_ACTIONS to the actions folder"
                yield str(root), DefinitionInvalid(message, file=str(root), line=0)
            for path in paths:
                file = f"{path.parent.name}/{path.name}"
                try:
                    yield file, parse_definition(_read(path, file), file=file)
                except DefinitionInvalid as error:
                    yield file, error


def _read(path: Path, file: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise DefinitionInvalid(f"cannot be read: {error.strerror}", file=file, line=0) from error
    except UnicodeDecodeError as error:
        raise DefinitionInvalid("is not UTF-8 text", file=file, line=0) from error
