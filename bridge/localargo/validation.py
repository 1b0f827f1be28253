"""What Argo Server checks in tags before it takes a workflow.

Knows the walk of `workflow/validate` (v4.1): each template with the values of the submission,
stand-ins for what only running can give, and the texts of its refusals
(argo-recordings/parameter-values, injection-manifest, workflow-templates). Must not know how
anything runs. Expressions that fail are forgiven here, as there: they fail when they run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.localargo.errors import invalid
from bridge.localargo.manifests import ManifestError, documents
from bridge.localargo.tags import Scope, TagError, substitute, tags_of

Template = Mapping[str, Any]
_Values = dict[str, str | None]

_CHECKED_PREFIXES = ("item.", "steps.", "inputs.", "outputs.", "pod.", "workflow.", "tasks.")
_LATER = (
    "outputs.",
    "workflow.creationTimestamp",
    "workflow.duration",
    "tasks.name",
    "steps.name",
    "node.name",
)
_RETRY_VALUES = (
    "retries",
    "lastRetry.exitCode",
    "lastRetry.status",
    "lastRetry.duration",
    "lastRetry.message",
)
_STAND_IN = "__argo__internal__placeholder"
_POD_TYPES = ("container", "script", "resource")
_ITEMS = ("item", "item.")
_LOOPS = ("withItems", "withParam", "withSequence")


class _RefusedError(Exception):
    """Why the workflow is refused; each level of the walk puts its place before it."""


def validate_tags(plan: Mapping[str, Any], values: Mapping[str, str | None]) -> None:
    """Raise ArgoError (400) if a tag of the workflow cannot stand for anything.

    `plan` is the spec that would run: `templates`, `entrypoint`, `onExit`. `values` are the
    names every template can read: `workflow.name`, `workflow.parameters.x`, `workflow.labels.y`.
    """
    walk = _Walk(plan, dict(values))
    try:
        walk.template(str(plan.get("entrypoint", "")))
        if plan.get("onExit"):
            walk.names |= dict.fromkeys(("workflow.status", "workflow.failures"), _STAND_IN)
            walk.template(str(plan["onExit"]))
    except _RefusedError as reason:
        raise invalid(str(reason)) from None


class _Walk:
    """One walk over the templates of a plan; `names` grows with `globalName` outputs."""

    def __init__(self, plan: Mapping[str, Any], names: _Values) -> None:
        self._templates = {each.get("name"): each for each in plan.get("templates", [])}
        self._visited: set[str] = set()
        self.names = names

    def template(self, name: str, arguments: Mapping[str, str] | None = None) -> None:
        """Check one template, with stand-ins for its inputs if there are no `arguments`."""
        if name not in self._templates:
            raise _RefusedError(f"template name '{name}' undefined")
        template = self._templates[name]
        local = dict(_inputs(template, arguments)) | _local(template)
        try:
            filled = substitute(template, Scope({**self.names, **local}), forgiving=True)
        except TagError as error:
            raise _RefusedError(f"templates.{name} {error}") from None
        if name in self._visited:
            return
        self._visited.add(name)
        if "steps" in filled:
            self._steps(filled, local)
        elif "dag" in filled:
            self._tasks(filled, local)
        else:
            self._leaf(filled, local)

    def _leaf(self, template: Template, local: _Values) -> None:
        name = template["name"]
        self._resolve(template, local, place=f"templates.{name}:")
        manifest = template.get("resource", {}).get("manifest", "")
        if manifest and not _is_yaml(manifest):
            raise _RefusedError(f"templates.{name}.resource.manifest must be a valid yaml")

    def _steps(self, template: Template, local: _Values) -> None:
        known = dict(local)
        for index, group in enumerate(template["steps"]):
            for step in group:
                self._part(step, place=f"templates.{template['name']}.steps[{index}]", given=None)
            loops = [step for step in group if any(name in step for name in _LOOPS)]
            items = _ITEMS if loops else ()
            self._resolve(
                group,
                known | dict.fromkeys(items, _STAND_IN),
                place=f"templates.{template['name']}.steps",
            )
            for step in group:
                known |= self._outputs(f"steps.{step['name']}", step)
            for step in group:
                place = f"templates.{template['name']}.steps[{index}]"
                self._part(step, place=place, given=_given(step))

    def _tasks(self, template: Template, local: _Values) -> None:
        tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        place = f"templates.{template['name']}.tasks"
        for task in tasks.values():
            self._part(task, place=place, given=None)
        for name, task in tasks.items():
            known = dict(local)
            if any(loop in task for loop in _LOOPS):
                known |= dict.fromkeys(_ITEMS, _STAND_IN)
            for ancestor in _ancestors(name, tasks):
                known |= self._outputs(f"tasks.{ancestor}", tasks[ancestor])
            self._resolve(task, known, place=f"{place}.{name}")
            self._part(task, place=place, given=_given(task))

    def _part(self, part: Template, *, place: str, given: Mapping[str, str] | None) -> None:
        """Check the template of a step or task."""
        try:
            self.template(str(part.get("template", "")), given)
        except _RefusedError as reason:
            raise _RefusedError(f"{place}.{part['name']} {reason}") from None

    def _outputs(self, prefix: str, part: Template) -> _Values:
        """Return what later parts can read of a step or task; note its global outputs."""
        declared = self._templates[part["template"]].get("outputs", {}).get("parameters", [])
        for output in declared:
            if output.get("globalName"):
                self.names[f"workflow.outputs.parameters.{output['globalName']}"] = _STAND_IN
        fields = ("id", "status", "startedAt", "finishedAt", "hostNodeName", "ip")
        outputs = ("result", "exitCode", "parameters")
        names = [*fields, *(f"outputs.{name}" for name in outputs)]
        names += [f"outputs.parameters.{output['name']}" for output in declared]
        return dict.fromkeys((f"{prefix}.{name}" for name in names), _STAND_IN)

    def _resolve(self, value: Any, local: _Values, *, place: str) -> None:
        for tag in tags_of(value):
            name = tag.strip()
            if not name.startswith(_CHECKED_PREFIXES) or name.startswith(_LATER):
                continue
            in_loop = name.startswith("item.") and "item." in local
            if name not in local and name not in self.names and not in_loop:
                raise _RefusedError(f"{place} failed to resolve {{{{{tag}}}}}")


def _inputs(
    template: Template, arguments: Mapping[str, str] | None
) -> Iterator[tuple[str, str | None]]:
    for parameter in template.get("inputs", {}).get("parameters", []):
        name = parameter["name"]
        fallback = parameter.get("value", parameter.get("default"))
        value = _STAND_IN if arguments is None else arguments.get(name, fallback)
        if value is None and "valueFrom" not in parameter:
            raise _RefusedError(
                f"templates.{template['name']} inputs.parameters.{name} was not supplied"
            )
        yield f"inputs.parameters.{name}", _STAND_IN if value is None else str(value)
    yield "inputs.parameters", _STAND_IN


def _local(template: Template) -> _Values:
    names = _RETRY_VALUES if "retryStrategy" in template else ()
    is_pod = any(kind in template for kind in _POD_TYPES)
    return dict.fromkeys((*names, *(("pod.name",) if is_pod else ())), _STAND_IN)


def _given(part: Template) -> dict[str, str]:
    parameters = part.get("arguments", {}).get("parameters", [])
    return {each["name"]: each.get("value", _STAND_IN) for each in parameters}


def _ancestors(name: str, tasks: Mapping[str, Template]) -> set[str]:
    """Return the tasks that end before `name` starts."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        task = tasks[waiting.pop()]
        named = set(task.get("dependencies", []))
        named |= set(re.findall(r"(?<![\w.-])[A-Za-z0-9][\w-]*", str(task.get("depends", ""))))
        fresh = (named & set(tasks)) - found
        found |= fresh
        waiting += fresh
    return found


def _is_yaml(manifest: str) -> bool:
    """Tell whether the first document is a YAML mapping; only that one is looked at."""
    if "{{" in manifest:
        return True
    try:
        return isinstance(next(documents(manifest), {}), dict)
    except ManifestError:
        return False
