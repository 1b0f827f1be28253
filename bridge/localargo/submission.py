"""The create request: from its body to a workflow that the engine takes, or a refusal.

Knows the body of `POST /api/v1/workflows/{namespace}` and the order in which Argo Server checks
it. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.localargo.engine import Engine
from bridge.localargo.errors import invalid
from bridge.localargo.names import generated
from bridge.localargo.plan import check_name
from bridge.localargo.supported import complaint
from bridge.localargo.templates import typed_spec


def create(engine: Engine, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Create the workflow of a request and return it; with a dry run, only what it would be.

    Raises:
        ArgoError: 400, 404 or 409 with the texts of Argo Server; 400 also for every field that
            the embedded Argo does not carry out, naming it.
    """
    document = request.get("workflow")
    if not isinstance(document, dict):
        raise invalid("workflow body not specified")
    problem = complaint(document)
    if problem is not None:
        raise invalid(problem)
    metadata = dict(document.get("metadata") or {})
    spec = typed_spec(document.get("spec") or {})
    template = (spec.get("workflowTemplateRef") or {}).get("name")
    if template:
        stored = engine.templates.get(template)
        if stored.problem is not None:
            raise invalid(f'WorkflowTemplate "{template}": {stored.problem}')
    if not metadata.get("name"):
        prefix = metadata.get("generateName")
        if not prefix:
            raise invalid("name or generateName is required")
        metadata["name"] = generated(prefix)
    check_name(metadata["name"])
    options = request.get("createOptions") or {}
    dry_run = bool(request.get("serverDryRun")) or bool(options.get("dryRun"))
    return engine.create(metadata, spec, dry_run=dry_run)
