"""WorkflowTemplates: reading them from files, checking them, keeping them.

Knows YAML files and the typed form in which Argo stores a template. Knows nothing of running.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.localargo.errors import ArgoError, Code, invalid, not_found
from bridge.localargo.manifests import documents
from bridge.localargo.supported import complaint

_KIND = "WorkflowTemplate"


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One WorkflowTemplate; `problem` says why it cannot be run here, None if it can."""

    document: Mapping[str, Any]
    problem: str | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec in its typed form."""
        spec: Mapping[str, Any] = self.document["spec"]
        return spec


class TemplateStore:
    """The WorkflowTemplates of the served namespace by name."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._by_name: dict[str, StoredTemplate] = {}

    def get(self, name: str) -> StoredTemplate:
        """One template.

        Raises:
            ArgoError: 404 if there is none.
        """
        found = self._by_name.get(name)
        if found is None:
            raise not_found("workflowtemplates", name)
        return found

    def all(self) -> list[StoredTemplate]:
        """All templates by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def create(self, document: Mapping[str, Any], *, version: int, created: str) -> StoredTemplate:
        """Add a template that a client sent.

        Raises:
            ArgoError: 409 if the name is taken, 400 if a field is not supported.
        """
        name = _name_of(document)
        if name in self._by_name:
            text = f'workflowtemplates.argoproj.io "{name}" already exists'
            raise ArgoError(Code.ALREADY_EXISTS, text)
        return self._put(document, version=version, created=created, generation=1)

    def update(self, document: Mapping[str, Any], *, version: int) -> StoredTemplate:
        """Replace a template; its uid and time of creation stay.

        Raises:
            ArgoError: 404 if there is none, 400 if a field is not supported.
        """
        old = self.get(_name_of(document)).document["metadata"]
        return self._put(
            document,
            version=version,
            created=old["creationTimestamp"],
            generation=old["generation"] + 1,
            uid=old["uid"],
        )

    def load(self, document: Mapping[str, Any], *, version: int, created: str) -> StoredTemplate:
        """Take a template from a file; one that cannot be run is kept with its problem."""
        problem = complaint(document)
        spec = {"templates": []} if problem else typed_spec(document.get("spec") or {})
        stored = StoredTemplate(
            {
                "metadata": self._metadata(document, version=version, created=created),
                "spec": spec,
            },
            problem,
        )
        self._by_name[_name_of(document)] = stored
        return stored

    def _put(
        self,
        document: Mapping[str, Any],
        *,
        version: int,
        created: str,
        generation: int,
        uid: str | None = None,
    ) -> StoredTemplate:
        problem = complaint(document)
        if problem is not None:
            raise invalid(problem)
        metadata = self._metadata(document, version=version, created=created)
        metadata |= {"generation": generation, "uid": uid or metadata["uid"]}
        stored = StoredTemplate({"metadata": metadata, "spec": typed_spec(document["spec"])})
        self._by_name[metadata["name"]] = stored
        return stored

    def _metadata(
        self, document: Mapping[str, Any], *, version: int, created: str
    ) -> dict[str, Any]:
        given = document["metadata"]
        metadata = {
            "name": given["name"],
            "namespace": self._namespace,
            "uid": str(uuid.uuid4()),
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": created,
        }
        return metadata | {key: given[key] for key in ("labels", "annotations") if given.get(key)}


def read_files(paths: Iterable[Path]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """All WorkflowTemplate documents in these files and folders, with the file of each.

    Documents of other kinds are passed over.

    Raises:
        OSError: a path that cannot be read.
        ManifestError: a file that is not YAML.
    """
    for path in paths:
        files = sorted((*path.rglob("*.yaml"), *path.rglob("*.yml"))) if path.is_dir() else [path]
        for file in files:
            for document in documents(file.read_text(encoding="utf-8")):
                if isinstance(document, dict) and document.get("kind") == _KIND:
                    yield file, document


def typed_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as Argo writes it back: fields that its types always show are there."""
    templates = [_typed_template(template) for template in spec.get("templates") or ()]
    head: dict[str, Any] = {"templates": templates} if templates else {}
    if "entrypoint" in spec:
        head["entrypoint"] = spec["entrypoint"]
    head["arguments"] = typed_arguments(spec.get("arguments"))
    return head | {key: value for key, value in spec.items() if key not in {*head, "templates"}}


def typed_arguments(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments with every value as the string that Argo keeps (5 becomes "5")."""
    if not arguments or not arguments.get("parameters"):
        return {}
    return {"parameters": [typed_parameter(item) for item in arguments["parameters"]]}


def typed_parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter: `value`, `default` and `enum` become strings."""
    typed = dict(parameter)
    for key in ("value", "default"):
        if key in typed:
            typed[key] = as_text(typed[key])
    if "enum" in typed:
        typed["enum"] = [as_text(value) for value in typed["enum"]]
    return typed


def as_text(value: Any) -> str:
    """A YAML scalar as Argo's string type reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value}"


def _typed_template(template: Mapping[str, Any]) -> dict[str, Any]:
    typed: dict[str, Any] = {
        "name": template.get("name", ""),
        "inputs": typed_arguments(template.get("inputs")),
        "outputs": typed_arguments(template.get("outputs")),
        "metadata": template.get("metadata") or {},
    }
    for key, value in template.items():
        if key == "steps":
            typed[key] = [[_typed_step(step) for step in group] for group in value]
        elif key == "dag":
            typed[key] = {**value, "tasks": [_typed_step(task) for task in value["tasks"]]}
        elif key in {"script", "container"}:
            typed[key] = _typed_container(value)
        elif key not in typed:
            typed[key] = {} if value is None else value
    return typed


def _typed_step(step: Mapping[str, Any]) -> dict[str, Any]:
    head = {key: step[key] for key in ("name", "template") if key in step}
    rest = {key: value for key, value in step.items() if key not in {*head, "arguments"}}
    return {**head, "arguments": typed_arguments(step.get("arguments")), **rest}


def _typed_container(container: Mapping[str, Any]) -> dict[str, Any]:
    typed = {"name": "", **container, "resources": container.get("resources") or {}}
    if "env" in typed:
        typed["env"] = [
            {**entry, "value": as_text(entry["value"])} if "value" in entry else dict(entry)
            for entry in typed["env"]
        ]
    return typed


def _name_of(document: Mapping[str, Any]) -> str:
    name = (document.get("metadata") or {}).get("name")
    if not isinstance(name, str) or not name:
        raise invalid("metadata.name is required")
    return name
