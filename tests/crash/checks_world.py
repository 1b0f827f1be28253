"""The invariants between the bridge and its surroundings: Argo, the catalog, people, replicas.

Pure. The letters are those of CONTRIBUTING.md, "The crash harness".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from itertools import pairwise

from tests.crash.checks_run import Violation
from tests.crash.evidence import ENDS, CommandRow, Evidence, RunRow, Write, by_run

_UPSERT = frozenset({"crash:steps", "crash:gate", "crash:fail", "crash:queue"})
_REMOVE = "crash:remove"
_DECISIONS = frozenset({"approve", "reject"})
_ENDINGS = frozenset({"cancel", "terminate"})
ACCEPTED = 202
_TAKEN = frozenset({200, ACCEPTED})


def a_run_is_one_workflow(evidence: Evidence) -> Iterator[Violation]:
    """(a) Argo created at most one workflow for a run, and never two for a key at a time."""
    created = Counter(call.run for call in evidence.calls if call.call == "create")
    stored = {run.id: run for run in evidence.stored.runs}
    for run_id, times in created.items():
        if times > 1:
            yield Violation("a", run_id, f"{times} workflows were created")
        if run_id not in stored:
            yield Violation("a", run_id, "a workflow without a stored run")
    yield from _retries(evidence)
    groups = {run.id: (run.caller, run.action, run.key) for run in stored.values()}
    yield from _overlaps("a", evidence, groups)


def _retries(evidence: Evidence) -> Iterator[Violation]:
    """Workflows that Argo ran again more often than somebody asked."""
    asked = Counter(run.workflow for run in evidence.stored.runs if run.takes_over is not None)
    done = Counter(call.name for call in evidence.calls if call.call == "retry" and call.changed)
    for name, times in done.items():
        if times > asked[name]:
            run = next(call.run for call in evidence.calls if call.name == name)
            yield Violation("a", run, f"Argo ran it again {times} times, asked {asked[name]} times")


def locks_exclude(evidence: Evidence) -> Iterator[Violation]:
    """(h) Of all runs with one lock at most one had a running workflow at a time."""
    groups = {run.id: run.lock for run in evidence.stored.runs if run.lock is not None}
    yield from _overlaps("h", evidence, groups)


def _overlaps(
    invariant: str, evidence: Evidence, groups: Mapping[str, Hashable]
) -> Iterator[Violation]:
    """Workflows of one group that ran at the same time, by Argo's own account."""
    running: dict[Hashable, set[str]] = {}
    for life in evidence.lives:
        if life.run not in groups:
            continue
        there = running.setdefault(groups[life.run], set())
        if life.to != "open":
            there.discard(life.uid)
            continue
        there.add(life.uid)
        if len(there) > 1:
            what = f"{life.name} began while another workflow of {groups[life.run]} ran"
            yield Violation(invariant, life.run, what)


def registered_means_succeeded(evidence: Evidence) -> Iterator[Violation]:
    """(e) The catalog shows the entity of a run if and only if that run went well."""
    stored = {run.id: run for run in evidence.stored.runs}
    first_shown: dict[str, float] = {}
    for shown in evidence.shown:
        if shown.run is not None:
            first_shown.setdefault(shown.run, shown.at)
    for run_id in first_shown:
        run = stored.get(run_id)
        if run is None or run.status != "succeeded":
            yield Violation("e", run_id, f"is in the catalog and {run.status if run else 'gone'}")
    latest: dict[str, RunRow] = {}
    for run in sorted(stored.values(), key=lambda run: run.finished_at or 0):
        if run.status != "succeeded" or run.action not in _UPSERT | {_REMOVE}:
            continue
        latest[f"resource:default/{run.input['name']}"] = run
        if run.action in _UPSERT and first_shown.get(run.id, 1e18) > (run.finished_at or 0):
            yield Violation("e", run.id, "succeeded before the catalog showed its entity")
    final = {shown.ref: shown.run for shown in evidence.shown}
    for ref, run in latest.items():
        wanted = None if run.action == _REMOVE else run.id
        if final.get(ref) != wanted:
            what = f"the catalog shows {final.get(ref)} for {ref}"
            yield Violation("e", run.id, f"the last to succeed, but {what}")


def old_fences_write_nothing(evidence: Evidence) -> Iterator[Violation]:
    """(f) After a replica's claim no write of an earlier owner is acknowledged.

    Sequence numbers are given under the run's lock, so they are the order of the writes.
    """
    for run_id, writes in by_run(evidence.writes).items():
        begins = _first_after(writes)
        for write in writes:
            if write.events is None:
                continue
            newer = [fence for fence, first in begins.items() if fence > write.fence]
            if any(begins[fence] <= write.last for fence in newer):
                what = f"fence {write.fence} wrote up to {write.last}, but {begins} had begun"
                yield Violation("f", run_id, what)


def _first_after(writes: list[Write]) -> dict[int, int]:
    """For each fence the first number that only it may have written up to."""
    begins: dict[int, int] = {}
    for write in writes:
        if write.events == 0:
            continue
        first = write.last + 1 if write.events is None else write.last - write.events + 1
        begins[write.fence] = min(first, begins.get(write.fence, first))
    return begins


def commands_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """(i) What was asked and answered is stored; a gate is decided once; the trail has it."""
    commands = by_run(evidence.stored.commands)
    for asked in evidence.history.asked:
        known: list[CommandRow] = commands.get(asked.run, [])
        own = [one for one in known if (one.verb, one.by) == (asked.verb, f"service:{asked.by}")]
        taken = asked.status in _TAKEN if asked.verb in _DECISIONS else asked.status == ACCEPTED
        # Of two who cancel the second one's wish is the first one's command.
        kept = own if asked.verb in _DECISIONS else known
        if asked.verb in _DECISIONS | _ENDINGS and taken and not kept:
            yield Violation("i", asked.run, f"{asked.verb} by {asked.by} was not stored")
    trail = Counter((row.run, row.action) for row in evidence.stored.audit if row.run)
    for run_id, known in commands.items():
        gates = Counter(one.gate for one in known if one.gate)
        if any(times > 1 for times in gates.values()):
            yield Violation("i", run_id, f"a gate was decided more than once: {known}")
        for one in known:
            if not trail[run_id, f"run.{one.verb}"]:
                yield Violation("i", run_id, f"the trail has no run.{one.verb}")
            if (one.outcome is not None) != (trail[run_id, f"run.{one.verb}.settled"] == 1):
                yield Violation("i", run_id, f"{one} and the trail disagree on its outcome")


def gates_are_opened_by_people(evidence: Evidence) -> Iterator[Violation]:
    """(i) No run goes through a gate that nobody opened; Argo is told once for each wait."""
    opened = {one.run for one in evidence.stored.commands if one.verb == "approve"}
    for run in evidence.stored.runs:
        if run.action == "crash:gate" and run.status == "succeeded" and run.id not in opened:
            yield Violation("i", run.id, "went through a gate that nobody opened")
    effects: dict[str, list[str]] = {}
    for call in evidence.calls:
        if call.changed and call.call in {"set", "retry"}:
            effects.setdefault(call.run, []).append(call.call)
    for run_id, calls in effects.items():
        if ("set", "set") in pairwise(calls):
            yield Violation("i", run_id, f"Argo carried out {calls}")


def ends_are_what_was_asked(evidence: Evidence) -> Iterator[Violation]:
    """(k) A run that cannot end by itself ends as cancelled, and only if somebody asked."""
    ended = {life.name for life in evidence.lives if life.to == "ended"}
    for run in evidence.stored.runs:
        if run.status == "cancelled" and run.cancelled_by is None:
            yield Violation("k", run.id, "was cancelled, and nobody asked for it")
        held = run.action == "crash:hold" and run.workflow in ended
        if held and run.status in ENDS - {"cancelled", "lost"}:
            yield Violation("k", run.id, f"was cancelled by {run.cancelled_by}, and {run.status}")
        if run.action == "crash:fail" and run.status == "succeeded":
            yield Violation("k", run.id, "its workflow failed, and it succeeded")


def lost_means_gone(evidence: Evidence) -> Iterator[Violation]:
    """(k) A run is given up only when Argo has removed its workflow, archive and all."""
    made = {life.name for life in evidence.lives}
    gone = {life.name: life.at for life in evidence.lives if life.to == "gone"}
    ended = {life.name for life in evidence.lives if life.to == "ended"}
    for run in evidence.stored.runs:
        if run.status != "lost" or run.workflow not in made:
            continue
        if gone.get(run.workflow, 1e18) > (run.finished_at or 0):
            yield Violation("k", run.id, "was given up while Argo had its workflow")
        elif evidence.archive and run.workflow in ended and run.takes_over is None:
            yield Violation("k", run.id, "was given up while Argo had its workflow archived")


def nobody_saw_a_fault(evidence: Evidence) -> Iterator[Violation]:
    """(l) No client got an answer that none should get, no replica ended by itself."""
    for text in evidence.history.faults:
        yield Violation("l", "", text)
