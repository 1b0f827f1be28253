"""From evidence to violations, and how they are told.

Pure. Knows every invariant; CONTRIBUTING.md explains their letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from tests.crash import checks_run, checks_world
from tests.crash.checks_run import Violation
from tests.crash.evidence import Evidence

CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    checks_world.a_run_is_one_workflow,
    checks_run.every_accepted_run_ends,
    checks_run.events_have_no_gap,
    checks_run.readers_get_what_is_stored,
    checks_world.registered_means_succeeded,
    checks_world.old_fences_write_nothing,
    checks_run.lines_come_once,
    checks_world.locks_exclude,
    checks_world.commands_are_kept,
    checks_world.gates_are_opened_by_people,
    checks_run.a_key_is_one_run,
    checks_world.ends_are_what_was_asked,
    checks_world.lost_means_gone,
    checks_world.nobody_saw_a_fault,
)
_MOST_HISTORIES = 5


def violations(evidence: Evidence) -> list[Violation]:
    """Every promise that was not kept."""
    return [found for check in CHECKS for found in check(evidence)]


def report(found: Sequence[Violation], evidence: Evidence) -> Iterator[str]:
    """The violations, and what happened to the first runs among them."""
    yield from (f"({one.invariant}) {one.run}: {one.text}" for one in found)
    for run_id in list(dict.fromkeys(one.run for one in found if one.run))[:_MOST_HISTORIES]:
        yield f"--- {run_id}"
        yield from story(run_id, evidence)


def story(run_id: str, evidence: Evidence) -> Iterable[str]:
    """What happened to one run: first in the order of time, then what has no time."""
    stored, history = evidence.stored, evidence.history
    timed = [
        *((run.created_at, str(run)) for run in stored.runs if run.id == run_id),
        *((e.at, f"event {e.seq} {e.type}: {e.message}") for e in _of(run_id, stored.events)),
        *((c.at, f"Argo: {c.call}, changed={c.changed}") for c in _of(run_id, evidence.calls)),
        *((e.at, f"Argo: {e.name} {e.uid} is {e.to}") for e in _of(run_id, evidence.lives)),
        *((s.at, f"catalog: shows {s.ref}") for s in _of(run_id, evidence.shown)),
        *((a.ended, f"answer: {a.status} {a.key}") for a in _of(run_id, history.submissions)),
    ]
    yield from (f"{at:.3f} {text}" for at, text in sorted(timed, key=itemgetter(0)))
    yield from map(str, _of(run_id, evidence.writes))
    yield from map(str, _of(run_id, stored.commands))
    yield from map(str, _of(run_id, history.asked))


def _of(run_id: str, rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if row.run == run_id]
