"""What every run store promises of the chain of its audit trail."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest

from bridge.adapters import postgres, sql_audit, sqlite
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.postgres_session import PostgresSession
from bridge.adapters.schema import HISTORY, migrations
from bridge.adapters.sqlite import SqliteStore
from bridge.domain.audit import GENESIS, AuditDraft, Verifier, hash_of, record_json
from bridge.domain.callers import Source
from bridge.domain.errors import RunUnknown, StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import RunStatus
from bridge.ports import AuditFilter, Entry
from bridge.services.trail import check_stored, pages
from tests.contract.storing import ACCEPTED, LATER, accept, run_id, write
from tests.domain.making import NOW, new_run

TRAIL = "0004_audit_chain.sql"


async def sound(store, *, records: int, older: int = 0) -> None:
    """The chain holds, and has so many records."""
    verifier = Verifier()
    await check_stored(store, verifier)
    assert verifier.problem() is None
    assert (verifier.linked, verifier.older) == (records, older)


async def test_records_are_linked_in_the_order_in_which_things_were_done(store):
    """Each record carries the hash of the one before it, and one of its own."""
    await accept(store)
    for number in range(3):
        await store.audit(AuditDraft(f"a{number}", "c"), now=NOW)
    entry = Entry(audit=(AuditDraft("b1", "c"), AuditDraft("b2", "c", reason="é")))
    await store.append(run_id(0), entry, fence=None, now=LATER)

    records = await store.audit_records(AuditFilter())

    assert [record.draft.action for record in records] == ["b2", "b1", "a2", "a1", "a0"]
    assert [record.number for record in records] == [5, 4, 3, 2, 1]
    assert records[-1].previous == GENESIS
    assert all(newer.previous == older.hash for newer, older in pairwise(records))
    assert all(record.hash == hash_of(record_json(record)) for record in records)
    await sound(store, records=5)


async def test_every_field_is_kept_as_it_was_hashed(store):
    """What an auditor reads is what was written, to the millisecond."""
    draft = AuditDraft(
        action="run.approve",
        caller="plugin:scaffolder",
        user="user:default/ann",
        run_id="r1",
        reason="é \U0001f680 \u2028 'x' \"y\"",
        outcome="asked",
        data={"list": [1, 2.5, None, True], "nested": {"b": 1, "a": "\ud800"}},
        source=Source("2001:db8::1", "request-1"),
    )
    await store.audit(draft, now=NOW + timedelta(microseconds=123_987))

    (record,) = await store.audit_records(AuditFilter())

    assert record.draft == draft
    assert record.time == NOW + timedelta(milliseconds=123)
    await sound(store, records=1)


async def test_many_at_once_make_one_chain(store):
    """Writes that share a commit follow each other like any others."""
    await asyncio.gather(
        *(accept(store, number) for number in range(40)),
        *(store.audit(AuditDraft(f"a{number}", "c"), now=NOW) for number in range(40)),
    )
    await sound(store, records=40)


async def test_what_was_refused_leaves_no_gap(store):
    """A commit that comes to nothing takes no place in the chain."""
    run = await accept(store)
    entry = Entry(audit=(AuditDraft("x", "c"),), events=(log("x"),))
    await store.append(run.id, entry, fence=None, now=LATER)

    outcomes = await asyncio.gather(
        store.append("unknown", entry, fence=None, now=LATER),
        store.append(run.id, entry, fence=99, now=LATER),
        store.audit(AuditDraft("y", "c"), now=NOW),
        write(store, run.id, status=RunStatus.SUCCEEDED),
        store.append(run.id, entry, fence=None, now=LATER),
        return_exceptions=True,
    )

    refused = [isinstance(outcome, Exception) for outcome in outcomes]
    assert refused == [True, True, False, True, False]
    await sound(store, records=3)


async def test_a_job_that_is_refused_after_it_recorded_leaves_no_record(postgres_dsn, tmp_path):
    """Others in the same commit keep theirs, and the chain has no trace of it."""

    def refused(session) -> None:
        sql_audit.keep(AuditDraft("refused", "c"), NOW, session)
        raise RunUnknown

    for opener in (PostgresStore(postgres_dsn), SqliteStore(tmp_path / "runs.db")):
        async with opener as store:
            jobs = (store.audit(AuditDraft("a", "c"), now=NOW), store._write(refused))
            outcomes = await asyncio.gather(*jobs, return_exceptions=True)
            assert isinstance(outcomes[1], RunUnknown)
            await sound(store, records=1)


async def test_replicas_take_turns_without_disturbing_each_other(pair, monkeypatch):
    """The place at the end of the chain is waited for, not fought for."""
    disturbed = []
    monkeypatch.setattr(PostgresSession, "passing", lambda _, error: disturbed.append(error))

    async def work(store) -> None:
        for _ in range(60):
            await store.audit(AuditDraft("x", store.replica), now=NOW)

    await asyncio.gather(*(work(store) for store in pair for _ in range(4)))

    assert disturbed == []
    await sound(pair[0], records=480)


async def test_replicas_write_one_chain(replicas):
    """However many replicas write at the same time, nobody's record is left out or put aside."""
    one, two = replicas

    async def work(store, first: int) -> None:
        for number in range(first, first + 30):
            new = new_run(run_id(number), key=f"key-{number}")
            draft = AuditDraft("run.accept", "c", data={"replica": store.replica})
            await store.accept(new, first=ACCEPTED, audit=(draft,))
            await store.audit(AuditDraft("x", store.replica), now=NOW)

    await asyncio.gather(work(one, 0), work(one, 100), work(two, 200), work(two, 300))

    await sound(two, records=240)


async def test_replicas_that_write_each_others_runs_do_not_wait_for_ever(replicas):
    """The place in the trail is taken last, so nobody who has it waits for somebody else."""
    one, two = replicas
    for number in range(8):
        await accept(one, number)

    async def work(store, order) -> None:
        for _ in range(5):
            written = [
                store.append(
                    run_id(number),
                    Entry(events=(log("x"),), audit=(AuditDraft("x", "c"),)),
                    fence=None,
                    now=LATER,
                )
                for number in order
            ]
            await asyncio.gather(*written)

    async with asyncio.timeout(20):
        await asyncio.gather(work(one, range(8)), work(two, range(7, -1, -1)))

    await sound(one, records=80)


async def test_pages_hold_every_record_once(store):
    """A long trail is read piece by piece, without a record left out at a border."""
    for number in range(7):
        await store.audit(AuditDraft(f"a{number}", "c"), now=NOW)
    for size in (1, 3, 7, 8):
        read = [page async for page in pages(store, AuditFilter(limit=1), size=size)]
        numbers = [record.number for page in read for record in page]
        assert numbers == [7, 6, 5, 4, 3, 2, 1]
        assert all(len(page) <= size for page in read)


# --- a trail of before --------------------------------------------------------------------------

_OLD = (
    "INSERT INTO audit (time, action, caller, reason, outcome, data) "
    "VALUES ('2026-11-22T09:00:00+00:00', 'run.accept', 'c', '', 'done', '{}')"
)


def _before(database: str) -> list[tuple[str, str, str]]:
    """Name, digest and script of the migrations of before there was a chain."""
    steps = [step for step in migrations(database) if step.name < TRAIL]
    return [(step.name, step.digest, step.script) for step in steps]


async def test_a_sqlite_trail_of_before_goes_on(tmp_path):
    """What was recorded before there was a chain stays as it is; the chain begins behind it."""
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(HISTORY)
        for name, digest, script in _before("sqlite"):
            connection.executescript(script)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, digest))
        connection.execute(_OLD)
        connection.execute(_OLD)
        connection.commit()

    assert sqlite.migrate(path)[0] == TRAIL
    async with SqliteStore(path) as store:
        await _goes_on(store)


async def test_a_postgres_trail_of_before_goes_on(postgres_server):
    """The same for a database of several replicas."""
    with postgres_server.database(migrated=False) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(HISTORY)
            for name, digest, script in _before("postgres"):
                connection.execute(script.encode())
                connection.execute("INSERT INTO migrations VALUES (%s, %s)", (name, digest))
            connection.execute(_OLD)
            connection.execute(_OLD)
        assert postgres.migrate(dsn)[0] == TRAIL
        async with PostgresStore(dsn) as store:
            await _goes_on(store)


async def _goes_on(store) -> None:
    for action in ("a", "b"):
        await store.audit(AuditDraft(action, "c"), now=NOW)
    records = await store.audit_records(AuditFilter())
    assert [(record.number, bool(record.hash)) for record in records] == [
        (4, True),
        (3, True),
        (2, False),
        (1, False),
    ]
    await sound(store, records=2, older=2)


# --- looking beside the bridge --------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def openers(request, tmp_path):
    """Two stores, not yet open, over one database of each kind."""
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "runs.db"), SqliteStore(tmp_path / "runs.db")
    dsn = request.getfixturevalue("postgres_dsn")
    return PostgresStore(dsn), PostgresStore(dsn)


async def test_the_trail_is_read_while_the_bridge_runs(openers):
    """An auditor does not have to stop the service, and cannot change what is looked at."""
    writing, looking = openers
    async with writing as store, looking.looking() as other:
        await store.audit(AuditDraft("a", "c"), now=NOW)
        await sound(other, records=1)
        await store.audit(AuditDraft("b", "c"), now=NOW)
        await sound(other, records=2)
        with pytest.raises(StoreUnavailable, match="not open"):
            await other.audit(AuditDraft("c", "c"), now=NOW)
    with pytest.raises(StoreUnavailable, match="not open"):
        await other.audit_records(AuditFilter())


async def test_a_store_of_another_version_is_not_looked_at(tmp_path, postgres_server):
    """A schema that is not understood is not called broken, or sound."""
    with postgres_server.database(migrated=False) as dsn:
        for store in (SqliteStore(tmp_path / "none.db"), PostgresStore(dsn)):
            with pytest.raises(StoreUnavailable, match=r"lacks migration 0001.*bridge migrate"):
                async with store.looking():
                    raise AssertionError("it must not be opened")
    assert not (tmp_path / "none.db").exists()
