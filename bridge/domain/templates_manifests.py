"""Values in a text that is read as YAML: manifests, patches of pod specs, bodies.

Knows that Argo puts values into the text first and reads it as YAML afterwards: only a JSON value
that is a whole YAML value of its own stays what it is (argo-recordings/injection-manifest). Must
not know templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from bridge.domain.errors import DefinitionInvalid
from bridge.domain.templates_tags import Misplaced, Tag, joined, tags_of
from bridge.domain.yaml_text import documents

_MARK = re.compile("\ue000([0-9]+)\ue001")
_QUOTED = re.compile(r"""(['"])([^'"\n]*)\1""")
_WHY = "is put into the text before it is read as YAML, and can add keys or whole objects"


def misplaced_in_yaml(text: str) -> Iterator[Misplaced]:
    """Every value of *text* that is not a whole YAML value made by ``toJson``."""
    tags = tags_of(text)
    values = {number for number, tag in enumerate(tags) if tag.is_value}
    if not values:
        return
    marked = _marked(text, tags)
    try:
        trees = documents(marked, file="")
    except DefinitionInvalid as error:
        for number in sorted(values):
            yield _alone(text, tags[number], f"{_WHY}; here the text {error.detail}")
        return
    seen: set[int] = set()
    for tree in trees:
        for scalar in _scalars(tree):
            here = [int(found) for found in _MARK.findall(scalar.value) if int(found) < len(tags)]
            seen.update(here)
            if values.intersection(here):
                source = marked[scalar.start_mark.index : scalar.end_mark.index]
                yield from _in_scalar(scalar, tags, _unmarked(source, tags), root=scalar is tree)
    for number in sorted(values - seen):
        yield _alone(text, tags[number], "stands where YAML has no value")


def _in_scalar(
    scalar: yaml.ScalarNode, tags: tuple[Tag, ...], source: str, *, root: bool
) -> Iterator[Misplaced]:
    here = [tags[int(number)] for number in _MARK.findall(scalar.value)]
    values = [tag for tag in here if tag.is_value]
    if scalar.style in {"|", ">"}:
        # A JSON value has no line break, so it cannot leave a block.
        for tag in values:
            if not tag.expression.is_json:
                yield _alone(tag.text, tag, _WHY)
    elif not (not scalar.style and _is_one_json(scalar.value, here)) or root:
        mended = f"{{{{=toJson({joined(_unmarked(scalar.value, tags))})}}}}"
        why = _WHY
        if root:
            why = "makes one text of what should be an object"
            mended = f"the object, with {mended} as one of its values"
        elif here[0].expression.is_json:
            why = "stands beside other text or in quotes, which takes its own quotes away"
        yield Misplaced(values[0], source.strip(), why, mended)


def _is_one_json(value: str, tags: list[Tag]) -> bool:
    return _MARK.fullmatch(value) is not None and tags[0].expression.is_json


def _alone(text: str, tag: Tag, why: str) -> Misplaced:
    """The tag by itself, with the quotes around it where it has some."""
    offending = tag.text
    for found in _QUOTED.finditer(text):
        if found[2] == tag.text:
            offending = found[0]
    return Misplaced(tag, offending, why, f"{{{{=toJson({joined(tag.text)})}}}}")


def _marked(text: str, tags: tuple[Tag, ...]) -> str:
    """*text* with each tag replaced by a plain word that YAML gives no meaning."""
    parts: list[str] = []
    at = 0
    for number, tag in enumerate(tags):
        parts += [text[at : tag.start], f"\ue000{number}\ue001"]
        at = tag.end
    return "".join([*parts, text[at:]])


def _unmarked(text: str, tags: tuple[Tag, ...]) -> str:
    return _MARK.sub(lambda found: tags[int(found[1])].text, text)


def _scalars(tree: yaml.Node) -> Iterator[yaml.ScalarNode]:
    match tree:
        case yaml.ScalarNode():
            yield tree
        case yaml.SequenceNode():
            for child in tree.value:
                yield from _scalars(child)
        case _:
            for key, child in tree.value:
                yield from _scalars(key)
                yield from _scalars(child)
