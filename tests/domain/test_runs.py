"""How a run may move, and what becomes of the same request twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.domain.errors import IdempotencyKeyReused
from bridge.domain.runs import Run, RunChanges, RunStatus, apply_changes, decide_acceptance
from tests.domain.making import NOW, a_run, new_run

ENDS = {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST}
STATUSES = st.sampled_from(list(RunStatus))


@given(STATUSES, STATUSES, st.integers(min_value=0, max_value=9))
def test_a_run_changes_only_along_its_steps(before, after, events):
    """An ended run never changes again, and no other run takes a step that does not exist."""
    run = a_run(before, last_seq=3)
    later = NOW + timedelta(seconds=1)
    try:
        changed = apply_changes(run, RunChanges(status=after), now=later, events=events)
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

    changed = apply_changes(run, RunChanges(progress="2/2"), now=NOW, events=0)

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
            changed = apply_changes(self.run, RunChanges(status=status), now=NOW, events=1)
            if changed is not None:
                self.run = changed
                self.seen.append(status)

    @precondition(lambda self: self.run.finished)
    @rule(status=STATUSES)
    def push_after_the_end(self, status: RunStatus) -> None:
        """Try to take a step after the end."""
        assert apply_changes(self.run, RunChanges(status=status), now=NOW, events=1) is None

    @invariant()
    def at_most_one_end(self) -> None:
        """A run ends once, and counts one event for each change."""
        assert sum(status in ENDS for status in self.seen) <= 1
        assert self.run.last_seq == len(self.seen) - 1
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
