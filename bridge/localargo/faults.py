"""The faults in force: what was asked for, how often each was applied, what is open.

Knows the engine and the streams that are open. What a rule does to a call is in `fault_calls.py`,
to a stream in `fault_streams.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bridge.localargo.engine import Engine
from bridge.localargo.events import before
from bridge.localargo.fates import Removal
from bridge.localargo.fault_draws import Drawn, Draws
from bridge.localargo.fault_rules import (
    Deed,
    FaultPlan,
    StreamRule,
    UnaryRule,
    WorkflowRule,
)
from bridge.localargo.fault_streams import SHAPES, Ending, OpenStream
from bridge.localargo.record import CallRecord
from bridge.localargo.slots import Slots
from bridge.localargo.workflow import Workflow


class Faults:
    """The faults of one embedded Argo. All of it belongs to the thread of its event loop.

    The shapes are those of docs/reference/local-argo-faults.md.
    """

    def __init__(self, engine: Engine) -> None:
        self.record = CallRecord()
        self.slots = Slots()
        self._engine = engine
        self._open: set[OpenStream] = set()
        self._use(FaultPlan())
        engine.fate = self

    def _use(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._unary = Draws("unary", plan.unary, seed=plan.seed)
        self._streams = Draws("streams", plan.streams, seed=plan.seed)
        self._workflows = Draws("workflows", plan.workflows, seed=plan.seed)
        self._now: Counter[str] = Counter()
        self.slots.limit(plan.stream_limit)
        self._engine.archive.enabled = plan.archive

    def put(self, body: Mapping[str, Any]) -> None:
        """Replace the faults in force, as `PUT /faults` does.

        Raises:
            ValueError: the body cannot be read; nothing has changed.
        """
        self._use(FaultPlan.read(body))

    def clear(self) -> None:
        """No faults any more."""
        self._use(FaultPlan())

    def state(self) -> dict[str, Any]:
        """What `GET /faults` answers."""
        routes = [stream.route for stream in self._open]
        return {
            "faults": self._plan.model_dump(mode="json", exclude_unset=True),
            "applied": {
                "unary": self._unary.applied(),
                "streams": self._streams.applied(),
                "workflows": self._workflows.applied(),
                "now": dict(self._now),
            },
            "open": {route: routes.count(route) for route in ("watch", "log")},
            "waiting": self.slots.waiting,
        }

    # -- what is drawn ------------------------------------------------------------------------

    def unary(self, route: str) -> Drawn[UnaryRule] | None:
        """The rule that applies to a call, counted as applied."""
        return self._unary.first(lambda rule: rule.matches(route))

    def draw_stream(self, route: str, *, resumes: bool) -> Drawn[StreamRule] | None:
        """The rule that ends a stream or is answered instead of it, counted as applied."""
        return self._streams.first(
            lambda rule: rule.fault not in SHAPES and rule.matches(route, resumes=resumes)
        )

    def open(self, route: str, *, since: str, ending: Drawn[StreamRule] | None) -> OpenStream:
        """Open a stream under the rules of now; `close` it."""
        found = self._streams.matching(
            lambda rule: rule.fault in SHAPES and rule.matches(route, resumes=False)
        )
        by_event = {"replay", "duplicate"}
        shapes = [drawn for drawn in found if drawn.rule.fault in by_event or drawn.admits()]
        stream = OpenStream(route, since=since, log=self._engine.log, ending=ending, shapes=shapes)
        self._open.add(stream)
        return stream

    def close(self, stream: OpenStream) -> None:
        """A stream has come to its end; its slot is free."""
        self._open.discard(stream)
        self.slots.free()

    def overlooks(self, workflow: Workflow) -> bool:
        """Whether the controller never looks at a workflow that is new."""
        return self._fate(workflow, "no-phase") is not None

    def removal(self, workflow: Workflow) -> Removal | None:
        """When a workflow that has ended is deleted; None if no rule says."""
        drawn = self._fate(workflow, "vanish", "vanish-unseen")
        if drawn is None:
            return None
        return Removal(drawn.seconds(), unseen=drawn.rule.fault == "vanish-unseen")

    def _fate(self, workflow: Workflow, *faults: str) -> Drawn[WorkflowRule] | None:
        template = (workflow.spec.get("workflowTemplateRef") or {}).get("name")
        return self._workflows.first(
            lambda rule: rule.fault in faults and rule.template in {None, template}
        )

    # -- at once ------------------------------------------------------------------------------

    def now(self, body: Mapping[str, Any]) -> int:
        """Do one thing at once, as `POST /faults/now`; how many streams or workflows it reached.

        Raises:
            ValueError: the body cannot be read.
            ArgoError: 404; the workflow that is to be deleted does not exist.
        """
        deed = Deed.read(body)
        reached = self._do(deed)
        self._now[deed.do] += reached
        return reached

    def _do(self, deed: Deed) -> int:
        match deed.do:
            case "rotate":
                return self._end("rotate", "watch")
            case "expire":
                self._engine.log.compact()
                return self._end("expire", "watch")
            case "end":
                return self._end("end", "log")
            case "cut" | "silent":
                return self._end(deed.do, deed.route)
            case "replay" | "duplicate":
                return self._repeat(stale=deed.do == "replay")
            case "delete":
                self._engine.delete(deed.name or "")
                return 1
            case "delete-ended" | "lose-logs":
                ended = [workflow for workflow in self._engine.workflows() if workflow.completed]
                for workflow in ended:
                    if deed.do == "delete-ended":
                        self._engine.delete(workflow.name)
                    self._engine.logs.forget(workflow.uid)
                return len(ended)

    def _end(self, how: Ending, route: str) -> int:
        reached = [stream for stream in self._open if route in {"*", stream.route}]
        for stream in reached:
            stream.end(how)
        return len(reached)

    def _repeat(self, *, stale: bool) -> int:
        log, namespace = self._engine.log, self._engine.settings.namespace
        latest = log.all(namespace)
        shown = [before(event) if stale else event for event in latest]
        found = [event for event in shown if event is not None]
        for event in found:
            log.repeat(event)
        return len(found)
