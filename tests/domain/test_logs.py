"""Pod log lines: the user's own, in order and fit to be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.logs import MAX_LINE, PodLine, clean, is_executor_line, parse_line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "2026-11-21T22:51:40.8785Z hello world",
            PodLine("2026-11-21T22:51:40.878500000Z", "hello world"),
        ),
        ("2026-11-21T22:51:40Z", PodLine("2026-11-21T22:51:40.000000000Z", "")),
        ("no time here", PodLine("", "no time here")),
    ],
)
def test_a_line_is_parted_from_its_time(content, line):
    """Times have nine digits, so that the order of their text is the order of time."""
    assert parse_line(content) == line


@pytest.mark.parametrize(
    "text",
    [
        'time=2026-11-21T22:51:40.878Z level=INFO msg="waiting for signals" argo=true path=/x',
        'time=2026-11-21T22:51:41.878Z level=INFO msg="sub-process exited" argo=true error="<nil>"',
        "Error: exit status 1",
    ],
)
def test_lines_of_the_executor_are_known(text):
    """What Argo's executor writes into a container log is told from what the step says."""
    assert is_executor_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "validating request for namespace team-a-dev",
        "argo=true",
        "Error: exit status 1 while copying",
        "level=INFO argo=true",
        'time=now level=INFO msg="argo=truely not"',
    ],
)
def test_lines_of_a_step_are_kept(text):
    """A step may say whatever it likes and is still heard."""
    assert not is_executor_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://x\x07link\x1b]8;;\x1b\\", "link"),
        ("a\tb\r\x00c\u202ed  ", "a\tbcd"),
        ("x" * (MAX_LINE + 1), "x" * (MAX_LINE - 1) + "…"),
        ("x" * MAX_LINE, "x" * MAX_LINE),
    ],
)
def test_a_line_is_made_fit_to_be_shown(text, shown):
    """A log line can neither colour, clear nor flood the reader's screen."""
    assert clean(text) == shown


@given(st.text())
def test_no_line_controls_a_terminal(text):
    """Whatever a pod prints, nothing of it acts on the reader's terminal."""
    shown = clean(text)

    assert len(shown) <= MAX_LINE
    codes = {ord(char) for char in shown} - {9, 10}
    assert not codes & {*range(0x20), *range(0x7F, 0xA0)}
