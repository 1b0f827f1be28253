"""Reading a workflow as Argo shows it."""

from __future__ import annotations

import pytest

from bridge.domain.workflows import Node, Snapshot, moment
from tests.domain.making import node, recorded, snapshot


def named(name: str, **more: object) -> Node:
    return Node({"name": name, **more})


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("wf[0].validate", "validate"),
        ("wf[4].rbac.role", "rbac/role"),
        ("wf[5].feature(0:monitoring)[0].backup", "feature(monitoring)/backup"),
        ("wf.onExit[0].rollback", "rollback"),
        ("wf", "main"),
        ("wf.onExit", "main"),
    ],
)
def test_a_step_has_a_short_name_for_people(name, label):
    """A line names the step as its author did, without the workflow and the indices."""
    assert named(name, templateName="main").label("wf") == label


def test_a_node_without_a_path_is_named_by_what_it_has():
    """Even a bare node is named somehow."""
    assert named("wf", displayName="shown").label("wf") == "shown"
    assert named("wf", templateRef={"template": "far"}).label("wf") == "far"


def test_the_exit_handler_is_told_from_the_work():
    """Rolling back is not the cause of a failure."""
    assert named("wf.onExit[0].rollback").in_exit_handler
    assert not named("wf[0].work").in_exit_handler


def test_a_node_says_how_long_it_took():
    """A step that has not begun or not ended has no duration."""
    assert Node(node("a", started=1, ended=4)).seconds == 3
    assert Node(node("a", started=1)).seconds is None
    assert Node(node("a", started=None, ended=4)).seconds is None
    assert moment("2026-11-22T10:00:00Z").utcoffset().total_seconds() == 0


def test_an_empty_object_is_a_workflow_that_argo_has_not_looked_at():
    """A workflow without a status is open, has no phase and shows nothing."""
    bare = Snapshot({})

    assert (bare.name, bare.uid, bare.resource_version, bare.phase, bare.message) == ("",) * 5
    assert (bare.progress, bare.shutdown, bare.template) == (None, "", "")
    assert (dict(bare.labels), bare.nodes, bare.outputs) == ({}, (), {})
    assert not bare.ended
    assert not bare.suspended


def test_what_argo_says_of_a_workflow_is_read():
    """Name, template, labels and version come from where Argo puts them."""
    spec = {"workflowTemplateRef": {"name": "make-thing"}, "shutdown": "Stop"}

    shown = snapshot(phase="Failed", spec=spec, message="no", progress="1/2", version="7")

    assert (shown.name, shown.uid, shown.resource_version) == ("wf", "uid-1", "7")
    assert (shown.template, shown.shutdown, shown.message) == ("make-thing", "Stop", "no")
    assert (shown.progress, shown.ended) == ("1/2", True)


def test_an_open_gate_or_a_paused_workflow_waits():
    """Waiting is no phase: it is a running gate, or the whole workflow paused."""
    assert snapshot(node("gate", "Suspend")).suspended
    assert snapshot(spec={"suspend": True}).suspended
    assert not snapshot(node("gate", "Suspend", "Succeeded"), node("a")).suspended


def test_outputs_come_from_the_root_and_from_global_names():
    """A template may give outputs either way; a global name wins, no value is no output."""
    root = {
        "id": "wf",
        "name": "wf",
        "outputs": {"parameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]},
    }
    shown = snapshot(root, outputs={"parameters": [{"name": "b", "value": "2"}, {"name": "later"}]})

    assert shown.outputs == {"a": "1", "b": "2"}


def test_the_recorded_run_gives_its_outputs():
    """The outputs of a real run are found where Argo keeps them."""
    *_, last = recorded("provisioning-ok")

    assert last.outputs == {
        "namespace": "team-a-dev",
        "namespace-uid": "4a20650f-fc99-4c82-8e3a-a2f0256f77b8",
    }


def test_a_pod_is_found_by_its_node():
    """Logs are asked of the pod that Kubernetes really has (argo-recordings/provisioning-ok)."""
    last = list(recorded("provisioning-ok"))[-1]
    pods = {last.pod_name(one) for one in last.nodes if one.type == "Pod"}

    assert {"prov-ok-validate-4028023857", "prov-ok-reserve-3842865643"} <= pods
    assert snapshot().pod_name(Node({"id": "wf"})) == "wf"
    long = snapshot().pod_name(Node({"id": "wf-123", "templateName": "t" * 300}))
    assert len(long) == 242 + len("-123")


@pytest.mark.parametrize("started", ["yesterday", "2026-11-22T00:00:00"])
def test_times_that_cannot_be_read_cost_the_duration_only(started):
    """An odd time of Argo leaves a line without its seconds and not a run without its lines."""
    odd = Node({"startedAt": started, "finishedAt": "2026-11-22T00:00:01Z"})

    assert odd.seconds is None
