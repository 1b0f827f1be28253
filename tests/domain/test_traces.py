"""What is taken for a place in a trace, and which spans a run has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.runs import Run, RunContext, RunError, RunStatus
from bridge.domain.traces import span_of, stage_of, traceparent
from tests.domain.making import NOW, new_run

TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (f"00-{TRACE}", f"00-{TRACE}"),
        (f"cc-{TRACE}-what-the-future-brings", f"00-{TRACE}"),
        (f"cc-{TRACE}", f"00-{TRACE}"),
    ],
)
def test_a_trace_goes_on(given: str, taken: str):
    """A later version of the header is read as far as it is known."""
    assert traceparent(given) == taken


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        f"00-{TRACE}-more",
        f"ff-{TRACE}",
        f"00-{TRACE.upper()}",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"00-{TRACE}\n",
        f" 00-{TRACE}",
        f"cc-{TRACE}-{'x' * 200}",
        f"cc-{TRACE}more",
        "00-{{workflow.name}}",
    ],
)
def test_what_is_no_trace_is_left_out(given: str | None):
    """A hostile header makes no annotation, and no request fails for it."""
    assert traceparent(given) is None


@given(st.text(max_size=80))
def test_nothing_but_hexadecimal_digits_gets_through(text: str):
    """Whatever a client sends, what is stored is safe in Argo and in logs."""
    taken = traceparent(text)
    assert taken is None or set(taken) <= set("0123456789abcdef-")


def test_every_state_of_a_run_has_its_stage():
    """No state is missing in a trace; only ended runs are in no stage."""
    stages = {status: stage_of(status) for status in RunStatus}
    assert {status for status, stage in stages.items() if stage is None} == {
        status for status in RunStatus if status.finished
    }


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (RunStatus.SUCCEEDED, None, None),
        (RunStatus.FAILED, RunError("workflow_failed", "It failed."), "workflow_failed"),
        (RunStatus.CANCELLED, None, "cancelled"),
    ],
)
def test_a_run_is_one_span(status: RunStatus, error: RunError | None, told: str | None):
    """Its end is told by a code, never by words that a form may have written."""
    run = Run.accepted(new_run(context=RunContext(traceparent=f"00-{TRACE}")), attempt=2)
    span = span_of(replace(run, status=status, error=error), (), end=NOW)
    assert (span.parent, span.error) == (f"00-{TRACE}", told)
    assert span.attributes["bridge.outcome"] == str(status)
    assert span.attributes["bridge.attempt"] == 2
