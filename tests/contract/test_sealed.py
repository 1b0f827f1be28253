"""What every run store promises of sealed secrets: there until the run ends, and gone with it."""

from __future__ import annotations

import pytest

from bridge.domain.runs import RunStatus
from tests.contract.storing import ACCEPTED, LATER, accept, move, run_id, write
from tests.domain.making import new_run


async def test_what_is_sealed_is_kept_with_the_run(store):
    """A restart finds what the workflow is to be made of."""
    run = await accept(store, 0, sealed="sealed", mark="m")
    await accept(store, 1)
    assert await store.sealed(run.id) == "sealed"
    assert await store.sealed(run_id(1)) is None
    assert await store.sealed("unknown") is None
    await move(store, run, RunStatus.SUBMITTING, RunStatus.RUNNING)
    assert await store.sealed(run.id) == "sealed"


@pytest.mark.parametrize("end", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.LOST])
async def test_the_end_of_a_run_erases_what_is_sealed(store, end):
    """Nothing is kept longer than it is needed."""
    run = await accept(store, sealed="sealed", mark="m")
    await move(store, run, end)
    assert await store.sealed(run.id) is None


async def test_a_commit_that_comes_to_nothing_erases_nothing(store):
    """A replica that has lost the run cannot take its secrets away."""
    run = await accept(store, sealed="sealed", mark="m")
    with pytest.raises(ValueError, match="cannot go"):
        await write(store, run.id, status=RunStatus.SUCCEEDED, finished_at=LATER)
    assert await store.sealed(run.id) == "sealed"


async def test_a_replay_keeps_the_secrets_of_the_first_request(store):
    """The same request again changes nothing of the run that is there."""
    await accept(store, 0, key="k", sealed="first", mark="m")
    again = new_run(run_id(1), key="k", sealed="second", mark="m")
    assert (await store.accept(again, first=ACCEPTED)).replayed
    assert await store.sealed(run_id(0)) == "first"
    assert await store.sealed(run_id(1)) is None


async def test_old_runs_go_although_they_had_secrets(store):
    """Retention is not held up."""
    run = await accept(store, sealed="sealed", mark="m")
    await move(store, run, RunStatus.FAILED)
    assert await store.prune_runs(finished_before=LATER.replace(year=2027), limit=9) == 1
