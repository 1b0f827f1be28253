"""One look of the controller at one workflow: what can begin begins, what has ended is noted.

Mirrors `operate` and `executeTemplate` of Argo's controller: the whole tree is walked from the
entrypoint each time, and every node that exists is taken up where it is. Knows nodes and
templates; starts pods through `Controller` and never waits. Steps and DAGs are in their own
modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.localargo import dag, steps
from bridge.localargo.calls import Call, Controller, NodeError, StuckError
from bridge.localargo.durations import parse_duration
from bridge.localargo.expressions import ExpressionError, evaluate
from bridge.localargo.names import node_id
from bridge.localargo.nodes import (
    DAG,
    ERROR,
    FAILED,
    FINAL,
    HTTP,
    PENDING,
    POD,
    RETRY,
    RUNNING,
    STEPS,
    SUCCEEDED,
    SUSPEND,
    Node,
)
from bridge.localargo.outputs import publish
from bridge.localargo.retries import decide
from bridge.localargo.tags import Scope, TagError, UnresolvedTagError, substitute
from bridge.localargo.templates import as_text, typed_parameter
from bridge.localargo.variables import Values, retry_values, workflow_values
from bridge.localargo.workflow import Workflow

_POD_KINDS = ("script", "container", "resource")
_ELSEWHERE = frozenset({POD, HTTP})  # their end comes from outside


class Reconciliation:
    """One look at one workflow. `changed` tells whether anything is different afterwards."""

    def __init__(self, controller: Controller, workflow: Workflow, *, extra: Values) -> None:
        self.workflow = workflow
        self.nodes = workflow.nodes
        self.changed = False
        self._controller = controller
        self._globals = workflow_values(workflow) | extra
        self._templates = {item["name"]: item for item in workflow.plan.get("templates", [])}

    def now(self) -> float:
        """Unix seconds."""
        return self._controller.now()

    def scope(self, values: Mapping[str, str | None]) -> Scope:
        """What tags of the workflow can read, and these values."""
        return Scope({**self._globals, **values})

    def template(self, name: str) -> Mapping[str, Any]:
        """A template of the workflow, tags and all."""
        found: Mapping[str, Any] = self._templates[name]
        return found

    def initialize(
        self,
        name: str,
        type_: str,
        phase: str,
        *,
        call: Call | None = None,
        boundary: str = "",
        message: str = "",
        flag: Mapping[str, bool] | None = None,
    ) -> Node:
        """Add a node; one that is final from the start has its end with its beginning."""
        now = self.now()
        inside = self.nodes.by_id.get(boundary)
        display = name.removeprefix(inside.name).removeprefix(".") if inside else name
        self.changed = True
        return self.nodes.add(
            Node(
                id=node_id(self.workflow.name, name),
                name=name,
                display_name=_display(display, type_),
                type=type_,
                phase=phase,
                started_at=now,
                template_name=call.template if call else "",
                boundary_id=boundary,
                message=message,
                finished_at=now if phase in FINAL else None,
                flag=dict(flag) if flag is not None else None,
            )
        )

    def mark(self, node: Node, phase: str, message: str = "") -> Node:
        """Set the phase and message of a node."""
        if node.phase != phase:
            self.changed = True
            node.phase = phase
        if node.message != message and (message or phase not in FINAL):
            self.changed = True
            node.message = message
        if node.phase in FINAL and node.finished_at is None:
            self.changed = True
            node.finished_at = self.now()
        return node

    def connect(self, parent: Node, child: Node) -> None:
        """Make a node the child of another."""
        self.changed |= self.nodes.connect(parent, child)

    def publish(self, node: Node) -> None:
        """Make outputs with a `globalName` readable by what begins now."""
        if publish(self.workflow, node):
            self.changed = True
            self._globals |= workflow_values(self.workflow)

    def set_outbound(self, node: Node, ids: tuple[str, ...]) -> None:
        """Note where what follows the node is attached."""
        if ids and node.outbound != ids:
            self.changed = True
            node.outbound = ids

    def stopped(self, *, on_exit: bool) -> str:
        """Why nothing new may begin; empty if it may."""
        shutdown = self.workflow.shutdown
        if shutdown and not (on_exit and shutdown == "Stop"):
            return f"workflow shutdown with strategy: {shutdown}"
        limit = self.deadline()
        if not on_exit and limit is not None and self.now() >= limit:
            return "Step exceeded its deadline"
        return ""

    def deadline(self) -> float | None:
        """When the workflow is out of time; the exit handler is not bound to it."""
        limit = self.workflow.plan.get("activeDeadlineSeconds")
        started = self.workflow.started_at
        return None if limit is None or started is None else started + float(as_text(limit))

    def execute(self, name: str, call: Call) -> Node:
        """Bring the node of a template as far as it can go now; it is created if need be.

        Raises:
            NodeError: the template cannot be executed; the node, if there is one, is Error.
            StuckError: a tag reads what is not there.
        """
        node = self.nodes.named(name)
        if node is not None and (node.phase in FINAL or node.type in _ELSEWHERE):
            return node
        template = self._processed(name, call)
        if template.get("retryStrategy") is not None:
            return self._execute_with_retries(name, call, template)
        return self._execute_once(name, call, template)

    def _execute_once(self, name: str, call: Call, template: Mapping[str, Any]) -> Node:
        if "steps" in template:
            return steps.execute(
                self, self._open(name, STEPS, RUNNING, call, template), template, call
            )
        if "dag" in template:
            return dag.execute(self, self._open(name, DAG, RUNNING, call, template), template, call)
        if "suspend" in template:
            return self._suspend(name, call, template)
        return self._leaf(name, call, template)

    def _open(
        self, name: str, type_: str, phase: str, call: Call, template: Mapping[str, Any]
    ) -> Node:
        """The node of a template, created with its inputs if it is not there."""
        node = self.nodes.named(name)
        if node is None:
            node = self.initialize(
                name, type_, phase, call=call, boundary=call.boundary, flag=call.flag
            )
            node.inputs = template.get("inputs") or None
        return node

    def _leaf(self, name: str, call: Call, template: Mapping[str, Any]) -> Node:
        node = self.nodes.named(name)
        if node is not None:
            return node
        is_pod = any(kind in template for kind in _POD_KINDS)
        node = self._open(name, POD if is_pod else HTTP, PENDING, call, template)
        if is_pod:
            node.synced = True
        reason = self.stopped(on_exit=call.on_exit)
        if reason:
            return self.mark(node, FAILED, reason)
        self._controller.start(self.workflow, node, template)
        return node

    def _suspend(self, name: str, call: Call, template: Mapping[str, Any]) -> Node:
        node = self._open(name, SUSPEND, RUNNING, call, template)
        if node.outputs is None and template.get("outputs"):
            node.outputs = template["outputs"]
        reason = self.stopped(on_exit=call.on_exit)
        if reason:
            return self.mark(node, FAILED, self.stop_message())
        duration = (template["suspend"] or {}).get("duration")
        if duration:
            until = node.started_at + parse_duration(as_text(duration))
            if self.now() >= until:
                return self._resume(node)
            self._controller.look_again(self.workflow, until)
        return node

    def stop_message(self) -> str:
        """What a node says that ends because the workflow does."""
        shutdown = self.workflow.shutdown
        return f"Stopped with strategy '{shutdown}'" if shutdown else "Step exceeded its deadline"

    def _resume(self, node: Node) -> Node:
        try:
            node.outputs = with_defaults(node.outputs)
        except MissingOutputError as error:
            return self.mark(node, ERROR, str(error))
        return self.mark(node, SUCCEEDED)

    def _execute_with_retries(self, name: str, call: Call, template: Mapping[str, Any]) -> Node:
        parent = self._open(name, RETRY, RUNNING, call, {})
        attempts = self.nodes.children(parent)
        if attempts and attempts[-1].fulfilled:
            if self._settle(parent, attempts, template["retryStrategy"], call):
                return parent
            attempt_name = f"{name}({len(attempts)})"
        elif attempts:
            attempt_name = attempts[-1].name
        else:
            attempt_name = f"{name}(0)"
        finished = attempts if self.nodes.named(attempt_name) is None else attempts[:-1]
        attempt = replace(
            call,
            flag={**(call.flag or {}), "retried": True},
            local={**(call.local or {}), **retry_values(finished)},
        )
        node = self.nodes.named(attempt_name)
        if node is None or node.type not in _ELSEWHERE:
            node = self._execute_once(attempt_name, attempt, self._processed(attempt_name, attempt))
        self.connect(parent, node)
        if node.fulfilled:
            return self._execute_with_retries(name, call, template)
        return parent

    def _settle(
        self, parent: Node, attempts: list[Node], strategy: Mapping[str, Any], call: Call
    ) -> bool:
        """Apply the verdict on a Retry node; False if another attempt is to be made."""
        reason = self.stopped(on_exit=call.on_exit) and self.stop_message()
        verdict = decide(
            strategy,
            attempts,
            now=self.now(),
            stopped=reason,
            expression=lambda source: self._allows(source, attempts),
        )
        if verdict.phase is not None:
            parent.outputs = attempts[-1].outputs
            parent.message = ""
            self.mark(parent, verdict.phase, verdict.message)
            return True
        self.mark(parent, parent.phase, verdict.message)
        if verdict.wait_until is not None:
            self._controller.look_again(self.workflow, verdict.wait_until)
            return True
        return False

    def _allows(self, source: str, attempts: list[Node]) -> bool:
        try:
            return bool(evaluate(source, self.scope(retry_values(attempts)).env()))
        except ExpressionError:
            return False

    def _processed(self, name: str, call: Call) -> dict[str, Any]:
        """The template with its inputs filled in and its tags replaced."""
        template = self.template(call.template)
        try:
            inputs = _inputs(template, call.arguments)
            values: Values = {
                f"inputs.parameters.{item['name']}": item["value"]
                for item in inputs.get("parameters", [])
            }
            values |= {"node.name": name, **(call.local or {})}
            scope = self.scope(values)
            processed: dict[str, Any] = substitute({**template, "inputs": inputs}, scope)
        except UnresolvedTagError as error:
            raise StuckError(str(error)) from error
        except (TagError, ValueError) as error:
            raise NodeError(self._fail(name, call, str(error))) from error
        return processed

    def _fail(self, name: str, call: Call, message: str) -> str:
        node = self.nodes.named(name)
        if node is None:
            node = self.initialize(name, self._type(call), ERROR, call=call, boundary=call.boundary)
        self.mark(node, ERROR, message)
        return message

    def _type(self, call: Call) -> str:
        template = self.template(call.template)
        kinds = {"steps": STEPS, "dag": DAG, "suspend": SUSPEND, "http": HTTP}
        return next((type_ for kind, type_ in kinds.items() if kind in template), POD)


class MissingOutputError(Exception):
    """A supplied output has no value; `str()` is Argo's text."""


def with_defaults(outputs: dict[str, Any] | None) -> dict[str, Any] | None:
    """The outputs of a suspend node with defaults for what nobody supplied.

    Raises:
        MissingOutputError: one has neither value nor default.
    """
    if not outputs or not outputs.get("parameters"):
        return outputs
    filled = []
    for parameter in outputs["parameters"]:
        source = parameter.get("valueFrom") or {}
        if "value" in parameter or "supplied" not in source:
            filled.append(parameter)
        elif "default" in source:
            filled.append({"name": parameter["name"], "value": as_text(source["default"])})
        else:
            raise MissingOutputError(
                f"raw output parameter '{parameter['name']}' has not been set and does not have "
                "a default value"
            )
    return {**outputs, "parameters": filled}


def _inputs(template: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a template with the values of the arguments.

    Raises:
        ValueError: one has no value.
    """
    declared = template.get("inputs", {}).get("parameters")
    if not declared:
        return {}
    given = {item["name"]: item for item in arguments.get("parameters") or []}
    filled = []
    for parameter in declared:
        value = given.get(parameter["name"], {}).get("value", parameter.get("value"))
        if value is None:
            value = parameter.get("default")
        if value is None:
            raise ValueError(f"inputs.parameters.{parameter['name']} was not supplied")
        filled.append(typed_parameter({**parameter, "value": value}))
    return {"parameters": filled}


def _display(name: str, type_: str) -> str:
    """The last part of a name: `[0].validate` shows as `validate`, a group as `[0]`."""
    if type_ == "StepGroup" or not name.startswith("["):
        return name
    return name.partition("].")[2] or name
