"""What the PostgreSQL store promises when connections fail, and of what replicas tell others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg
import pytest

from bridge.adapters import postgres_session
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.postgres_notices import Notices
from bridge.domain.audit import AuditDraft
from bridge.domain.errors import StoreUnavailable
from bridge.domain.events import log
from bridge.domain.runs import RunStatus
from tests.contract.storing import accept, run_id, write
from tests.domain.making import NOW

BOUND = 20.0


# --- faults of the connection --------------------------------------------------------------------


def cut_all(ask) -> None:
    """Cut every connection to this database but the test's own."""
    ask(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_connections_that_broke_while_idle_are_not_noticed(postgres_dsn, ask):
    """A restart of the database between two requests costs neither of them."""
    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)
        await asyncio.gather(*(store.run(run.id) for _ in range(20)))
        cut_all(ask)

        assert await store.run(run.id) == run
        cut_all(ask)
        assert (await write(store, run.id, log("x"))).run.last_seq == 2
        assert await store.ping() is None


async def test_a_connection_that_breaks_in_a_write_makes_it_unknown_once(postgres_dsn):
    """What may be committed already is never done again by itself: the caller looks first."""
    begun = []

    def cut(session) -> None:
        begun.append(1)
        session.rows("SELECT pg_terminate_backend(pg_backend_pid())")

    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)
        outcomes = await asyncio.gather(
            write(store, run.id, log("with it")), store._write(cut), return_exceptions=True
        )
        found = await store.run(run.id)

        assert [type(outcome) for outcome in outcomes[1:]] == [StoreUnavailable]
        assert len(begun) == 1
        assert found.last_seq == (1 if isinstance(outcomes[0], StoreUnavailable) else 2)
        assert (await write(store, run.id, log("again"))).run.last_seq == found.last_seq + 1


async def test_a_server_that_does_not_answer_fails_the_write_in_time(postgres_dsn, monkeypatch):
    """A database that hangs makes requests fail, not wait for ever; then it goes on."""
    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)
        await store._write(lambda session: session.change("SET statement_timeout TO 0"))
        monkeypatch.setattr(postgres_session, "_ANSWER_SECONDS", 0.2)
        hanging = store._write(lambda session: session.rows("SELECT pg_sleep(60)"))
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(hanging, timeout=BOUND)
        monkeypatch.undo()

        assert (await write(store, run.id, log("on"))).run.last_seq == 2


async def test_a_database_that_is_away_is_unavailable_and_comes_back(
    postgres_server, postgres_dsn, ask
):
    """While the database refuses connections requests fail soon; afterwards they are served."""
    name = psycopg.conninfo.conninfo_to_dict(postgres_dsn)["dbname"]
    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cut_all(ask)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await write(store, run.id, log("x"))
        with pytest.raises(StoreUnavailable):
            await store.run(run.id)
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        assert await store.run(run.id) == run
        async with asyncio.timeout(BOUND):
            while True:
                with suppress(StoreUnavailable):
                    appended = await write(store, run.id, log("x"))
                    break
                await asyncio.sleep(0.05)
        assert appended.run.last_seq == 2


async def test_text_that_no_row_can_hold_is_the_callers_fault(postgres_dsn):
    """A word with a NUL is not tried again for ever as if the database were away."""
    async with PostgresStore(postgres_dsn) as store:
        run = await accept(store)
        with pytest.raises(ValueError, match="cannot hold"):
            await store.audit(AuditDraft("run.cancel", "caller", reason="a\x00b"), now=NOW)
        assert await store.run(run.id) == run


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://u:secret%zz@h/d", "no PostgreSQL connection string"),
        ("nonsense secret", "no PostgreSQL connection string"),
        ("host=/nowhere user=u password=secret dbname=d", "run store failed"),
    ],
)
async def test_an_address_that_leads_nowhere_says_so_without_its_password(dsn, told):
    """The operator reads what is wrong, and nobody reads the password in the log."""
    with pytest.raises(StoreUnavailable, match=told) as refused:
        async with PostgresStore(dsn):
            pass

    assert "secret" not in str(refused.value)


async def test_a_store_that_is_closed_says_so(postgres_dsn):
    """A request that comes too late is refused and never waits for ever."""
    store = PostgresStore(postgres_dsn)
    with pytest.raises(StoreUnavailable, match="not open"):
        await accept(store)
    async with store:
        await accept(store)
    with pytest.raises(StoreUnavailable, match="not open"):
        await accept(store, 1)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.ping()


# --- notices ------------------------------------------------------------------------------------


async def test_many_changes_are_told_in_few_notices(postgres_dsn):
    """Telling others costs the database a few notices, however much is written."""
    payloads: list[str] = []
    async with (
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection,
        PostgresStore(postgres_dsn, replica="one") as store,
    ):
        await connection.execute("LISTEN bridge_runs")
        ids = [run_id(number) for number in range(450)]
        await asyncio.gather(*(accept(store, number) for number in range(450)))
        for _ in range(20):
            await asyncio.gather(*(write(store, run_id(n), log("x")) for n in range(20)))
        told: set[str] = set()
        async with asyncio.timeout(BOUND):
            async for notice in connection.notifies():
                payloads.append(notice.payload)
                told |= set(notice.payload.split(" ")[1:])
                if told >= set(ids):
                    break

    assert told == set(ids)
    assert {payload.split(" ")[0] for payload in payloads} == {"one"}
    assert max(len(payload.encode()) for payload in payloads) < 8000
    assert len(payloads) < 100


async def test_a_replica_that_ends_tells_what_it_wrote_last(postgres_dsn):
    """The last change before a deploy is heard as soon as any other."""
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        await connection.execute("LISTEN bridge_runs")
        async with PostgresStore(postgres_dsn, replica="one") as store:
            run = await accept(store)
            await write(store, run.id, log("x"))
            last = await accept(store, 1)
        heard: set[str] = set()
        async with asyncio.timeout(BOUND):
            async for notice in connection.notifies():
                heard |= set(notice.payload.split(" ")[1:])
                if last.id in heard:
                    break

    assert last.id in heard


async def test_a_replica_that_ends_while_it_tells_tells_the_rest():
    """No change is kept from the others because the replica was just telling of some."""
    told: list[str] = []
    asked, go = asyncio.Event(), asyncio.Event()

    async def send(payload: str) -> None:
        asked.set()
        await go.wait()
        told.extend(payload.split(" ")[1:])

    notices = Notices(replica="one", send=send)
    notices.changed(run_id(number) for number in range(450))
    await asked.wait()
    closing = asyncio.create_task(notices.aclose())
    await asyncio.sleep(0)
    notices.changed([run_id(450)])
    go.set()
    await closing

    assert told == [run_id(number) for number in range(451)]


async def test_a_listener_that_was_cut_off_listens_again(pair, ask):
    """A broken connection makes a stream slower for a moment, not for ever."""
    one, two = pair
    heard: set[str] = set()
    listening = asyncio.create_task(two.listen(heard.add))
    try:
        for number in range(2):
            run = await accept(one, number)
            async with asyncio.timeout(BOUND):
                while run.id not in heard:
                    await write(one, run.id, log("x"))
                    await asyncio.sleep(0.01)
            cut_all(ask)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def test_a_failed_notice_costs_nobody_anything(postgres_dsn, monkeypatch):
    """A write is good whether or not the others could be told of it, and the next one is told."""

    def refuse() -> None:
        raise StoreUnavailable

    async with (
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection,
        PostgresStore(postgres_dsn) as store,
    ):
        await connection.execute("LISTEN bridge_runs")
        monkeypatch.setattr(store, "_open_reader", refuse)
        run = await accept(store)
        appended = await write(store, run.id, status=RunStatus.SUBMITTING)
        async with asyncio.timeout(BOUND):
            while store._notices._sending is not None:  # noqa: ASYNC110 - nobody is told of it
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        later = await accept(store, 1)
        async with asyncio.timeout(BOUND):
            async for notice in connection.notifies(stop_after=1):
                assert notice.payload.split(" ")[1:] == [later.id]

    assert appended.run.status is RunStatus.SUBMITTING
