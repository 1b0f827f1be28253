"""The reducer: what a developer reads, from what a real Argo showed and from small cases."""

from __future__ import annotations

import pytest

from bridge.domain.progress import (
    FollowState,
    Gate,
    advance,
    failed_leaves,
    failure_sentence,
    one_line,
    spoken_reason,
)
from bridge.domain.workflows import Snapshot
from tests.domain.making import node, recorded, snapshot

GATE = Gate("approval", ("group:default/admins", "user:default/boss"))


def told(*shown: Snapshot, gate: Gate | None = None) -> list[str]:
    """The lines of these snapshots, as a reader sees them."""
    state, lines = FollowState(), []
    for one in shown:
        step = advance(state, one, gate=gate)
        state = step.state
        lines += [event.message for event in step.events if event.message]
    return lines


RECORDED = {
    "provisioning-ok": """
        ✓ validate (2 s)
        ● reserve running
        ↻ reserve: try 1 failed: main: Error (exit code 1)
        ✓ reserve (20 s)
        ✓ create-namespace (2 s)
        ✓ quota-medium (3 s)
        ✓ limit-range (4 s)
        ✓ network-team-shared (4 s)
        ✓ rbac/role (4 s)
        ✓ rbac/role-binding (4 s)
        ✓ rbac/service-account (4 s)
        ✓ feature(monitoring)/monitoring (3 s)
        ✓ feature(backup)/backup (3 s)
        ✓ feature(service-mesh)/service-mesh (3 s)
        ✓ register (3 s)
        ✓ report (4 s)""",
    "provisioning-failure": """
        ✓ validate (2 s)
        ● reserve running
        ↻ reserve: try 1 failed: main: Error (exit code 1)
        ✓ reserve (20 s)
        ✓ create-namespace (2 s)
        ✓ rbac/role (2 s)
        ✓ rbac/service-account (3 s)
        ✓ limit-range (4 s)
        ✓ network-isolated (4 s)
        ✓ quota-small (4 s)
        ✓ rbac/role-binding (4 s)
        ✓ feature(monitoring)/monitoring (2 s)
        ✗ register failed (3 s): main: Error (exit code 4)
        ✓ report (3 s)
        ✓ rollback (3 s)""",
    "provisioning-invalid": """
        ✗ validate failed (3 s): main: Error (exit code 2)
        ✓ report (2 s)
        ✓ rollback (3 s)""",
    "provisioning-production": """
        ✓ validate (3 s)
        ● reserve running
        ↻ reserve: try 1 failed: main: Error (exit code 1)
        ✓ reserve (21 s)
        ⏸ waiting for approval by group:default/admins or user:default/boss
        ✓ approval (1 s)
        ✓ create-namespace (2 s)
        ✓ limit-range (2 s)
        ✓ quota-large (2 s)
        ✓ network-isolated (3 s)
        ✓ rbac/role (3 s)
        ✓ rbac/role-binding (3 s)
        ✓ rbac/service-account (3 s)
        ✓ report (2 s)""",
    "provisioning-rejected": """
        ✓ validate (3 s)
        ● reserve running
        ↻ reserve: try 1 failed: main: Error (exit code 1)
        ✓ reserve (20 s)
        ⏸ waiting for approval by group:default/admins or user:default/boss
        ✗ approval failed (1 s): rejected by user:default/boss
        ✓ report (3 s)
        ✓ rollback (3 s)""",
    "retry": """
        ✓ ok (3 s)
        ● flaky running
        ↻ flaky: try 1 failed: main: Error (exit code 7)
        ↻ flaky: try 2 failed: main: Error (exit code 7)
        ↻ flaky: try 3 failed: main: Error (exit code 7)
        ✗ flaky failed (30 s): No more retries left
        ✓ bye (3 s)
        ● flaky running
        ✓ flaky (9 s)
        ✓ bye (2 s)""",
    "stop": """
        ✗ work failed: workflow shutdown with strategy: Stop
        ✓ bye (2 s)""",
    "terminate": """
        ✗ work failed: workflow shutdown with strategy: Terminate""",
    "stuck-without-phase": "",
}


@pytest.mark.parametrize("name", RECORDED)
def test_the_lines_of_a_real_workflow(name):
    """A developer reads these very lines while Argo does the work, each of them once."""
    expected = [line.strip() for line in RECORDED[name].splitlines() if line.strip()]

    assert told(*recorded(name), gate=GATE) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_a_real_workflow_that_is_seen_twice_tells_nothing_twice(name):
    """A watch that repeats itself adds no line."""
    frames = list(recorded(name))
    twice = [frame for frame in frames for _ in range(2)]

    assert told(*twice) == told(*frames)


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("provisioning")])
def test_a_real_workflow_of_which_only_the_end_is_seen_tells_every_end(name):
    """A bridge that was away for the whole run still tells how each step went."""
    *_, last = recorded(name)
    ends = [line for line in told(*recorded(name)) if line[0] in "✓✗↻"]

    assert sorted(told(last)) == sorted(ends)


def test_a_workflow_without_a_phase_says_so_to_the_end():
    """Nothing ever happens in a workflow that the controller cannot read."""
    frames = list(recorded("stuck-without-phase"))

    assert {frame.phase for frame in frames} == {""}
    assert not any(frame.ended or frame.suspended for frame in frames)


@pytest.mark.parametrize(
    ("name", "spoken", "sentence"),
    [
        ("provisioning-failure", "", "register failed: main: Error (exit code 4)"),
        ("provisioning-invalid", "", "validate failed: main: Error (exit code 2)"),
        (
            "provisioning-invalid",
            "team names have no blanks.\n",
            "validate failed: team names have no blanks (Error (exit code 2))",
        ),
        ("provisioning-rejected", "", "approval failed: rejected by user:default/boss"),
        ("stop", "", "work failed: main: Error (exit code 9)"),
    ],
)
def test_a_real_failure_is_one_sentence(name, spoken, sentence):
    """Whoever filled the form reads which step failed and why, its own last words first."""
    *_, last = recorded(name)
    (leaf,) = failed_leaves(last)

    assert failure_sentence(last, last_lines={leaf.id: spoken}) == sentence


def test_a_gate_of_another_name_names_nobody():
    """Only the gate of the definition is an approval; another one waits under its own name."""
    gate = node("pause", "Suspend")

    assert told(snapshot(gate), gate=GATE) == ["⏸ waiting for pause"]
    assert told(snapshot(gate)) == ["⏸ waiting for pause"]


def test_an_approval_event_says_who_may_decide():
    """A page can show the people who may agree."""
    (event,) = advance(FollowState(), snapshot(node("approval", "Suspend")), gate=GATE).events

    assert event.type == "approval"
    assert event.data == {
        "step": {"id": "wf-approval", "name": "approval"},
        "by": ["group:default/admins", "user:default/boss"],
    }


def test_a_step_event_carries_its_times():
    """A page can draw a step with its beginning and its end."""
    shown = snapshot(node("a", phase="Succeeded", started=1, ended=3))

    (event,) = advance(FollowState(), shown).events

    assert event.data["step"] == {
        "id": "wf-a",
        "name": "a",
        "phase": "Succeeded",
        "startedAt": "2026-11-22T10:00:01Z",
        "finishedAt": "2026-11-22T10:00:03Z",
    }
    assert (
        advance(FollowState(), snapshot(node("a", ended=3))).events[0].data["step"]["finishedAt"]
        is None
    )


def test_what_nobody_waits_for_is_not_a_line():
    """Groups are silent; a step that waits or is skipped moves a page and shows no line."""
    shown = snapshot(
        node("g", "StepGroup"),
        node("p", phase="Pending"),
        node("s", "Skipped", "Skipped", ended=0),
        node("o", phase="Omitted", ended=0),
    )

    step = advance(FollowState(), shown)

    assert [event.data["step"]["name"] for event in step.events] == ["o", "p", "s"]
    assert {event.message for event in step.events} == {""}
    assert {event.level for event in step.events} == {"debug"}


def test_a_step_that_argo_leaves_open_is_closed_with_its_workflow():
    """Argo never ends some nodes of an ended workflow; a reader is told that they did not end."""
    begun = node("a", started=1)
    unseen = node("b", phase="Pending", started=2)

    lines = told(snapshot(begun), snapshot(begun, unseen, phase="Failed"))

    assert lines == ["● a running", "○ a did not finish"]


def test_an_ended_workflow_does_not_tell_that_a_step_runs():
    """A step that is first seen open in an ended workflow was never told, so its end is neither."""
    shown = snapshot(node("a"), phase="Error")

    step = advance(FollowState(), shown)

    assert [event.message for event in step.events] == [""]
    assert advance(step.state, shown).events == ()


def test_tries_are_told_when_they_fail():
    """A step that is tried again says which try failed, and its end is told once for all tries."""
    retried = {"nodeFlag": {"retried": True}, "displayName": "x(0)"}
    first = node("x(0)", phase="Failed", ended=2, message="boom\n", **retried)
    second = node("x(1)", phase="Succeeded", ended=4, **retried)
    odd = node("x(last)", phase="Error", ended=5, **retried)
    group = node("x(2)", "Steps", "Failed", ended=6, **retried)
    whole = node("x", "Retry", "Succeeded", ended=4, children=["wf-x(0)", "wf-x(1)"])

    assert told(snapshot(first), snapshot(first, second, odd, group, whole)) == [
        "↻ x: try 1 failed: boom",
        "✓ x (4 s)",
        "↻ x: a try failed",
    ]


def test_a_try_that_was_made_good_is_not_the_cause():
    """A failure is not blamed on a step that went well in the end."""
    retried = {"nodeFlag": {"retried": True}}
    tried = node("x(0)", phase="Failed", ended=2, **retried)
    whole = node("x", "Retry", "Succeeded", ended=4, children=["wf-x(0)", "wf-x(1)"])
    other = node("y", phase="Failed", ended=9, message="boom")

    assert failure_sentence(snapshot(tried, whole, other, phase="Failed"), last_lines={}) == (
        "y failed: boom"
    )
    assert failure_sentence(snapshot(tried, whole, phase="Failed"), last_lines={}) == (
        "the workflow ended as Failed"
    )


def test_the_last_try_speaks_for_its_step():
    """Of many tries the last one says why; a step that was cut while it was tried has one too."""
    retried = {"nodeFlag": {"retried": True}}
    tries = [
        node("x(0)", phase="Failed", ended=2, message="first", **retried),
        node("x(1)", phase="Failed", ended=4, message="second", **retried),
    ]
    children = ["wf-x(0)", "wf-x(1)"]
    failed = node("x", "Retry", "Failed", ended=4, children=children)
    cut = node("x", "Retry", children=children)

    assert failure_sentence(snapshot(*tries, failed, phase="Failed"), last_lines={}) == (
        "x failed: second"
    )
    assert failure_sentence(snapshot(*tries, cut, phase="Failed"), last_lines={}) == (
        "x failed: first; 1 more step failed too"
    )


def test_the_first_cause_is_named_and_the_others_are_counted():
    """One sentence stays one sentence, however much went wrong; rolling back comes last."""
    work = [node(name, phase="Failed", ended=n, message=name) for n, name in enumerate("cab")]
    undo = node(".onExit[0].undo", phase="Failed", ended=0, message="no")

    assert failure_sentence(snapshot(*work, undo, phase="Failed"), last_lines={}) == (
        "c failed: c; 2 more steps failed too"
    )
    assert failure_sentence(snapshot(undo, phase="Failed"), last_lines={}) == "undo failed: no"


def test_a_failure_without_a_failed_step_says_what_argo_says():
    """Where no step is to blame, the workflow's own message is the sentence."""
    assert failure_sentence(
        snapshot(phase="Error", message="no such\naccount."), last_lines={}
    ) == ("no such account")
    assert failure_sentence(snapshot(phase="Error"), last_lines={}) == "the workflow ended as Error"
    assert failure_sentence(snapshot(node("a", phase="Failed"), phase="Failed"), last_lines={}) == (
        "a failed: Failed"
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            (
                "main: Error (exit code 64): no more retries Error from server (AlreadyExists): "
                'error when creating "/tmp/manifest.yaml": namespaces "x" already exists\n'
            ),
            'namespaces "x" already exists',
        ),
        ('Error from server (NotFound): namespaces "x" not found', 'namespaces "x" not found'),
        ("main: Error (exit code 3)", "main: Error (exit code 3)"),
    ],
)
def test_a_refusal_of_the_api_server_is_told_without_the_tools_around_it(message, reason):
    """Whoever filled the form reads what Kubernetes said, not which file kubectl had."""
    assert spoken_reason(message) == reason


def test_long_texts_are_cut():
    """A page of output does not become a sentence."""
    assert one_line("x" * 500) == "x" * 399 + "…"
    assert one_line(" a \n b... ") == "a b"


def test_the_state_survives_its_store():
    """What was told is known after a restart, the position in the logs too."""
    state = FollowState(nodes={"n": ("Running", "t")}, logs={"pod": "time"})

    assert FollowState.from_json(state.to_json()) == state
    assert FollowState.from_json({}) == FollowState()
