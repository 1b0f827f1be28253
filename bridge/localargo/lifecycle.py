"""The life of a whole workflow around its tree: start, deadline, shutdown, exit handler, end.

Mirrors `operate` of Argo's controller. Knows phases, labels and conditions; the tree is walked by
`reconcile.py`.
"""

from __future__ import annotations

from bridge.localargo.calls import Call, Controller, NodeError, StuckError
from bridge.localargo.expressions import ExpressionError, evaluate
from bridge.localargo.locks import Mutexes
from bridge.localargo.nodes import FAILED, FINAL, HTTP, PENDING, POD, RUNNING, SUSPEND, Node
from bridge.localargo.reconcile import Reconciliation
from bridge.localargo.tags import Scope, TagError, UnparsableTagError, check_expressions, substitute
from bridge.localargo.variables import exit_values, workflow_values
from bridge.localargo.workflow import (
    COMPLETED_LABEL,
    PHASE_LABEL,
    POD_NAME_FORMAT,
    TEMPLATE_LABEL,
    Workflow,
)

_POD_RUNNING, _COMPLETED = "PodRunning", "Completed"


def look(controller: Controller, locks: Mutexes, workflow: Workflow) -> bool:
    """Look at a workflow once; True if something about it has changed."""
    if workflow.completed or workflow.stuck:
        return False
    changed = False
    if workflow.phase == PENDING and workflow.shutdown:
        text = f"Stopped with strategy '{workflow.shutdown}'"
        finish(controller, workflow, "Failed", text)
        return True
    if workflow.phase in {"", PENDING}:
        if not _begin(controller, locks, workflow):
            return True
        changed = True
    walk = Reconciliation(controller, workflow, extra={})
    changed |= _end_what_must_end(controller, workflow, walk)
    try:
        if not workflow.spec.get("suspend"):
            changed |= _walk(controller, workflow, walk)
    except StuckError:
        workflow.stuck = True
        changed = True
    changed |= _count(workflow)
    return changed


def _begin(controller: Controller, locks: Mutexes, workflow: Workflow) -> bool:
    """Take a new workflow in; False if it must wait, or can never begin."""
    try:
        check_expressions(workflow.plan.get("arguments") or {})
    except UnparsableTagError:
        workflow.stuck = True  # the real one tries for ever (argo-recordings/stuck-without-phase)
        return False
    except TagError as error:
        finish(controller, workflow, "Error", str(error))
        return False
    if not _acquire(locks, workflow):
        return False
    if workflow.stored_templates and workflow.stored_spec is None:
        workflow.stored_spec = workflow.plan
    workflow.started_at = controller.now()
    workflow.message = ""
    workflow.annotate({POD_NAME_FORMAT: "v2"})
    template = (workflow.plan.get("workflowTemplateRef") or {}).get("name")
    if template:
        workflow.set_labels({TEMPLATE_LABEL: template})
    _set_phase(workflow, RUNNING)
    return _label(controller, workflow)


def _label(controller: Controller, workflow: Workflow) -> bool:
    """Set what `workflowMetadata` asks for; False if an expression of it fails."""
    metadata = workflow.plan.get("workflowMetadata") or {}
    labels = dict(metadata.get("labels") or {})
    env = Scope(workflow_values(workflow)).env()
    for key, source in (metadata.get("labelsFrom") or {}).items():
        try:
            labels[key] = str(evaluate(source["expression"], env))
        except ExpressionError as error:
            text = f"failed to evaluate label {key} expression {source['expression']!r}: {error}"
            finish(controller, workflow, "Error", text)
            return False
    if labels:
        workflow.set_labels(labels)
    if metadata.get("annotations"):
        workflow.annotate(metadata["annotations"])
    return True


def _acquire(locks: Mutexes, workflow: Workflow) -> bool:
    mutexes = (workflow.plan.get("synchronization") or {}).get("mutexes")
    if not mutexes:
        return True
    names = substitute([item["name"] for item in mutexes], Scope(workflow_values(workflow)))
    keys = tuple(f"{workflow.namespace}/Mutex/{name}" for name in names)
    taken = locks.acquire(
        keys,
        workflow.key,
        priority=int(workflow.plan.get("priority") or 0),
        created=workflow.created_at,
    )
    if taken is not None:
        entry = {"mutex": taken, "holder": locks.holder(taken)}
        workflow.synchronization = {"mutex": {"waiting": [entry]}}
        workflow.message = f"Waiting for {taken} lock. Lock status: 0/1"
        workflow.progress = "0/0"
        _set_phase(workflow, PENDING)
        return False
    waiting = ((workflow.synchronization or {}).get("mutex") or {}).get("waiting")
    held = [{"mutex": key, "holder": workflow.key} for key in keys]
    workflow.synchronization = {
        "mutex": {"holding": held, **({"waiting": waiting} if waiting else {})}
    }
    return True


def _end_what_must_end(controller: Controller, workflow: Workflow, walk: Reconciliation) -> bool:
    """Fail what is open although the workflow is stopped or out of time."""
    changed = False
    for node in list(workflow.nodes):
        if node.type not in {POD, HTTP, SUSPEND} or node.phase in FINAL:
            continue
        on_exit = _is_exit_node(workflow, node)
        reason = walk.stopped(on_exit=on_exit)
        if not reason:
            continue
        changed = True
        if node.type == POD and workflow.shutdown:
            # The node waits for its pod to end (argo-recordings/stop-terminate).
            node.phase, node.synced = FAILED, False
            node.message = f"workflow shutdown with strategy:  {workflow.shutdown}"
        else:
            walk.mark(node, FAILED, walk.stop_message())
        controller.stop(workflow, node)
    limit = walk.deadline()
    if limit is not None and controller.now() < limit:
        controller.look_again(workflow, limit)
    return changed


def _is_exit_node(workflow: Workflow, node: Node) -> bool:
    return node.name.startswith(f"{workflow.name}.onExit")


def _walk(controller: Controller, workflow: Workflow, walk: Reconciliation) -> bool:
    """Walk the tree, then the exit handler's; end the workflow when both have ended."""
    arguments = workflow.plan.get("arguments") or {}
    message = ""
    try:
        root = walk.execute(workflow.name, Call(workflow.plan["entrypoint"], arguments))
    except NodeError as error:
        message = f"error in entry template execution: {error}"
        root = workflow.nodes.by_id[workflow.name]
    if not root.fulfilled:
        return walk.changed
    phase = "Succeeded" if root.phase == "Skipped" else root.phase
    exit_node = None
    if workflow.plan.get("onExit") and workflow.shutdown != "Terminate":
        exit_node, changed = _exit(controller, workflow, phase)
        if exit_node is None or not exit_node.fulfilled:
            return walk.changed or changed
    if root.failed and workflow.shutdown:
        message = f"Stopped with strategy '{workflow.shutdown}'"
    if not root.failed and exit_node is not None and exit_node.failed:
        phase, message = exit_node.phase, exit_node.message
    finish(controller, workflow, phase, message or root.message)
    return True


def _exit(controller: Controller, workflow: Workflow, phase: str) -> tuple[Node | None, bool]:
    extra = exit_values(workflow, phase, controller.now())
    walk = Reconciliation(controller, workflow, extra=extra)
    name = f"{workflow.name}.onExit"
    call = Call(
        workflow.plan["onExit"],
        workflow.plan.get("arguments") or {},
        flag={"hooked": True},
        on_exit=True,
    )
    try:
        return walk.execute(name, call), walk.changed
    except NodeError:
        return workflow.nodes.named(name), True


def finish(controller: Controller, workflow: Workflow, phase: str, message: str) -> None:
    """Give a workflow its final phase, in one change with the label and the time."""
    workflow.message = message
    workflow.finished_at = controller.now()
    workflow.synchronization = None
    _set_phase(workflow, phase)
    if workflow.nodes.by_id:
        running = any(n.type == POD and n.phase == RUNNING for n in workflow.nodes)
        workflow.conditions[_POD_RUNNING] = str(running)
    workflow.conditions = {**workflow.conditions, _COMPLETED: "True"}
    controller.completed(workflow)


def _set_phase(workflow: Workflow, phase: str) -> None:
    workflow.phase = phase
    completed = "true" if workflow.completed else "false"
    workflow.set_labels({PHASE_LABEL: phase, COMPLETED_LABEL: completed})


def _count(workflow: Workflow) -> bool:
    done, total = workflow.nodes.count()
    if not workflow.nodes.by_id:
        return False
    text = f"{done}/{total}"
    changed = workflow.progress != text
    workflow.progress = text
    pods = [node for node in workflow.nodes if node.type == POD and node.host]
    if pods and not workflow.completed:
        running = str(any(node.phase == RUNNING for node in pods))
        changed |= workflow.conditions.get(_POD_RUNNING) != running
        workflow.conditions = {**workflow.conditions, _POD_RUNNING: running}
    return changed
