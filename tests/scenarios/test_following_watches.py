"""Following through everything that happens to a watch: the user sees each line once, in order."""

from __future__ import annotations

import time

from tests.scenarios.argo import until
from tests.scenarios.making import succeeded
from tests.scenarios.stage import SILENCE_SECONDS, Stage

LIST = "/workflows/argo-workflows"


async def test_watch_rotation(stage: Stage):
    """A watch that Argo ends with 8/429 "EOF", at once or in the middle, costs nobody a line."""
    rotations = {"route": "watch", "fault": "rotate"}
    stage.argo.faults.put({"streams": [{**rotations, "events": 2}, {**rotations, "times": 1}]})
    run = await stage.held()
    listed = stage.argo.arrived("GET", LIST)
    await stage.argo.end_watch("rotate")
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["streams"][0] > 1
    assert stage.argo.arrived("GET", LIST) == listed  # each goes on where the last one ended


async def test_watch_rotation_before_the_first_byte(stage: Stage):
    """A quiet watch ends as HTTP 429 with an "EOF" in its body; that is no rate limit."""
    run = await stage.held()
    stage.argo.faults.put({"streams": [{"route": "watch", "fault": "rotate", "times": 1}]})
    listed = stage.argo.arrived("GET", LIST)
    await stage.argo.end_watch("rotate", times=2)
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.arrived("GET", LIST) == listed


async def test_too_old_resource_version(stage: Stage):
    """What happened while the position expired is shown as soon as the bridge has listed again."""
    run = await stage.held()
    stage.argo.faults.put({"streams": [{"route": "watch", "fault": "expire", "times": 2}]})
    before = stage.argo.watches
    assert stage.argo.faults.now({"do": "expire"})
    stage.argo.open(run.workflow)
    await stage.argo.watched_again(before + 2)

    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["streams"] == [2]


async def test_silence(stage: Stage):
    """A watch that says nothing more, not even a keep-alive, is given up and opened anew."""
    run = await stage.held()
    before = stage.argo.watches
    assert stage.argo.faults.now({"do": "silent", "route": "watch"}) == 1
    stage.argo.open(run.workflow)
    await stage.argo.ended(run.workflow)
    assert "✓ hold" not in run.reader.steps

    await succeeded(stage, run)
    assert stage.argo.watches > before


async def test_an_idle_watch_is_no_silence(stage: Stage):
    """Keep-alives are signs of life: a watch on which nothing happens stays open."""
    run = await stage.held()
    before = stage.argo.watches
    opened = stage.argo.arrived("GET", "/workflow-events/argo-workflows")[-1]
    await until(lambda: time.monotonic() > opened + 1.5 * SILENCE_SECONDS)

    assert stage.argo.watches == before
    stage.argo.open(run.workflow)
    await succeeded(stage, run)


async def test_coalesced_snapshots(stage: Stage):
    """Steps that begin and end between two looks are told as ended, in the order of their ends."""
    coalesce = {"route": "watch", "fault": "coalesce", "seconds": 0.4}
    stage.argo.faults.put({"streams": [coalesce]})
    await stage.argo.end_watch("rotate")
    run = await stage.held()
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    running = [line for line in run.reader.lines if line.startswith("●")]
    assert len(running) < 2, "nothing was coalesced"


async def test_stale_snapshots(stage: Stage):
    """Old states, repeated events and a list that lags take nothing back and repeat nothing."""
    stage.argo.faults.put(
        {
            "unary": [{"route": "list", "fault": "stale", "behind": 3}],
            "streams": [
                {"route": "watch", "fault": "replay"},
                {"route": "watch", "fault": "duplicate"},
            ],
        }
    )
    await stage.argo.end_watch("rotate")
    run = await stage.held()
    for deed in ("replay", "duplicate", "replay"):
        assert stage.argo.faults.now({"do": deed})
    await stage.argo.end_watch("expire")
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["unary"][0]


async def test_error_frames_blanked_by_fields(stage: Stage):
    """An error frame that arrives empty is taken for the end of the watch that it is."""
    stage.argo.front.blanks_errors = True
    stage.argo.faults.put({"streams": [{"route": "watch", "fault": "rotate", "events": 3}]})
    await stage.argo.end_watch("rotate")
    run = await stage.held()
    stage.argo.open(run.workflow)

    await succeeded(stage, run)
    assert stage.argo.faults.state()["applied"]["streams"][0]
