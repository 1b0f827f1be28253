"""A store that was lost and restored: open runs go on, nothing is submitted twice."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters import sqlite_backup
from bridge.domain.audit import Verifier
from bridge.opening import store_of
from bridge.services.trail import check_stored
from bridge.settings import Settings
from tests.postgres import PostgresServer, _as_postgres
from tests.scenarios.argo import Argo, until
from tests.scenarios.making import succeeded
from tests.scenarios.stage import Stage, open_stage

_SOON = {"lease_seconds": 2}
"""The lease of the replica that was backed up is in the backup, and must end first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A store that can be backed up while it is used, and restored after its loss."""

    settings: dict[str, Any]
    back_up: Callable[[], None]
    restore: Callable[[], dict[str, Any]]
    """Gives the settings that name the restored store."""

    async def check_trail(self, settings: dict[str, Any]) -> None:
        """Check the chain of the audit trail, as ``bridge audit verify`` does."""
        verifier = Verifier()
        async with store_of(Settings(demo=True, **settings)).looking() as store:
            await check_stored(store, verifier)
        assert verifier.problem() is None
        assert verifier.linked > 0


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """Each kind of store, with the commands of docs/how-to/operate.md."""
    return _sqlite(tmp_path) if request.param == "sqlite" else _postgres(request)


def _sqlite(folder: Path) -> Kept:
    database, copy = folder / "bridge.db", folder / "backup.db"

    def restore() -> dict[str, Any]:
        database.unlink()
        sqlite_backup.restore(database, copy)
        return {"database": database}

    return Kept(
        {"database": database}, lambda: sqlite_backup.back_up(database, copy) and None, restore
    )


def _postgres(request: pytest.FixtureRequest) -> Kept:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    address: str = request.getfixturevalue("postgres_dsn")
    dump: list[bytes] = []

    def run(*command: str, given: bytes | None = None) -> bytes:
        done = subprocess.run(
            _as_postgres(command), input=given, capture_output=True, check=True, cwd="/"
        )
        return done.stdout

    def back_up() -> None:
        dump.append(run("pg_dump", "--format=custom", f"--dbname={address}"))

    def restore() -> dict[str, Any]:
        opened = server.database(migrated=False)
        empty = opened.__enter__()
        request.addfinalizer(lambda: opened.__exit__(None, None, None))
        run("pg_restore", "--exit-on-error", f"--dbname={empty}", given=dump[0])
        return {"database_url": empty, **_SOON}

    return Kept({"database_url": address, **_SOON}, back_up, restore)


async def test_open_runs_go_on_after_a_restore(store: Kept, argo: Argo):
    """Runs of before the backup are taken up where Argo is, told to the end, and made once."""
    async with open_stage(store.settings, argo=argo) as stage:
        run = await stage.held(key="open")
        over = await stage.held(key="over")
        argo.open(over.workflow)
        await over.reader.end()
        await asyncio.to_thread(store.back_up)
        argo.open(run.workflow)
        await run.reader.end()
    created = argo.created()
    settings = await asyncio.to_thread(store.restore)
    async with open_stage(settings, argo=argo) as stage:
        again = await _asked_again(stage, key="open")
        assert again["id"] == run.id
        await succeeded(stage, stage.asked(again))
        assert (await _asked_again(stage, key="over"))["status"] == "succeeded"
    assert argo.created() == created == 2
    await store.check_trail(settings)


async def test_runs_of_after_the_backup_are_unknown_and_left_alone(
    store: Kept, argo: Argo, caplog: pytest.LogCaptureFixture
):
    """Their workflows go on in Argo; the log names each of them, and nothing is done to it."""
    async with open_stage(store.settings, argo=argo) as stage:
        await stage.held(key="known", name="known")
        await asyncio.to_thread(store.back_up)
        lost = await stage.held(key="lost", name="lost")
    settings = await asyncio.to_thread(store.restore)
    caplog.set_level(logging.WARNING, "bridge.services.reopening")
    async with open_stage(settings, argo=argo) as stage:
        assert (await stage.http.get(lost.path)).status_code == 404
        await until(lambda: lost.workflow in _strangers(caplog))
        argo.open(lost.workflow)
        await argo.ended(lost.workflow)
        anew = await _asked_again(stage, key="lost", name="lost", status=202)
        assert anew["workflow"]["name"] != lost.workflow
    assert argo.phase(lost.workflow) == "Succeeded"
    assert argo.calls(lost.workflow) == ["create"]
    assert _strangers(caplog) == [lost.workflow]


async def test_a_run_that_was_submitted_after_the_backup_is_not_submitted_again(
    store: Kept, argo: Argo
):
    """A run that was only accepted at the backup finds the workflow that it made since."""
    async with open_stage(store.settings, argo=argo) as stage:
        async with argo.away():
            answer = await stage.http.post(
                "/v1/runs",
                json={"action": "work:steps", "input": {"name": "thing"}},
                headers={"Idempotency-Key": "accepted"},
            )
            run = stage.asked(answer.json())
            await asyncio.to_thread(store.back_up)
        await run.reader.told("⏸ waiting for hold")
    settings = await asyncio.to_thread(store.restore)
    async with open_stage(settings, argo=argo) as stage:
        again = stage.asked(await _asked_again(stage, key="accepted"))
        await again.reader.told("⏸ waiting for hold")
        argo.open(run.workflow)
        await succeeded(stage, again)
    assert argo.created() == 1


async def _asked_again(
    stage: Stage, *, key: str, name: str = "thing", status: int = 200
) -> dict[str, Any]:
    """Ask as the client does that never learned of the loss."""
    answer = await stage.http.post(
        "/v1/runs",
        json={"action": "work:steps", "input": {"name": name}},
        headers={"Idempotency-Key": key},
    )
    assert answer.status_code == status, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def _strangers(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The workflows of which the log says that they have no run."""
    return [record.__dict__["workflow"] for record in caplog.records if "no run" in record.message]
