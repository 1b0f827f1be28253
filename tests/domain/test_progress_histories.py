"""The reducer against random histories, shown as a real Argo shows them: anyhow.

A history is what truly happened. It is shown coalesced, repeated and stale, and the reducer is
restarted from its stored state in between; what is told must not depend on any of that.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.domain.events import EventDraft
from bridge.domain.progress import Advance, FollowState, advance
from bridge.domain.workflows import NODE_ENDS, Snapshot
from tests.domain.making import at, node, snapshot

GOOD, BAD = ("Succeeded", "Skipped", "Omitted"), ("Failed", "Error")


@dataclass(frozen=True, slots=True)
class History:
    """Every state of a workflow, and the order in which they are shown; the last is shown last."""

    states: tuple[Snapshot, ...]
    shown: tuple[int, ...]
    restarts: frozenset[int]


@dataclass(slots=True)
class Life:
    """A node that moves."""

    name: str
    kind: str
    phases: list[str]
    flags: dict[str, Any]

    def move(self, nodes: dict[str, dict[str, Any]], tick: int) -> None:
        """Go to the next phase at second *tick*."""
        phase = self.phases.pop(0)
        raw = nodes.get(self.name) or node(self.name, self.kind, started=tick, **self.flags)
        ended = at(tick) if phase in NODE_ENDS else None
        nodes[self.name] = {**raw, "phase": phase, "finishedAt": ended}


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    found: list[Life] = []
    for number in range(draw(st.integers(min_value=1, max_value=5))):
        kind = draw(st.sampled_from(["Pod", "Suspend", "Retry", "StepGroup", "Pod"]))
        before = draw(st.sampled_from([["Pending", "Running"], ["Running"], ["Pending"], []]))
        end = draw(st.sampled_from(GOOD + BAD))
        name = f"s{number}"
        found.append(Life(name, kind, [*before, end], {}))
        for attempt in range(draw(st.integers(0, 3)) if kind == "Retry" else 0):
            flags = {"nodeFlag": {"retried": True}}
            last = draw(st.sampled_from(GOOD[:1] + BAD))
            found.append(Life(f"{name}({attempt})", "Pod", ["Running", last], flags))
    return found


@st.composite
def histories(draw: st.DrawFn) -> History:
    open_lives = draw(lives())
    nodes: dict[str, dict[str, Any]] = {}
    states = [snapshot(phase=None)]
    abandoned = draw(st.integers(min_value=0, max_value=2))
    moves = sum(len(life.phases) for life in open_lives)
    for tick in range(max(moves - abandoned, 1)):
        life = draw(st.sampled_from([life for life in open_lives if life.phases]))
        life.move(nodes, tick // 2)
        states.append(snapshot(*nodes.values()))
    states.append(snapshot(*nodes.values(), phase=draw(st.sampled_from(["Succeeded", "Failed"]))))
    last = len(states) - 1
    shown = draw(st.lists(st.integers(min_value=0, max_value=last - 1), max_size=12))
    if draw(st.booleans()):
        shown = sorted(shown)
    repeats = draw(st.integers(min_value=1, max_value=2))
    order = (*shown, *[last] * repeats)
    restarts = draw(st.frozensets(st.integers(min_value=0, max_value=len(order)), max_size=4))
    return History(tuple(states), order, restarts)


def play(history: History) -> list[Advance]:
    """Show the history to the reducer, through its store at each restart."""
    state, steps = FollowState(), []
    for position, index in enumerate(history.shown):
        if position in history.restarts:
            state = FollowState.from_json(json.loads(json.dumps(state.to_json())))
        steps.append(advance(state, history.states[index]))
        state = steps[-1].state
    return steps


def step_of(event: EventDraft) -> tuple[str, str]:
    return event.data["step"]["id"], event.data["step"].get("phase", "Running")


def speaks(raw: dict[str, Any]) -> bool:
    """Whether the end of a node is told: a step's always, a try's only if it failed."""
    if (raw.get("nodeFlag") or {}).get("retried"):
        return raw["phase"] in BAD
    return raw["type"] in {"Pod", "Suspend", "Retry"}


@given(histories())
@settings(max_examples=300)
def test_every_end_is_told_once_and_nothing_after_it(history):
    """However Argo shows a workflow, each step's end is told exactly once and is its last word."""
    told = [step_of(event) for step in play(history) for event in step.events]
    truth = history.states[-1].raw_nodes

    ends = Counter(node_id for node_id, phase in told if phase in NODE_ENDS)
    assert ends == Counter(node_id for node_id, raw in truth.items() if speaks(raw))
    for node_id in ends:
        phases = [phase for told_id, phase in told if told_id == node_id]
        assert phases[-1] in NODE_ENDS
        assert len(phases) == len(set(phases))


@given(histories())
@settings(max_examples=200)
def test_each_end_is_told_as_it_was(history):
    """The phase that is told is the phase that the step ended in; open ones did not finish."""
    told = dict(step_of(event) for step in play(history) for event in step.events)
    truth = history.states[-1].raw_nodes

    for node_id, phase in told.items():
        ended = truth[node_id]["phase"] in NODE_ENDS
        assert phase == (truth[node_id]["phase"] if ended else "Omitted")


@given(histories())
@settings(max_examples=200)
def test_what_is_seen_together_is_told_in_the_order_of_time(history):
    """Steps that ended between two looks are told in the order in which they ended."""
    for step in play(history):
        times = [
            one.finished if one.ended and one.finished else one.started for one in step.changed
        ]
        assert times == sorted(times)


@given(histories())
@settings(max_examples=200)
def test_a_restart_changes_nothing(history):
    """A bridge that was killed at any moment tells the very same lines as one that was not."""
    steady = History(history.states, history.shown, frozenset())

    assert [step.events for step in play(history)] == [step.events for step in play(steady)]


@given(histories())
@settings(max_examples=100)
def test_a_repeated_look_tells_nothing(history):
    """Looking at the same state again adds no line and leaves nothing to store."""
    state = FollowState()
    for index in history.shown:
        state = advance(state, history.states[index]).state
        again = advance(state, history.states[index])
        assert again.events == ()
        assert again.state is state
