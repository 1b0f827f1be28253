"""Errors, events and the lines that sum a run up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import (
    BridgeError,
    InputInvalid,
    StoreUnavailable,
    error_classes,
)
from bridge.domain.events import Event, EventDraft, done, duration, log, status, with_gap
from bridge.domain.runs import RunError, RunStatus
from tests.domain.making import NOW, RUN_ID, a_run


def test_every_error_has_its_own_code_and_a_sentence():
    """A client can tell errors apart by their code and a person by their title."""
    classes = error_classes()
    codes = [cls.code for cls in classes]

    assert classes[0] is BridgeError
    assert InputInvalid in classes
    assert len(set(codes)) == len(codes)
    assert all(400 <= cls.status < 600 and cls.title for cls in classes)


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=50))
def test_no_word_of_anybody_breaks_a_terminal_or_a_store(words):
    """Steps, pods and people may say anything; a line has no control characters all the same."""
    message = log(f"step | {words} |").message

    assert "\x00" not in message
    assert "\x1b" not in message
    message.encode()


def test_an_error_without_words_says_its_title():
    """No error is ever empty."""
    assert str(StoreUnavailable()) == StoreUnavailable().detail == StoreUnavailable.title
    assert StoreUnavailable("disk full", retry_after=3).retry_after == 3
    assert RunError.of(StoreUnavailable("disk full")) == RunError("store_unavailable", "disk full")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<1 s"),
        (0.84, "0.8 s"),
        (9, "9 s"),
        (42.4, "42 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7440, "2 h 4 min"),
    ],
)
def test_a_duration_is_told_for_people(seconds, text):
    """Times are short where they are short and never a row of decimals."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ended", "error", "message", "level"),
    [
        (RunStatus.SUCCEEDED, None, "✓ thing:make succeeded (42 s)", "info"),
        (RunStatus.CANCELLED, RunError("cancelled", "x"), "✗ thing:make was cancelled", "error"),
        (RunStatus.FAILED, RunError("workflow_failed", "b broke"), "failed: b broke", "error"),
        (RunStatus.LOST, None, "✗ thing:make failed: no reason is known", "error"),
    ],
)
def test_the_last_event_sums_the_run_up(ended, error, message, level):
    """The last line of a task says how it ended and why, with the outputs beside it."""
    run = a_run(RunStatus.RUNNING, outputs={"thing": "t"}, entity_ref="resource:default/a-thing")

    last = done(run, status=ended, seconds=42.0, error=error)

    assert last.message.endswith(message)
    assert last.level == level
    assert last.data == {
        "status": ended,
        "outputs": {"thing": "t"},
        "entityRef": "resource:default/a-thing",
        "error": {"code": error.code, "message": error.message} if error else None,
    }
    assert Event(RUN_ID, 1, NOW, last).is_last


def test_lines_and_states_are_events_that_something_follows():
    """A line names its source and step, a state has nothing to show."""
    line = log("hello", source="pod", step="validate", level="warn")
    state = status(RunStatus.RUNNING, progress="1/2")

    assert line == EventDraft("log", "hello", "warn", {"source": "pod", "step": "validate"})
    assert state == EventDraft("status", data={"status": "running", "progress": "1/2"})
    assert not Event(RUN_ID, 1, NOW, line).is_last


@given(
    st.integers(min_value=0, max_value=50),
    st.integers(min_value=0, max_value=50),
    st.integers(min_value=1, max_value=9),
)
def test_a_page_tells_what_was_removed_before_it(after, missing, left):
    """A reader of a pruned run learns how many lines are gone, and resumes behind them."""
    first = after + missing + 1
    page = [Event("run", first + n, NOW, log(str(n))) for n in range(left)]

    shown = with_gap(page, after=after)

    assert shown[-left:] == page
    if missing:
        gap = shown[0]
        assert (gap.draft.type, gap.seq) == ("gap", first - 1)
        assert gap.draft.data == {"from": after + 1, "to": first - 1}
        assert f" {missing} older line" in gap.draft.message
    else:
        assert shown == page
    assert with_gap([], after=after) == []
