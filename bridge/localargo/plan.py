"""From a request to create a workflow to something that can be executed, or to a refusal.

Knows what Argo Server checks before it takes a workflow, and its texts. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from bridge.localargo.depends import DependsError, condition_of, holds, tasks_in
from bridge.localargo.errors import invalid
from bridge.localargo.names import LABEL_VALUE, LABEL_VALUE_LIMIT, NAME

_NAME_LIMIT = 63
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{NAME.pattern}')"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value', "
    f" or '12345', regex used for validation is '{LABEL_VALUE.pattern}')"
)
_LABEL_LENGTH = f"must be no more than {LABEL_VALUE_LIMIT} bytes"
_KINDS = ("steps", "dag", "script", "container", "resource", "http", "suspend")


def merge(spec: Mapping[str, Any], template_spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """The spec to execute: the workflow's own fields over those of its template.

    Arguments are merged by name: the template's order and defaults, then what only the workflow
    has. Descriptions are not kept, as Argo does not.
    """
    if template_spec is None:
        return dict(spec)
    plan = {**template_spec, **{key: value for key, value in spec.items() if key != "arguments"}}
    given = {item["name"]: item for item in _parameters(spec)}  # the last of two wins
    declared = [
        {
            **{key: value for key, value in item.items() if key != "description"},
            **given.pop(item["name"], {}),
        }
        for item in _parameters(template_spec)
    ]
    merged = [*declared, *given.values()]
    plan["arguments"] = {"parameters": merged} if merged else {}
    return plan


def _parameters(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = (spec.get("arguments") or {}).get("parameters") or []
    return found


def check_plan(plan: Mapping[str, Any]) -> None:
    """Refuse a plan that Argo Server refuses.

    Raises:
        ArgoError: 400 for an unknown template or a parameter without a value. As on the real
            server, undeclared parameters pass and `enum` is not checked
            (argo-recordings/submit-parameters, enum-not-checked).
    """
    templates = {template["name"]: template for template in plan.get("templates", [])}
    if not plan.get("entrypoint"):
        raise invalid("spec.entrypoint is required")
    for field in ("entrypoint", "onExit"):
        if plan.get(field) and plan[field] not in templates:
            raise invalid(f"template name '{plan[field]}' undefined")
    for template in templates.values():
        _check_template(template, templates)
    for parameter in _parameters(plan):
        if "value" not in parameter and "valueFrom" not in parameter:
            name = f"spec.arguments.{parameter['name']}"
            raise invalid(f"{name}.value or {name}.valueFrom is required")


def _check_template(template: Mapping[str, Any], templates: Mapping[str, Any]) -> None:
    name = template["name"]
    kinds = [kind for kind in _KINDS if template.get(kind) is not None]
    if len(kinds) != 1:
        raise invalid(
            f"templates.{name} template type unspecified. choose one of: {', '.join(_KINDS)}"
        )
    for kind in ("script", "container"):
        if kind in template and not template[kind].get("command"):
            where = f"templates.{name}.{kind}.command"
            raise invalid(f"{where} is required: the embedded Argo runs no images")
    for number, group in enumerate(template.get("steps", [])):
        for step in group:
            if step.get("template") not in templates:
                where = f"templates.{name}.steps[{number}].{step.get('name')}"
                raise invalid(f"{where} template name '{step.get('template')}' undefined")
    if "dag" in template:
        _check_tasks(template, templates)


def _check_tasks(template: Mapping[str, Any], templates: Mapping[str, Any]) -> None:
    tasks = {task.get("name"): task for task in template["dag"].get("tasks", [])}
    needs: dict[str, tuple[str, ...]] = {}
    for name, task in tasks.items():
        where = f"templates.{template['name']}.tasks.{name}"
        if task.get("template") not in templates:
            raise invalid(f"{where} template name '{task.get('template')}' undefined")
        needs[name] = _dependencies(task, where)
        for other in needs[name]:
            if other not in tasks:
                raise invalid(f"{where} dependency '{other}' not defined")
    for other in (template["dag"].get("target") or "").split():
        if other not in tasks:
            raise invalid(f"templates.{template['name']}.targets target '{other}' is not defined")
    try:
        list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        path = "->".join(error.args[1][::-1])
        raise invalid(f"templates.{template['name']} sorting failed: cycle: {path}") from error


def _dependencies(task: Mapping[str, Any], where: str) -> tuple[str, ...]:
    condition = condition_of(task)
    if not condition:
        return ()
    try:
        holds(condition, lambda *_: True)
    except DependsError as error:
        raise invalid(f"{where} {error}") from error
    return tasks_in(condition)


def check_name(name: str) -> None:
    """Refuse a name that is too long: Argo's own check, before Kubernetes' ones.

    Raises:
        ArgoError: 400.
    """
    if len(name) > _NAME_LIMIT:
        raise invalid(
            f'workflow name "{name}" must not be more than {_NAME_LIMIT} characters long '
            f"(currently {len(name)})"
        )


def check_metadata(name: str, labels: Mapping[str, str]) -> None:
    """Refuse what the Kubernetes API refuses, all faults in one text.

    Raises:
        ArgoError: 400.
    """
    faults = []
    if not NAME.fullmatch(name):
        faults.append(f'metadata.name: Invalid value: "{name}": {_NAME_RULE}')
    for value in labels.values():
        if len(value) > LABEL_VALUE_LIMIT:
            faults.append(f'metadata.labels: Invalid value: "{value}": {_LABEL_LENGTH}')
        if not LABEL_VALUE.fullmatch(value):
            faults.append(f'metadata.labels: Invalid value: "{value}": {_LABEL_RULE}')
    if faults:
        text = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
        raise invalid(f'Workflow.argoproj.io "{name}" is invalid: {text}')
