"""How a run may move, and what becomes of the same request twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.domain.errors import IdempotencyKeyReused, LeaseLost, LockHeld
from bridge.domain.runs import (
    Run,
    RunChanges,
    RunContext,
    RunStatus,
    apply_changes,
    decide_acceptance,
)
from tests.domain.making import NOW, a_run, new_run

ENDS = {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST}
STATUSES = st.sampled_from(list(RunStatus))


@given(STATUSES, STATUSES, st.integers(min_value=0, max_value=9))
def test_a_run_changes_only_along_its_steps(before, after, events):
    """An ended run never changes again, and no other run takes a step that does not exist."""
    run = a_run(before, last_seq=3)
    later = NOW + timedelta(seconds=1)
    try:
        changed = apply_changes(run, RunChanges(status=after), now=later, events=events, fence=1)
    except ValueError:
        assert not before.may_become(after)
        assert before not in ENDS
    else:
        if before in ENDS:
            assert changed is None
        else:
            assert before.may_become(after)
            assert changed == replace(run, status=after, updated_at=later, last_seq=3 + events)


def test_only_given_fields_change():
    """A commit of one fact leaves every other fact of the run as it was."""
    run = a_run(RunStatus.RUNNING, progress="1/2", outputs={"a": 1})

    changed = apply_changes(run, RunChanges(progress="2/2"), now=NOW, events=0, fence=None)

    assert changed == replace(run, progress="2/2")
    assert RunChanges().given() == {}


@pytest.mark.parametrize(
    "path",
    [
        "accepted submitting running waiting running registering succeeded",
        "accepted submitting waiting registering succeeded",
        "accepted submitting registering failed",
        "accepted cancelled",
        "submitting failed",
        "running lost",
        "waiting cancelled",
    ],
)
def test_the_ways_of_a_run_are_open(path):
    """Every course that a workflow can take, seen whole or coalesced, is a course of its run."""
    states = [RunStatus(name) for name in path.split()]

    assert all(one.may_become(two) for one, two in pairwise(states))
    assert states[-1].finished


class Life(RuleBasedStateMachine):
    """A run that is pushed about at random."""

    def __init__(self) -> None:
        super().__init__()
        self.run = a_run()
        self.seen = [RunStatus.ACCEPTED]

    @rule(status=STATUSES)
    def push(self, status: RunStatus) -> None:
        """Take a step that exists."""
        if self.run.status.may_become(status):
            changed = apply_changes(self.run, RunChanges(status=status), now=NOW, events=1, fence=1)
            if changed is not None:
                self.run = changed
                self.seen.append(status)

    @precondition(lambda self: self.run.finished)
    @rule(status=STATUSES)
    def push_after_the_end(self, status: RunStatus) -> None:
        """Try to take a step after the end."""
        assert (
            apply_changes(self.run, RunChanges(status=status), now=NOW, events=1, fence=1) is None
        )

    @invariant()
    def at_most_one_end(self) -> None:
        """A run ends once, and counts one event for each change."""
        assert sum(status in ENDS for status in self.seen) <= 1
        assert self.run.last_seq == len(self.seen)
        assert self.run.finished == (self.seen[-1] in ENDS)


class TestLife(Life.TestCase):
    """A run ends at most once, whatever is asked of it."""


@given(STATUSES, st.integers(min_value=1, max_value=5))
def test_the_same_request_twice_is_one_run_or_a_new_attempt(status, attempt):
    """Asking again gives the run that is there; only after a bad end is it tried again."""
    latest = a_run(status, attempt=attempt)
    again = new_run("01kagw9zq6x3v5t7y8r2m4n6p9")

    decided = decide_acceptance(again, latest=latest)

    if status in ENDS - {RunStatus.SUCCEEDED}:
        assert decided.run == Run.accepted(again, attempt=attempt + 1)
        assert not decided.replayed
    else:
        assert decided.run is latest
        assert decided.replayed


def test_the_first_request_is_the_first_attempt():
    """A key that was never used begins a run."""
    decided = decide_acceptance(new_run(), latest=None)

    assert (decided.run.attempt, decided.run.status) == (1, RunStatus.ACCEPTED)
    assert not decided.replayed


@given(STATUSES)
def test_a_key_is_never_used_for_other_input(status):
    """A reused key with another input is refused in every state of the first run."""
    other = new_run("01kagw9zq6x3v5t7y8r2m4n6p9", input={"name": "other"})

    with pytest.raises(IdempotencyKeyReused, match=r"other input; use a new key\.$"):
        decide_acceptance(other, latest=a_run(status))


@given(STATUSES, st.integers(min_value=1, max_value=9), st.integers(min_value=1, max_value=9))
def test_who_has_lost_a_run_cannot_write_it(status, stored, mine):
    """A replica that slept through a take-over changes nothing when it wakes, in any state."""
    run = a_run(status, fence=stored)

    if stored == mine:
        apply_changes(run, RunChanges(), now=NOW, events=1, fence=mine)
    else:
        with pytest.raises(LeaseLost, match="taken over"):
            apply_changes(run, RunChanges(), now=NOW, events=1, fence=mine)


def test_a_held_lock_refuses_with_the_run_that_holds_it():
    """Who may not work on a thing now is told which run does, before anything is stored."""
    holder = a_run(RunStatus.RUNNING, lock="namespace/x", holds_lock=True)

    with pytest.raises(LockHeld, match=holder.id) as refused:
        decide_acceptance(new_run(lock="namespace/x"), latest=None, holder=holder)

    assert refused.value.run_id == holder.id


def test_a_run_that_may_wait_is_accepted_without_the_lock():
    """A queued run is accepted, and holds nothing yet."""
    holder = a_run(RunStatus.RUNNING, lock="namespace/x", holds_lock=True)
    new = new_run(lock="namespace/x", may_queue=True)

    queued = decide_acceptance(new, latest=None, holder=holder)
    first = decide_acceptance(new, latest=None, holder=None)

    assert (queued.run.lock, queued.run.holds_lock) == ("namespace/x", False)
    assert (first.run.lock, first.run.holds_lock) == ("namespace/x", True)


def test_the_same_request_is_a_replay_even_while_its_lock_is_held():
    """Asking again for what runs already is no conflict with itself."""
    mine = a_run(RunStatus.RUNNING, lock="namespace/x", holds_lock=True)

    assert decide_acceptance(new_run(lock="namespace/x"), latest=mine, holder=mine).replayed


@given(st.sampled_from(sorted(ENDS)))
def test_an_attempt_that_takes_a_workflow_over_keeps_its_place(end):
    """What Argo runs again goes on under the same workflow, and tells no step twice."""
    state = {"nodes": {"wf": ["Failed", "2026-11-22T10:00:00Z"]}}
    before = a_run(end, workflow_uid="uid-1", state=state)
    new = new_run("01kagw9zq6x3v5t7y8r2m4n6p9", takes_over=before)

    decided = decide_acceptance(new, latest=before)

    if end is RunStatus.SUCCEEDED:
        assert decided.replayed
    else:
        run = decided.run
        assert (run.workflow_name, run.workflow_uid) == (before.workflow_name, "uid-1")
        assert (run.takes_over, run.attempt, run.state) == (before.id, 2, state)


@given(st.sampled_from(sorted(ENDS)), st.sampled_from([None, "press-1", "press-2"]))
def test_only_who_presses_again_gets_another_attempt(end, press):
    """Who recovers from a crash hears how the run ended; a new pressing is a new attempt."""
    latest = a_run(end, context=RunContext(attempt="press-1"))
    new = new_run("01kagw9zq6x3v5t7y8r2m4n6p9", context=RunContext(attempt=press))

    decided = decide_acceptance(new, latest=latest)
    asked_for = decide_acceptance(replace(new, another=True), latest=latest)

    assert decided.replayed == (press == "press-1" or end is RunStatus.SUCCEEDED)
    assert asked_for.replayed == (end is RunStatus.SUCCEEDED)


def test_a_workflow_is_taken_over_from_the_latest_attempt_only():
    """Two that notice the same retry make one attempt of it."""
    first = a_run(RunStatus.FAILED, workflow_uid="uid-1")
    second = a_run(RunStatus.FAILED, id="01kagw9zq6x3v5t7y8r2m4n6q0", attempt=2)

    decided = decide_acceptance(new_run(takes_over=first), latest=second)

    assert decided.replayed
    assert decided.run is second


def test_an_edited_definition_does_not_break_a_replay():
    """The fingerprint is of what the user asked, not of how it is done today."""
    assert new_run(definition={"edited": True}).fingerprint == new_run().fingerprint
    assert new_run(action="other:make").fingerprint != new_run().fingerprint


def test_a_workflow_has_a_name_that_kubernetes_takes():
    """However long an action's id is, the name is one and fits, and ends with the run's id."""
    run = new_run(action="a-very-long-action-name-indeed:with-a-Very-Long-verb-too")

    assert new_run().workflow_name == f"thing-make-{run.id}"
    assert run.workflow_name == f"a-very-long-action-name-indeed-with-{run.id}"
    assert len(run.workflow_name) <= 63


def test_a_run_knows_whether_somebody_wants_it_to_end():
    """A cancellation is part of the record, so that no restart forgets it."""
    assert not a_run().cancelling
    assert a_run(cancel_requested_at=NOW).cancelling
    assert not a_run().finished
