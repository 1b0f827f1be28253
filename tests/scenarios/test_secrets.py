"""A password that somebody types is in the workflow and nowhere else."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.scenarios.stage import AUDITOR, Asked, Stage, open_stage

SECRET = "hunter2-correct-horse"


async def ask(stage: Stage, *, name: str, key: str = "key-1", password: str = SECRET) -> Asked:
    """Ask for a run with a password, and read its stream from the start."""
    body = {"action": "work:secret", "input": {"name": name, "password": password}}
    answer = await stage.http.post("/v1/runs", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code in {200, 202}, answer.text
    assert SECRET not in answer.text
    return stage.asked(answer.json())


async def held(stage: Stage, *, name: str) -> Asked:
    """A run whose workflow has begun and has not used the password."""
    run = await ask(stage, name=name)
    await run.reader.told("⏸ waiting for hold")
    return run


async def told(stage: Stage, run: Asked) -> str:
    """Everything that the API tells of a run."""
    paths = (run.path, f"{run.path}/events", "/v1/runs", "/v1/audit", "/catalog/all.yaml")
    answers = [await stage.http.get(path, headers=AUDITOR) for path in paths]
    assert all(answer.is_success for answer in answers)
    return "\n".join([*(answer.text for answer in answers), *run.reader.lines])


def _every_row(table: str) -> sql.Composed:
    return sql.SQL("SELECT {0}::text FROM {0}").format(sql.Identifier(table))


def dumped(kept: dict[str, Any]) -> bytes:
    """All that a store has: the bytes of its files, or every row of every table."""
    if "database" in kept:
        path: Path = kept["database"]
        with closing(sqlite3.connect(path)) as connection:
            text = "\n".join(connection.iterdump())
        return text.encode() + b"".join(file.read_bytes() for file in path.parent.glob("*.db*"))
    with psycopg.connect(kept["database_url"]) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        tables = [name for (name,) in connection.execute(query)]
        rows = [row for table in tables for (row,) in connection.execute(_every_row(table))]
    return "\n".join(rows).encode()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged, at the finest level that an operator may choose."""
    caplog.set_level(logging.DEBUG, logger="bridge")
    return caplog


@pytest.mark.parametrize("name", ["good", "bad"])
async def test_a_password_is_found_nowhere(kept, argo, log, name: str):
    """Not in the store, the events, the outputs, the catalog, the trail or the log."""
    async with open_stage(kept, argo=argo) as stage:
        run = await held(stage, name=name)
        argo.open(run.workflow)
        end = await run.reader.end()
        assert end["status"] == ("succeeded" if name == "good" else "failed"), run.reader.lines
        assert "speak | with ***" in run.reader.lines
        assert end["outputs"] == ({"given": "with ***"} if name == "good" else {})
        assert SECRET not in await told(stage, run)
        assert SECRET in str(argo.workflow(run.workflow)["spec"])
        dump = dumped(kept)
        assert b"work:secret" in dump
        assert SECRET.encode() not in dump
    assert SECRET.encode() not in dumped(kept)
    assert SECRET not in log.text


async def test_a_password_outlives_a_restart_sealed(kept, argo, log):
    """What was accepted while Argo was away is submitted by the next process, as it was typed."""
    async with open_stage(kept, argo=argo) as stage:
        await argo.stop()
        run = await ask(stage, name="good")
        dump = dumped(kept)
        assert run.id.encode() in dump
        assert SECRET.encode() not in dump
    await argo.start()
    async with open_stage(kept, argo=argo) as stage:
        again = stage.asked(await stage.run(run))
        await again.reader.told("⏸ waiting for hold")
        argo.open(run.workflow)
        end = await again.reader.end()
        assert (end["status"], end["outputs"]) == ("succeeded", {"given": "with ***"})
        assert SECRET not in await told(stage, again)
    assert SECRET.encode() not in dumped(kept)
    assert SECRET not in log.text


async def test_a_password_is_hidden_by_who_takes_the_run_over(kept, argo, log):
    """A process that began in the middle of a run knows what must not be told of it."""
    async with open_stage(kept, argo=argo) as stage:
        run = await held(stage, name="good")
    async with open_stage(kept, argo=argo) as stage:
        again = stage.asked(await stage.run(run))
        argo.open(run.workflow)
        assert (await again.reader.end())["outputs"] == {"given": "with ***"}
        assert "speak | with ***" in again.reader.lines
    assert SECRET.encode() not in dumped(kept)
    assert SECRET not in log.text


async def test_a_workflow_with_a_password_that_is_retried_in_argo_is_left_to_argo(kept, argo, log):
    """What it says could not be hidden any more, so it is not told."""
    async with open_stage(kept, argo=argo) as stage:
        run = await held(stage, name="bad")
        argo.open(run.workflow)
        assert (await run.reader.end())["status"] == "failed"
        await argo.retry(run.workflow)
        await argo.ended(run.workflow)
        other = await stage.ask("work:entity")  # the watch has shown what came before it
        await other.reader.end()
        assert (await stage.run(run))["supersededBy"] is None
        status, problem = await stage.act(run, "retry")
        assert (status, problem["code"]) == (409, "not_retryable")
    assert SECRET.encode() not in dumped(kept)
    assert SECRET not in log.text
