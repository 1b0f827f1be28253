"""The controller: owns workflows, looks at them when something has happened, runs their pods.

Knows time, tasks and the order of things. What a look does is in `lifecycle.py`, what clients may
ask for in `control.py`. Everything happens on one event loop; nothing awaits between reading a
workflow and publishing its change, so every published snapshot is consistent.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any, Self

from bridge.localargo import lifecycle
from bridge.localargo.archive import Archive
from bridge.localargo.durations import parse_duration
from bridge.localargo.encoding import encode, timestamp
from bridge.localargo.errors import ArgoError, Code, already_exists, not_found
from bridge.localargo.events import ADDED, DELETED, MODIFIED, Event, EventLog
from bridge.localargo.fates import Fate, Undisturbed
from bridge.localargo.locks import Mutexes
from bridge.localargo.logs import LogStore
from bridge.localargo.names import pod_name
from bridge.localargo.nodes import (
    ERROR,
    FAILED,
    FINAL,
    PENDING,
    POD,
    RUNNING,
    SUCCEEDED,
    Node,
    NodeTree,
)
from bridge.localargo.outputs import publish
from bridge.localargo.plan import check_metadata, check_plan, merge
from bridge.localargo.pods import Pod, PodResult, outputs_of, time_limit, timed_out
from bridge.localargo.runners import Runners
from bridge.localargo.settings import LocalArgoSettings
from bridge.localargo.templates import TemplateStore, as_text
from bridge.localargo.validation import validate_tags
from bridge.localargo.variables import workflow_values
from bridge.localargo.workflow import Workflow

_HOST = "localargo"
_TRACE = "workflows.argoproj.io/trace-id"
_SIZE_LIMIT = 1_500_000  # etcd's own limit
_TTL_FIELDS = {"Succeeded": "secondsAfterSuccess", "Failed": "secondsAfterFailure"}
_POD_GC_SECONDS = 5.0


class Engine:
    """Workflows, templates and pods of one embedded Argo. Use it as an async context manager."""

    def __init__(self, settings: LocalArgoSettings, runners: Runners) -> None:
        self.settings = settings
        self.log = EventLog(settings.event_window)
        self.logs = LogStore()
        self.templates = TemplateStore(settings.namespace)
        self.archive = Archive()
        self.log.listen(self.archive.offer)
        self.fate: Fate = Undisturbed()
        self._runners = runners
        self._locks = Mutexes()
        self._workflows: dict[str, Workflow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pods: dict[tuple[str, str], asyncio.Event] = {}
        self._looks: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    async def __aenter__(self) -> Self:
        """Start; nothing runs until a workflow is created."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill all pods and forget all plans."""
        for _at, handle in self._looks.values():
            handle.cancel()
        self._looks.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    # -- what clients see -------------------------------------------------------------------

    def get(self, name: str) -> Workflow:
        """A workflow that exists.

        Raises:
            ArgoError: 404.
        """
        found = self._workflows.get(name)
        if found is None:
            raise not_found("workflows", name)
        return found

    def find(self, name: str) -> Workflow | None:
        """A workflow, or None."""
        return self._workflows.get(name)

    def workflows(self) -> list[Workflow]:
        """All workflows that exist, oldest first."""
        return list(self._workflows.values())

    def latest(self, name: str) -> Event:
        """The published state of a workflow.

        Raises:
            ArgoError: 404.
        """
        found = self.log.get(self.settings.namespace, name)
        if found is None:
            raise not_found("workflows", name)
        return found

    def create(
        self, metadata: Mapping[str, Any], spec: Mapping[str, Any], *, dry_run: bool = False
    ) -> Mapping[str, Any]:
        """Add a workflow whose spec was checked; return its first snapshot.

        Args:
            metadata: name, generateName, labels and annotations.
            spec: the spec in its typed form.
            dry_run: check and render only.

        Raises:
            ArgoError: 400 for a bad name or label, 409 if the name is taken, 500 if the object
                is too large for the store of a cluster.
        """
        workflow = self._build(metadata, spec)
        check_plan(workflow.plan)
        validate_tags(workflow.plan, workflow_values(workflow))
        check_metadata(workflow.name, workflow.labels)
        if workflow.name in self._workflows:
            raise already_exists(workflow.name, generated=bool(metadata.get("generateName")))
        if dry_run:
            snapshot = workflow.render(0)
            del snapshot["metadata"]["resourceVersion"]
            return snapshot
        if len(encode(spec)) > _SIZE_LIMIT:
            raise ArgoError(Code.INTERNAL, "etcdserver: request is too large")
        self._workflows[workflow.name] = workflow
        event = self.log.publish(ADDED, workflow.render(self.log.next_version()))
        workflow.stuck = self.fate.overlooks(workflow)
        self._schedule(workflow, 0.0)
        return event.snapshot

    def _build(self, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Workflow:
        reference = (spec.get("workflowTemplateRef") or {}).get("name")
        template = self.templates.get(reference) if reference else None
        now = self.now()
        own = {
            "name": metadata["name"],
            "generateName": metadata.get("generateName"),
            "namespace": self.settings.namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": timestamp(now),
            "labels": dict(sorted((metadata.get("labels") or {}).items())),
            "annotations": dict(sorted((metadata.get("annotations") or {}).items())),
        }
        stored = None
        if template is not None:
            listed = template.spec.get("templates", [])
            stored = {
                f"namespaced/{reference}/{item['name']}": item
                for item in sorted(listed, key=lambda item: str(item["name"]))
            }
        plan = merge(spec, template.spec if template else None)
        return Workflow(
            metadata=own,
            spec={**spec, **({"suspend": True} if plan.get("suspend") else {})},
            plan=plan,
            stored_templates=stored,
            created_at=now,
            nodes=NodeTree(metadata["name"]),
        )

    def delete(self, name: str) -> None:
        """Remove a workflow; its pods are killed, its log is gone.

        Raises:
            ArgoError: 404.
        """
        workflow = self.get(name)
        del self._workflows[name]
        _at, handle = self._looks.pop(workflow.uid, (0.0, None))
        if handle is not None:
            handle.cancel()
        for (uid, _), stop in self._pods.items():
            if uid == workflow.uid:
                stop.set()
        self.log.publish(DELETED, workflow.render(self.log.next_version()))
        self.logs.forget(workflow.uid)
        self._release(workflow)

    def save(self, workflow: Workflow) -> Mapping[str, Any]:
        """Publish a changed workflow: one MODIFIED with the next resource version."""
        workflow.metadata["generation"] += 1
        event = self.log.publish(MODIFIED, workflow.render(self.log.next_version()))
        if workflow.completed:
            self.logs.wake(workflow.uid)
        return event.snapshot

    def touch(self, name: str) -> Mapping[str, Any]:
        """Publish a workflow as it is, as any write to it does; for tests and benches.

        Raises:
            ArgoError: 404.
        """
        return self.save(self.get(name))

    def notice(self, workflow: Workflow) -> None:
        """Look at a workflow that a client or a pod has changed, after the requeue time."""
        self._schedule(workflow, self.settings.requeue_seconds)

    # -- what a look needs: lifecycle.Controller --------------------------------------------

    def start(self, workflow: Workflow, node: Node, template: Mapping[str, Any]) -> None:
        """Start the pod of a node."""
        stop = asyncio.Event()
        self._pods[workflow.uid, node.id] = stop
        name = pod_name(workflow.name, node.name, node.template_name)
        log = self.logs.of(workflow.uid)
        pod = Pod(
            name=name,
            namespace=workflow.namespace,
            template=template,
            write=lambda text: log.add(name, text),
            stop=stop,
            capture_result=_result_is_used(workflow, node),
        )
        self._spawn(self._run(workflow, node, pod))

    def stop(self, workflow: Workflow, node: Node) -> None:
        """End the pod of a node, if it has one that runs."""
        stop = self._pods.get((workflow.uid, node.id))
        if stop is not None:
            stop.set()

    def look_again(self, workflow: Workflow, at: float) -> None:
        """Look at the workflow once more at this time."""
        self._schedule(workflow, max(0.0, at - self.now()))

    def completed(self, workflow: Workflow) -> None:
        """Free the locks of a workflow that has ended, and plan its deletion."""
        self._release(workflow)
        self._plan_pod_removal(workflow)
        own = self.fate.removal(workflow)
        workflow.unseen = own is not None and own.unseen
        seconds = _time_to_live(workflow) if own is None else own.seconds
        if seconds is not None:
            self._spawn(self._delete_later(workflow, seconds))

    # -- inside ------------------------------------------------------------------------------

    def _release(self, workflow: Workflow) -> None:
        for key in self._locks.release(workflow.key):
            waiting = self._workflows.get(key.partition("/")[2])
            if waiting is not None:
                self._schedule(waiting, 0.0)

    def _schedule(self, workflow: Workflow, delay: float) -> None:
        """Plan a look; of two the earlier stays, for each look asks anew for the later ones."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay
        planned = self._looks.get(workflow.uid)
        if planned is not None:
            if planned[0] <= at:
                return
            planned[1].cancel()
        self._looks[workflow.uid] = (at, loop.call_at(at, self._look, workflow))

    def _look(self, workflow: Workflow) -> None:
        del self._looks[workflow.uid]
        try:
            changed = lifecycle.look(self, self._locks, workflow)
        except Exception as error:  # noqa: BLE001 - Argo's controller ends the workflow too
            lifecycle.finish(self, workflow, "Error", f"{error}")
            changed = True
        if changed:
            if _TRACE not in workflow.metadata["annotations"]:
                workflow.annotate({_TRACE: secrets.token_hex(16)})
            if workflow.unseen:
                self.delete(workflow.name)
            else:
                self.save(workflow)

    async def _run(self, workflow: Workflow, node: Node, pod: Pod) -> None:
        started = self.now()
        if node.type == POD:
            self._mark_running(workflow, node)
        limit = time_limit(pod.template)
        timer = None
        if limit is not None:
            timer = asyncio.get_running_loop().call_later(limit, pod.stop.set)
        try:
            result = await self._runners.run(pod)
        except Exception as error:  # noqa: BLE001 - a pod ends, whatever its runner does
            result = PodResult(None, f"{type(error).__name__}: {error}", error=True)
        finally:
            if timer is not None:
                timer.cancel()
            self._pods.pop((workflow.uid, node.id), None)
        spare = self.settings.node_seconds - (self.now() - started)
        if spare > 0 and not pod.stop.is_set():
            await asyncio.sleep(spare)
        out_of_time = limit is not None and self.now() - started >= limit
        self._note_end(workflow, node, pod, result if not out_of_time else timed_out(pod.template))

    def _mark_running(self, workflow: Workflow, node: Node) -> None:
        """Note that the pod runs. With a requeue time nobody looks before it has ended."""
        node.host = _HOST
        if self.settings.requeue_seconds == 0 and node.phase == PENDING:
            node.phase = RUNNING
            workflow.conditions = {**workflow.conditions, "PodRunning": "True"}
            self.save(workflow)

    def _note_end(self, workflow: Workflow, node: Node, pod: Pod, result: PodResult) -> None:
        if self._workflows.get(workflow.name) is not workflow:
            return
        if workflow.nodes.by_id.get(node.id) is not node:
            return
        if node.phase in FINAL and node.synced is not False:
            return
        node.finished_at = self.now()
        node.message = result.message
        node.phase = FAILED if result.failed else SUCCEEDED
        if result.error:
            node.phase = ERROR
        if node.type == POD:
            node.synced = True
        node.outputs = outputs_of(pod.template, result)
        publish(workflow, node)
        self.notice(workflow)

    def _plan_pod_removal(self, workflow: Workflow) -> None:
        policy = workflow.plan.get("podGC") or {}
        strategy = policy.get("strategy", "")
        if not strategy or (strategy.endswith("Success") and workflow.phase != "Succeeded"):
            return
        delay = policy.get("deleteDelayDuration")
        seconds = parse_duration(as_text(delay)) if delay else _POD_GC_SECONDS
        self._spawn(self._forget_later(workflow, seconds))

    async def _forget_later(self, workflow: Workflow, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.logs.forget(workflow.uid)

    async def _delete_later(self, workflow: Workflow, seconds: float) -> None:
        finished = workflow.finished_at
        await asyncio.sleep(seconds)
        current = self._workflows.get(workflow.name)
        if current is workflow and workflow.completed and workflow.finished_at == finished:
            self.delete(workflow.name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _time_to_live(workflow: Workflow) -> float | None:
    strategy = workflow.plan.get("ttlStrategy") or {}
    own = strategy.get(_TTL_FIELDS.get(workflow.phase, ""))
    seconds = own if own is not None else strategy.get("secondsAfterCompletion")
    return None if seconds is None else float(seconds)


def _result_is_used(workflow: Workflow, node: Node) -> bool:
    """Argo keeps what a script prints only if something reads it."""
    name = node.display_name.partition("(")[0]
    text = encode(workflow.plan.get("templates", [])).decode()
    return any(
        f"{root}.{name}.outputs.result" in text or f"{root}['{name}'].outputs.result" in text
        for root in ("steps", "tasks")
    )
