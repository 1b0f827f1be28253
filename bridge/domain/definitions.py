"""From the text of an ``action.yaml`` to a definition, with the line of every mistake.

Knows YAML and the definition model. Must not know where the text came from: file names only
travel through to the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import yaml
from pydantic import ValidationError

from bridge.domain.actions import ActionDefinition
from bridge.domain.errors import ActionUnknown, DefinitionInvalid
from bridge.domain.yaml_text import only_document, yaml_refused

_MOST_MISTAKES = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a definition file is not in use."""

    file: str
    line: int
    message: str


@dataclass(frozen=True)
class Catalogue:
    """All usable definitions by the file they came from, and what is wrong with the others."""

    files: Mapping[str, ActionDefinition]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def actions(self) -> Mapping[str, ActionDefinition]:
        """The definitions by their ids."""
        return {action.id: action for action in self.files.values()}

    def get(self, action_id: str) -> ActionDefinition:
        """The definition with this id.

        Raises:
            ActionUnknown: With the ids that come close.
        """
        found = self.actions.get(action_id)
        if found is not None:
            return found
        close = tuple(get_close_matches(action_id, self.actions, n=3, cutoff=0.5))
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ActionUnknown(f"There is no action {action_id!r}.{hint}", suggestions=close)


def parse_definition(text: str, *, file: str, secrets: bool = True) -> ActionDefinition:
    """Read one definition.

    Args:
        text: The text of the file.
        file: Its name, for messages.
        secrets: Whether secret fields can be kept, so that it may have some.

    Raises:
        DefinitionInvalid: With the file, the line and every mistake in one sentence each.
    """
    tree, value = _load(text, file=file)
    try:
        definition = ActionDefinition.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        found = found[:_MOST_MISTAKES]
        messages = [_sentence(item["loc"], item["msg"]) for item in found]
        line = min(_line(tree, item["loc"]) for item in found)
        raise DefinitionInvalid("; ".join(messages), file=file, line=line) from error
    if definition.secret_fields and not secrets:
        name = min(definition.secret_fields)
        raise DefinitionInvalid(
            f"spec.input: {name} is secret, and there is no key to keep it with: set "
            "BRIDGE_SECRET_KEY or BRIDGE_SECRET_KEY_FILE",
            file=file,
            line=_line(tree, ("spec", "input", "properties", name)),
        )
    return definition


def merge(
    parsed: Iterable[tuple[str, ActionDefinition | DefinitionInvalid]], *, last_good: Catalogue
) -> Catalogue:
    """Join what was read into one catalogue: ``(file, definition or its error)`` each.

    A file that went bad keeps its last good version; a second file with the same id is refused.
    A file may come with several errors; each of them may name another file that it needs.
    """
    files: dict[str, ActionDefinition] = {}
    problems: list[Problem] = []
    for file, outcome in parsed:
        good = outcome if isinstance(outcome, ActionDefinition) else last_good.files.get(file)
        if isinstance(outcome, DefinitionInvalid):
            problems.append(Problem(outcome.file or file, outcome.line, outcome.detail))
        taken = next(
            (name for name, action in files.items() if good and action.id == good.id), file
        )
        if good is not None and taken != file:
            message = f"metadata.id {good.id!r} is already defined in {taken}"
            problems.append(Problem(file, 1, message))
        elif good is not None:
            files[file] = good
    return Catalogue(files=files, problems=tuple(problems))


def _load(text: str, *, file: str) -> tuple[yaml.Node, Any]:
    """The text as nodes, which know their lines, and as plain values."""
    tree = only_document(text, file=file)
    if not isinstance(tree, yaml.MappingNode):
        raise DefinitionInvalid("must be a mapping with apiVersion and kind", file=file, line=1)
    with yaml_refused(file):
        return tree, yaml.load(text, Loader=yaml.CSafeLoader)


def _line(tree: yaml.Node, location: tuple[int | str, ...]) -> int:
    """The line of *location*, or of the deepest part of it that is in the file."""
    line = tree.start_mark.line + 1
    node = tree
    for segment in location:
        found = _child(node, segment)
        if found is None:
            break
        key, node = found
        line = key.start_mark.line + 1
    return line


def _child(node: yaml.Node, segment: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(segment):
                return key, value
    if (
        isinstance(node, yaml.SequenceNode)
        and isinstance(segment, int)
        and segment < len(node.value)
    ):
        return node.value[segment], node.value[segment]
    return None


def _sentence(location: tuple[int | str, ...], message: Any) -> str:
    where = ".".join(str(segment) for segment in location) or "the definition"
    text = str(message).removeprefix("Value error, ")
    return f"{where}: {text[0].lower()}{text[1:]}"
