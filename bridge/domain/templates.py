"""Where the parameters of a WorkflowTemplate land: only in places that take them for data.

Knows documents of Argo and the lines of their fields. Must not know files or actions, nor what
may stand where: ``templates_places`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import yaml

from bridge.domain.templates_commands import (
    misplaced_in_arguments,
    misplaced_in_environment,
    misplaced_in_source,
)
from bridge.domain.templates_places import Rule, nothing, rule_for
from bridge.domain.templates_tags import Misplaced, tags_of
from bridge.domain.yaml_text import documents

_NOT_REPLACED = frozenset({"apiVersion", "kind", "metadata", "status"})
"""Fields of a document in which Argo replaces no tags."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A value where it must not stand: the line of the file and a sentence with the cure."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """The names of the WorkflowTemplates of one file, and what is wrong with them."""

    names: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_templates(text: str, *, file: str) -> TemplateFile:
    """Look at every Argo document of *text*; objects of other kinds are passed over.

    Raises:
        DefinitionInvalid: It cannot be read; with the file and the line.
    """
    names: list[str] = []
    findings: list[Finding] = []
    for tree in documents(text, file=file):
        fields = _fields(tree)
        if not _text(fields.get("apiVersion")).startswith("argoproj.io/"):
            continue
        names.append(_text(_fields(fields.get("metadata")).get("name")))
        walk = _Walk(text)
        for key, node in fields.items():
            if key not in _NOT_REPLACED:
                findings.extend(walk.node(node, path=(key,), shown=(key,)))
    return TemplateFile(tuple(names), tuple(sorted(findings, key=lambda found: found.line)))


@dataclass(frozen=True, slots=True)
class _Walk:
    """Through a document of *source*.

    A ``path`` is of fields only and finds the rule; ``shown`` names the items of lists too.
    """

    source: str

    def node(
        self,
        node: yaml.Node,
        *,
        path: tuple[str, ...],
        shown: tuple[str, ...],
        rule: Rule | None = None,
    ) -> Iterator[Finding]:
        match node:
            case yaml.ScalarNode():
                found = (rule or rule_for(path))(node.value)
                yield from self.findings(node, found, shown=shown)
            case yaml.SequenceNode():
                for position, child in enumerate(node.value):
                    name = _text(_fields(child).get("name")) or str(position)
                    yield from self.node(child, path=path, shown=(*shown, name))
            case _:
                yield from self.mapping(node, path=path, shown=shown)

    def mapping(
        self, node: yaml.Node, *, path: tuple[str, ...], shown: tuple[str, ...]
    ) -> Iterator[Finding]:
        fields = _fields(node)
        yield from self.command(fields, shown=shown)
        special = _special(fields, path[-1])
        for key, child in node.value:
            name = _text(key)
            below = (*shown, name)
            yield from self.node(key, path=(), shown=below, rule=nothing)
            if name not in {"command", "args"} or not _items(child):
                rule = special.get(name)
                yield from self.node(child, path=(*path, name), shown=below, rule=rule)

    def command(
        self, fields: Mapping[str, yaml.Node], *, shown: tuple[str, ...]
    ) -> Iterator[Finding]:
        """What a container runs: its command and its arguments belong together."""
        command, args = _items(fields.get("command")), _items(fields.get("args"))
        holders = (*command, *args)
        texts = [_text(holder) for holder in holders]
        for position, found in misplaced_in_arguments(texts, named=bool(command)):
            name = "command" if position < len(command) else "args"
            yield from self.findings(holders[position], [found], shown=(*shown, name))

    def findings(
        self, node: yaml.Node, misplaced: Iterable[Misplaced], *, shown: tuple[str, ...]
    ) -> Iterator[Finding]:
        for found in misplaced:
            where = ".".join(shown).removeprefix("spec.")
            tag, text = found.at.text, found.offending
            what = f"a value {found.why}" if tag == text else f"{tag} {found.why}"
            message = f"{where}: {text}: {what}; write {found.mended}"
            yield Finding(self.line(node, found), message)

    def line(self, node: yaml.Node, found: Misplaced) -> int:
        """The line of a tag within a scalar; of the scalar, where it is written with escapes."""
        written = self.source[node.start_mark.index : node.end_mark.index]
        same = [tag for tag in tags_of(_text(node)) if tag.text == found.at.text]
        at = -1
        for _ in same[: same.index(found.at) + 1] if found.at in same else same[:1]:
            at = written.find(found.at.text, at + 1)
        return int(node.start_mark.line) + 1 + written[: max(at, 0)].count("\n")


def _special(fields: Mapping[str, yaml.Node], holder: str) -> Mapping[str, Rule]:
    """The rules for fields that can be judged only beside their neighbours."""
    if holder == "script":
        command = [_text(item) for item in _items(fields.get("command"))]
        return {"source": partial(misplaced_in_source, command=command)}
    if holder == "env":
        return {"value": partial(misplaced_in_environment, name=_text(fields.get("name")))}
    return {}


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {_text(key): value for key, value in node.value}


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
