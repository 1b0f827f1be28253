"""From a checked input to what Argo and the catalog get: the only place where values are mapped.

Knows definitions, runs and the shape of a Workflow. Must not know how either is transported.
The last guard stands here: whatever a definition does with a value, no text that Argo would
expand leaves this module (argo-recordings, section 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.domain.actions import ActionDefinition, Source
from bridge.domain.entities import EntityDocument, EntityRef, entity_document
from bridge.domain.errors import FieldError, InputInvalid
from bridge.domain.inputs import forbidden_text
from bridge.domain.references import Roots, render_document, render_template
from bridge.domain.runs import ACTION_LABEL, INSTANCE_LABEL, RUN_LABEL, NewRun, Run
from bridge.domain.traces import TRACE_ANNOTATION

NO_USER = "unknown"


@dataclass(frozen=True, slots=True)
class Site:
    """What the bridge knows of its surroundings; the ``bridge.*`` references."""

    instance: str = "default"
    url: str = ""
    callback_url: str = ""
    cluster: str = "local"


@dataclass(frozen=True, slots=True)
class WorkflowFacts:
    """What is known of a run's workflow; the ``workflow.*`` references."""

    url: str | None = None
    outputs: Mapping[str, Any] | None = None


def roots_of(
    run: Run | NewRun,
    *,
    definition: ActionDefinition,
    site: Site,
    workflow: WorkflowFacts = WorkflowFacts(),
    entity_ref: str | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Roots:
    """Everything that a reference may read, for one run; its *secrets* for its workflow only."""
    required = definition.approval_required(run.input)
    return {
        "input": {**run.input, **(secrets or {})},
        "user": {"ref": run.user or NO_USER},
        "run": {
            "id": run.id,
            "attempt": run.attempt,
            "url": f"{site.url}/v1/runs/{run.id}",
            "createdAt": timestamp(run.created_at),
        },
        "context": {"taskId": run.context.task_id, "template": run.context.template},
        "bridge": {"url": site.url, "callbackUrl": site.callback_url, "cluster": site.cluster},
        "workflow": {
            "name": run.workflow_name,
            "namespace": run.namespace,
            "uid": run.workflow_uid,
            "url": workflow.url,
            "outputs": workflow.outputs or {},
        },
        "entity": {"ref": entity_ref},
        "approval": {"required": "true" if required else "false"},
    }


def parameters_of(definition: ActionDefinition, *, roots: Roots) -> dict[str, str]:
    """The workflow's parameters; one without a value is left to the template's default.

    Raises:
        InputInvalid: A value would be expanded by Argo, or a filter cannot take it.
    """
    parameters: dict[str, str] = {}
    for name, source in definition.spec.workflow.parameters.items():
        pointer = _pointer_of(source)
        try:
            value = text_of(source, roots=roots)
        except ValueError as error:
            raise InputInvalid(str(error), errors=(FieldError(pointer, str(error)),)) from error
        if value is None:
            continue
        reason = forbidden_text(value, braces=True)
        if reason is not None:
            message = f"parameter {name} {reason}"
            raise InputInvalid(message, errors=(FieldError(pointer, message),))
        parameters[name] = value
    return parameters


def text_of(source: Source, *, roots: Roots) -> str | None:
    """The text that *source* gives, or None if it has none."""
    if source.template is not None:
        return render_template(source.template, roots=roots)
    value = value_of(source, roots=roots)
    if value is None:
        return None
    (reference,) = source.references() or (None,)
    return reference.text({**roots, **_at(reference.path, value)}) if reference else str(value)


def value_of(source: Source, *, roots: Roots) -> Any:
    """The value that *source* gives with its own type, or None."""
    if source.const is not None:
        return source.const
    if source.template is not None:
        return render_template(source.template, roots=roots)
    (reference,) = source.references()
    value = reference.lookup(roots)
    return source.default if value is None else value


def _at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A nesting that has *value* at *path*, so that a default is filtered like a value."""
    for segment in reversed(path):
        value = {segment: value}
    return dict(value)


def _pointer_of(source: Source) -> str:
    for reference in source.references():
        if reference.path[0] == "input":
            return "/" + "/".join(reference.path[1:])
    return ""


def outputs_of(definition: ActionDefinition, *, roots: Roots) -> dict[str, Any]:
    """What the action gives at the end; outputs without a value are left out."""
    values = {
        name: text_of(source, roots=roots) if source.as_ else value_of(source, roots=roots)
        for name, source in definition.spec.outputs.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def entity_of(
    definition: ActionDefinition, *, roots: Roots, run_id: str | None
) -> EntityDocument | None:
    """The catalog document of a run, or None if the action has none.

    Raises:
        DefinitionInvalid: The rendered document is none that a catalog would take.
    """
    if definition.spec.catalog is None:
        return None
    document = render_document(definition.spec.catalog.entity, roots=roots)
    spec = document.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("owner"), str):
        document = {**document, "spec": {**spec, "owner": str(EntityRef.parse(spec["owner"]))}}
    return entity_document(document, run_id=run_id)


def workflow_of(
    run: Run, *, definition: ActionDefinition, site: Site, roots: Roots
) -> dict[str, Any]:
    """The Workflow to create: a reference to the template, arguments and our metadata.

    Nothing else is set, so that it passes ``templateReferencing: Strict`` (research/argo, 2).
    """
    parameters = parameters_of(definition, roots=roots)
    annotations = {
        "bridge/requested-by": run.user or NO_USER,
        "bridge/task": run.context.task_id,
        "bridge/template": run.context.template,
        TRACE_ANNOTATION: run.context.traceparent,
        "workflows.argoproj.io/title": f"{definition.metadata.title} ({run.id})",
    }
    return {
        "metadata": {
            "name": run.workflow_name,
            "namespace": run.namespace,
            "labels": {
                INSTANCE_LABEL: site.instance,
                RUN_LABEL: run.id,
                ACTION_LABEL: definition.id.replace(":", "."),
            },
            "annotations": {key: value for key, value in annotations.items() if value},
        },
        "spec": {
            "workflowTemplateRef": {"name": definition.spec.workflow.template},
            "arguments": {
                "parameters": [{"name": name, "value": value} for name, value in parameters.items()]
            },
        },
    }


def example_outputs(definition: ActionDefinition) -> dict[str, Any]:
    """The first example of each declared output: what a dry-run shows."""
    properties = definition.spec.output.get("properties", {})
    return {
        name: schema["examples"][0]
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and schema.get("examples")
    }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
