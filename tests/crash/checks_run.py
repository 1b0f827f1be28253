"""The invariants of one run: its end, its events, its readers, its lines, its key.

Pure. The letters are those of CONTRIBUTING.md, "The crash harness".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.crash.evidence import ENDS, EventRow, Evidence, RunRow, by_run

_AGAIN = ENDS - {"succeeded"}
_LINE = re.compile(r"line (\d+)$")
_EXPECTED: Mapping[str, int] = {"first": 6, "second": 6, "speak": 6, "fails": 6, "tick": 1}
"""How many lines each step of tests/crash/actions prints."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept; ``run`` is empty if it is about no single run."""

    invariant: str
    run: str
    text: str


def every_accepted_run_ends(evidence: Evidence) -> Iterator[Violation]:
    """(b) What was answered with a run is stored, and has ended when all is quiet."""
    stored = {run.id: run for run in evidence.stored.runs}
    for submission in evidence.history.submissions:
        if submission.run is not None and submission.run not in stored:
            yield Violation("b", submission.run, f"answered under {submission.key}, not stored")
    for run in stored.values():
        if run.status not in ENDS:
            yield Violation("b", run.id, f"{run.action} is still {run.status}")


def events_have_no_gap(evidence: Evidence) -> Iterator[Violation]:
    """(c) Events from 1 without a gap; exactly one end, and nothing after it."""
    events = by_run(evidence.stored.events)
    for run in evidence.stored.runs:
        found: list[EventRow] = sorted(events.get(run.id, ()), key=lambda event: event.seq)
        numbers = [event.seq for event in found]
        if numbers != list(range(1, len(found) + 1)):
            yield Violation("c", run.id, f"events are numbered {numbers}")
        if numbers[-1:] != [run.last_seq]:
            yield Violation("c", run.id, f"the last event is {numbers[-1:]}, not {run.last_seq}")
        ends = [event.seq for event in found if event.type == "done"]
        if ends != (numbers[-1:] if run.status in ENDS else []):
            yield Violation("c", run.id, f"{run.status}, with ends at {ends} of {len(found)}")


def readers_get_what_is_stored(evidence: Evidence) -> Iterator[Violation]:
    """(d) What a reader got, over all its connections, is the stored log."""
    events = by_run(evidence.stored.events)
    ended = {run.id for run in evidence.stored.runs if run.status in ENDS}
    for reading in evidence.history.readings:
        stored = {event.seq: _shape(event) for event in events.get(reading.run, ())}
        expected = list(range(1, len(reading.ids) + 1))
        if list(reading.ids) != expected:
            yield Violation("d", reading.run, f"a reader got {list(reading.ids)}")
            continue
        for seq, event in zip(reading.ids, reading.events, strict=True):
            if seq != event["seq"] or stored.get(seq) != _shown(event):
                was = f"{_shown(event)}; stored is {stored.get(seq)}"
                yield Violation("d", reading.run, f"a reader got event {seq} as {was}")
                break
        if reading.run in ended and len(reading.ids) != len(stored):
            got = f"{len(reading.ids)} of {len(stored)} events"
            yield Violation("d", reading.run, f"a reader of an ended run got {got}")
        if reading.after_end not in {None, 204}:
            yield Violation("d", reading.run, f"after the end: {reading.after_end}, not 204")


def _shape(event: EventRow) -> tuple[str, str, str]:
    return event.type, event.message, json.dumps(event.data, sort_keys=True)


def _shown(event: Mapping[str, Any]) -> tuple[str, str, str]:
    known = {"seq", "time", "type", "level", "message"}
    data = {name: value for name, value in event.items() if name not in known}
    return event["type"], event["message"], json.dumps(data, sort_keys=True)


def lines_come_once(evidence: Evidence) -> Iterator[Violation]:
    """(g) Every line of a step exactly once per attempt, in order.

    Lines are missing only where nothing is left to read: the step did not come to its end by
    itself, or Argo had removed the workflow before the run ended.
    """
    events = by_run(evidence.stored.events)
    removed = {life.name: life.at for life in evidence.lives if life.to == "gone"}
    for run in evidence.stored.runs:
        lines: dict[str, list[int]] = {}
        ends: dict[str, str] = {}
        for event in events.get(run.id, ()):
            if event.data.get("source") == "pod" and (match := _LINE.search(event.message)):
                lines.setdefault(event.data["step"], []).append(int(match[1]))
            if event.type == "step":
                ends[event.data["step"]["name"]] = event.data["step"]["phase"]
        for step, numbers in lines.items():
            if numbers != sorted(set(numbers)):
                yield Violation("g", run.id, f"lines of {step}: {numbers}")
        there = removed.get(run.workflow, 1e18) > (run.finished_at or 0)
        if run.cancelled_by is None and there:
            yield from _missing(run, lines, ends)


def _missing(
    run: RunRow, lines: Mapping[str, list[int]], ends: Mapping[str, str]
) -> Iterator[Violation]:
    for step, phase in ends.items():
        expected = list(range(1, _EXPECTED.get(step, 0) + 1))
        own_end = phase == "Succeeded" or (phase == "Failed" and step == "fails")
        if own_end and sorted(set(lines.get(step, ()))) != expected:
            got = lines.get(step, [])
            yield Violation("g", run.id, f"{step} printed {expected}, told were {got}")


def a_key_is_one_run(evidence: Evidence) -> Iterator[Violation]:
    """(j) The same key and input give the same run while it is open or has succeeded."""
    stored = {run.id: run for run in evidence.stored.runs}
    attempts: dict[tuple[str, str, str], list[RunRow]] = {}
    for run in sorted(stored.values(), key=lambda run: run.attempt):
        attempts.setdefault((run.caller, run.action, run.key), []).append(run)
    for runs in attempts.values():
        for before, after in pairwise(runs):
            if after.attempt != before.attempt + 1 or before.status not in _AGAIN:
                text = f"{before.status}, then {after.id} as attempt {after.attempt}"
                yield Violation("j", before.id, text)
            elif before.finished_at is None or after.created_at < before.finished_at:
                yield Violation("j", before.id, f"{after.id} was accepted before its end")
    yield from _answers(evidence, stored)


def _answers(evidence: Evidence, stored: Mapping[str, RunRow]) -> Iterator[Violation]:
    """Answers under a key never go back to an earlier attempt, nor give another input's run."""
    latest: dict[str, tuple[float, int]] = {}
    known: dict[tuple[str, int], str] = {}
    for answer in sorted(evidence.history.submissions, key=lambda one: one.began):
        run = stored.get(answer.run or "")
        if run is None:
            continue
        if json.loads(answer.input) != run.input:
            yield Violation("j", run.id, f"{answer.key} with {answer.input} gave another's run")
        if known.setdefault((answer.key, run.attempt), run.id) != run.id:
            yield Violation("j", run.id, f"{answer.key} gave another run before")
        ended, attempt = latest.get(answer.key, (0.0, 0))
        if answer.began > ended and run.attempt < attempt:
            yield Violation("j", run.id, f"{answer.key} gave attempt {attempt} before")
        if run.attempt > attempt:
            latest[answer.key] = (answer.ended, run.attempt)
