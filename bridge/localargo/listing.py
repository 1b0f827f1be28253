"""Lists of workflows and templates: selection, order, paging.

Knows `listOptions.*` of a list, which differ from those of a watch. Pure, but for what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.localargo.answers import typed
from bridge.localargo.errors import invalid, not_found
from bridge.localargo.events import EventLog, labels_of
from bridge.localargo.masks import FieldMask
from bridge.localargo.selectors import Requirement, parse_fields, parse_labels
from bridge.localargo.templates import TemplateStore
from bridge.localargo.watch import parse_number

_Snapshot = Mapping[str, Any]


def list_workflows(
    snapshots: Iterable[_Snapshot], version: int, query: Mapping[str, str]
) -> dict[str, Any]:
    """`{metadata: {resourceVersion}, items}`, newest first; `items` is null if empty.

    `snapshots` are the workflows of the namespace, oldest first.
    `continue` is an offset that the client counts itself: the real server leaves it out even where
    more follows (argo-recordings/list-workflows).

    Raises:
        ArgoError: 400 for a selector or number that cannot be read.
    """
    limit = parse_number(query.get("listOptions.limit"))
    offset = _offset(query.get("listOptions.continue", ""))
    labels = parse_labels(query.get("listOptions.labelSelector", ""))
    wanted = [
        _check(r) for r in parse_fields(query.get("listOptions.fieldSelector", "")).requirements
    ]
    names = [requirement for requirement in wanted if requirement.key == "metadata.name"]
    prefix = query.get("nameFilter") == "Prefix"
    found = [
        snapshot
        for snapshot in snapshots
        if labels.matches(labels_of(snapshot))
        and all(_named(snapshot, requirement, prefix=prefix) for requirement in names)
    ]
    found.reverse()
    page = found[offset : offset + limit] if limit else found[offset:]
    metadata = {"resourceVersion": str(version)}
    return _masked(metadata, page, FieldMask.parse(query.get("fields", "")))


def _offset(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise invalid("listOptions.continue must be int")
    return int(text)


def _check(requirement: Requirement) -> Requirement:
    if requirement.key not in {"metadata.name", "metadata.namespace"}:
        sign = "!=" if requirement.operator == "notin" else "="
        value = next(iter(requirement.values))
        raise invalid(f"unsupported requirement {requirement.key}{sign}{value}")
    return requirement


def _named(snapshot: _Snapshot, requirement: Requirement, *, prefix: bool) -> bool:
    name = snapshot["metadata"]["name"]
    if prefix:
        return any(name.startswith(value) for value in requirement.values)
    return requirement.matches({"metadata.name": name})


def _masked(metadata: dict[str, Any], page: list[_Snapshot], mask: FieldMask) -> dict[str, Any]:
    if not mask:
        return {"metadata": metadata, "items": list(page) or None}
    kept = mask.apply({"metadata": metadata, "items": page})
    items = [typed(item, FieldMask()) for item in kept.get("items") or ()]
    return {"metadata": kept.get("metadata") or {}, "items": items or None}


def newest(log: EventLog, namespace: str) -> str:
    """The name behind the alias `@latest`.

    Raises:
        ArgoError: 404 if there is no workflow.
    """
    names = [event.snapshot["metadata"]["name"] for event in log.all(namespace)]
    if not names:
        raise not_found("workflows", "@latest")
    return str(names[-1])


def list_templates(
    templates: TemplateStore | None, version: int, query: Mapping[str, str]
) -> dict[str, Any]:
    """The same for templates; the real server looks at the labels only.

    Raises:
        ArgoError: 400 for a selector that cannot be read.
    """
    labels = parse_labels(query.get("listOptions.labelSelector", ""))
    found = [
        template.document
        for template in (templates.all() if templates else ())
        if labels.matches(labels_of(template.document))
    ]
    return {"metadata": {"resourceVersion": str(version)}, "items": found or None}
