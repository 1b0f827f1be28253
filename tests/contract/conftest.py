"""The run stores and workflow engines under test."""

from __future__ import annotations

from contextlib import AsyncExitStack

import psycopg
import pytest

from bridge.adapters.memory import Memory, MemoryStore
from bridge.adapters.postgres import PostgresStore
from bridge.adapters.sqlite import SqliteStore
from tests.contract.engines import embedded
from tests.services.fakes import FakeEngine


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        async with SqliteStore(tmp_path / "runs.db") as opened:
            yield opened
    else:
        async with PostgresStore(request.getfixturevalue("postgres_dsn")) as opened:
            yield opened


@pytest.fixture(params=["memory", "postgres"])
async def replicas(request):
    """Two replicas, ``one`` and ``two``, on one empty store of each kind that can be shared."""
    names = ("one", "two")
    if request.param == "memory":
        memory = Memory()
        yield tuple(MemoryStore(memory, replica=name) for name in names)
        return
    dsn = request.getfixturevalue("postgres_dsn")
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(PostgresStore(dsn, replica=name)) for name in names]


@pytest.fixture
async def pair(postgres_dsn):
    """Two replicas on one database."""
    async with (
        PostgresStore(postgres_dsn, replica="one") as one,
        PostgresStore(postgres_dsn, replica="two") as two,
    ):
        yield one, two


@pytest.fixture(params=["fake", "embedded"])
async def engine(request):
    """An empty engine of each kind."""
    if request.param == "fake":
        yield FakeEngine()
    else:
        async with embedded() as found:
            yield found


@pytest.fixture
def ask(postgres_dsn):
    """Ask the database itself, on a connection of its own."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield lambda sql, *values: connection.execute(sql, values).fetchall()
