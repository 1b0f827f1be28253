"""The judge of the chaos: it finds nothing in a good history, and each kind of wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.crash.catalog import Shown
from tests.crash.checker import report, violations
from tests.crash.evidence import (
    Asked,
    AuditRow,
    Call,
    CommandRow,
    EventRow,
    Evidence,
    History,
    Life,
    Reading,
    RunRow,
    Stored,
    Submission,
    Write,
)

GATE = RunRow(
    id="gate",
    action="crash:gate",
    status="succeeded",
    attempt=1,
    caller="service:scaffolder",
    key="k",
    input={"name": "thing"},
    created_at=1.0,
    finished_at=9.0,
    last_seq=9,
)
HOLD = replace(
    GATE,
    id="hold",
    action="crash:hold",
    status="cancelled",
    key="h",
    lock="one",
    cancelled_by="service:scaffolder",
    last_seq=2,
)
APPROVED = CommandRow("gate", "gate:n", "approve", "service:judge-a", "n", "done")
CANCELLED = CommandRow("hold", "cancel", "cancel", "service:scaffolder", "", "stopped")


def pod_line(seq: int, number: int) -> EventRow:
    """A line of the gate's step that speaks."""
    data = {"source": "pod", "step": "speak"}
    return EventRow("gate", seq, 2.0, "log", f"speak | line {number}", data)


def event(run: str, seq: int, kind: str = "log", **data: object) -> EventRow:
    """Any other event."""
    return EventRow(run, seq, 2.0, kind, kind, data)


EVENTS = (
    event("gate", 1),
    *(pod_line(number + 1, number) for number in range(1, 7)),
    event("gate", 8, "step", step={"name": "speak", "phase": "Succeeded"}),
    event("gate", 9, "done"),
    event("hold", 1),
    event("hold", 2, "done"),
)


def shown(stored: EventRow) -> dict[str, object]:
    """An event as a reader gets it."""
    head = {"seq": stored.seq, "time": "", "type": stored.type, "level": "info"}
    return {**head, "message": stored.message, **stored.data}


READ = Reading("hold", (1, 2), tuple(map(shown, EVENTS[-2:])), ended=True, after_end=204)
GOOD = Evidence(
    stored=Stored(
        runs=(GATE, HOLD),
        events=EVENTS,
        commands=(APPROVED, CANCELLED),
        audit=tuple(
            AuditRow(action, run)
            for run, verb in (("gate", "approve"), ("hold", "cancel"))
            for action in (f"run.{verb}", f"run.{verb}.settled")
        ),
    ),
    history=History(
        submissions=[Submission("k", "crash:gate", '{"name": "thing"}', 1.0, 1.1, 202, "gate")],
        asked=[
            Asked("gate", "approve", "judge-a", 202),
            Asked("hold", "cancel", "scaffolder", 202),
        ],
        readings=[READ],
    ),
    calls=(Call(1.2, "create", "w", "gate"), Call(1.5, "set", "w", "gate")),
    lives=(
        Life(1.2, "w", "u", "gate", "open"),
        Life(2.0, "w", "u", "gate", "ended"),
        Life(1.3, "v", "x", "hold", "open"),
        Life(3.0, "v", "x", "hold", "gone"),
    ),
    writes=(Write("gate", 1, 2, 2), Write("gate", 2, 2, None), Write("gate", 2, 9, 7)),
    shown=(Shown(5.0, "resource:default/thing", "gate"),),
)


def stored(**changes: Any) -> Evidence:
    """The good history with other contents of the store."""
    return replace(GOOD, stored=replace(GOOD.stored, **changes))


def seen(**changes: Any) -> Evidence:
    """The good history as clients saw it otherwise."""
    return replace(GOOD, history=replace(GOOD.history, **changes))


def trail_without(action: str) -> tuple[AuditRow, ...]:
    """The good trail without the records of an action."""
    return tuple(row for row in GOOD.stored.audit if row.action != action)


SECOND = replace(GATE, id="second", attempt=2, created_at=20.0, finished_at=29.0, last_seq=0)
THIRD = replace(HOLD, id="third", attempt=2, created_at=20.0, finished_at=29.0)
AGAIN = GOOD.history.submissions[0]
BROKEN: dict[str, tuple[str, Evidence]] = {
    "a run has two workflows": ("a", replace(GOOD, calls=(*GOOD.calls, GOOD.calls[0]))),
    "a workflow has no run": (
        "a",
        replace(GOOD, calls=(Call(1.0, "create", "z", "nobody"), *GOOD.calls)),
    ),
    "two workflows of a key run at once": (
        "a",
        replace(GOOD, lives=(GOOD.lives[0], replace(GOOD.lives[0], uid="second"))),
    ),
    "a workflow is retried unasked": (
        "a",
        replace(GOOD, calls=(*GOOD.calls, replace(GOOD.calls[1], call="retry"))),
    ),
    "a run never ends": (
        "b",
        stored(runs=(GATE, replace(HOLD, status="running")), events=EVENTS[:-1]),
    ),
    "an accepted run is not stored": (
        "b",
        seen(submissions=[AGAIN, replace(AGAIN, key="x", run="lost")]),
    ),
    "an event is missing": ("c", stored(events=EVENTS[:1] + EVENTS[2:])),
    "an event is not counted": ("c", stored(runs=(GATE, replace(HOLD, last_seq=3)))),
    "there are two ends": (
        "c",
        stored(runs=(GATE, replace(HOLD, last_seq=3)), events=(*EVENTS, event("hold", 3, "done"))),
    ),
    "there is something after the end": (
        "c",
        stored(runs=(GATE, replace(HOLD, last_seq=3)), events=(*EVENTS, event("hold", 3))),
    ),
    "a reader misses an event": ("d", seen(readings=[replace(READ, ids=(2,))])),
    "a reader gets an event twice": ("d", seen(readings=[replace(READ, ids=(1, 1, 2))])),
    "a reader gets what is not stored": (
        "d",
        seen(readings=[replace(READ, events=(READ.events[0], READ.events[0]))]),
    ),
    "a reader gets less than there is": (
        "d",
        seen(readings=[replace(READ, ids=(1,), events=READ.events[:1])]),
    ),
    "a stream goes on after the end": ("d", seen(readings=[replace(READ, after_end=200)])),
    "a succeeded run is not in the catalog": ("e", replace(GOOD, shown=())),
    "an entity is shown too late": ("e", replace(GOOD, shown=(replace(GOOD.shown[0], at=9.5),))),
    "an entity is gone again": (
        "e",
        replace(GOOD, shown=(*GOOD.shown, Shown(8.0, "resource:default/thing", None))),
    ),
    "an entity is there without success": (
        "e",
        replace(GOOD, shown=(*GOOD.shown, Shown(6.0, "resource:default/other", "hold"))),
    ),
    "an old owner writes": ("f", replace(GOOD, writes=(*GOOD.writes, Write("gate", 1, 5, 1)))),
    "a line comes twice": (
        "g",
        stored(
            runs=(replace(GATE, last_seq=10), HOLD),
            events=(*EVENTS[:7], pod_line(8, 6), event("gate", 9), event("gate", 10, "done")),
        ),
    ),
    "a line is missing": ("g", stored(events=(*EVENTS[:6], event("gate", 7), *EVENTS[7:]))),
    "two workflows of a lock run at once": (
        "h",
        replace(
            stored(runs=(replace(GATE, lock="one"), HOLD)),
            lives=(GOOD.lives[0], GOOD.lives[2]),
        ),
    ),
    "a gate is decided twice": (
        "i",
        stored(commands=(APPROVED, replace(APPROVED, slot="other"), CANCELLED)),
    ),
    "a taken decision is not stored": ("i", stored(commands=(CANCELLED,))),
    "a taken cancel is not stored": ("i", stored(commands=(APPROVED,))),
    "the trail has no command": ("i", stored(audit=trail_without("run.cancel"))),
    "the trail has no outcome": ("i", stored(audit=trail_without("run.cancel.settled"))),
    "nobody opened a gate": (
        "i",
        replace(
            stored(commands=(CANCELLED,)),
            history=replace(GOOD.history, asked=GOOD.history.asked[1:]),
        ),
    ),
    "Argo was told twice": ("i", replace(GOOD, calls=(*GOOD.calls, GOOD.calls[1]))),
    "a key gives two runs": ("j", stored(runs=(GATE, HOLD, SECOND))),
    "a key gives a second run before the first one ends": (
        "j",
        stored(runs=(GATE, HOLD, replace(THIRD, created_at=8.0))),
    ),
    "a key gives two runs of one attempt": (
        "j",
        replace(
            seen(submissions=[AGAIN, replace(AGAIN, run="other")]),
            stored=replace(
                GOOD.stored, runs=(GATE, HOLD, replace(GATE, id="other", caller="service:other"))
            ),
        ),
    ),
    "a key gives an earlier attempt": (
        "j",
        replace(
            seen(
                submissions=[
                    replace(AGAIN, key="h", run="third"),
                    replace(AGAIN, key="h", run="hold", began=5.0, ended=5.1),
                ]
            ),
            stored=replace(GOOD.stored, runs=(GATE, HOLD, THIRD)),
        ),
    ),
    "a key gives another input's run": ("j", seen(submissions=[replace(AGAIN, input="{}")])),
    "a run is cancelled unasked": ("k", stored(runs=(GATE, replace(HOLD, cancelled_by=None)))),
    "a cancelled workflow fails": (
        "k",
        replace(
            stored(runs=(GATE, replace(HOLD, status="failed", workflow="v"))),
            lives=(*GOOD.lives[:3], replace(GOOD.lives[3], to="ended")),
        ),
    ),
    "a failed workflow succeeds": ("k", stored(runs=(replace(GATE, action="crash:fail"), HOLD))),
    "a run is given up too early": (
        "k",
        stored(runs=(GATE, replace(HOLD, status="lost", workflow="v", finished_at=2.0))),
    ),
    "a run is given up though archived": (
        "k",
        replace(
            stored(runs=(GATE, replace(HOLD, status="lost", workflow="v"))),
            lives=(*GOOD.lives[:3], replace(GOOD.lives[3], at=2.5, to="ended"), GOOD.lives[3]),
            archive=True,
        ),
    ),
    "a client gets a fault": ("l", seen(faults=["answered 500"])),
}


def test_a_good_history_has_no_violation():
    """Nobody is alarmed without a reason."""
    assert violations(GOOD) == []


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what: str):
    """Each kind of broken promise is named by its letter."""
    letter, evidence = BROKEN[what]
    assert letter in {one.invariant for one in violations(evidence)}


def test_a_violation_is_told_with_the_history_of_its_run():
    """Whoever reads a report sees what happened to the run, in the order of time."""
    _, evidence = BROKEN["an old owner writes"]
    told = list(report(violations(evidence), evidence))
    assert told[0].startswith("(f) gate: fence 1 wrote up to 5")
    timed = [line for line in told if line[:1].isdigit()]
    times = [float(line.split()[0]) for line in timed]
    assert times == sorted(times)
    assert any("Argo: create" in line for line in timed)
