"""A real PostgreSQL for tests: Debian's, in a folder of its own, gone with the tests.

It listens on a Unix socket only and does not sync, because no test cuts the power.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from bridge.adapters.postgres import migrate

_TEMPLATE = "bridge_template"
_START_SECONDS = 60.0
_SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "listen_addresses=",
    "max_connections=200",
)


class PostgresServer:
    """A running server; databases come from a template that has been migrated."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def dsn(self, database: str = "postgres") -> str:
        """How to connect."""
        return f"host={self._folder} user=postgres dbname={database}"

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The address of a new, empty database, which is removed at the end."""
        name = f"bridge_{next(self._numbers)}"
        template = _TEMPLATE if migrated else "template0"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self.dsn(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement as the administrator."""
        with closing(psycopg.connect(self.dsn(), autocommit=True)) as connection:
            connection.execute(statement.encode())

    def make_template(self) -> None:
        """Migrate once for all databases."""
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(self.dsn(_TEMPLATE))


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Start a server and stop it at the end, also when this process is killed."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bridge-pg-"))
        stack.callback(shutil.rmtree, folder)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = str(folder / "data")
        initdb = ["initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        subprocess.run(
            _as_postgres([*initdb, "--locale=C.UTF-8", "--no-sync"]),
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        process = subprocess.Popen(
            _as_postgres(["postgres", "-D", data, "-k", str(folder), *settings]),
            cwd=folder,
            stderr=stack.enter_context((folder / "log").open("w")),
        )
        stack.callback(_stop, process)
        server = PostgresServer(folder)
        _wait(server, process, folder / "log")
        server.make_template()
        yield server


def _as_postgres(command: Sequence[str]) -> list[str]:
    """*command* of the newest installed version; it refuses to be run by root."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name)
    )
    if not folders:
        raise AssertionError("PostgreSQL is not installed: run `make postgres`")
    program = str(folders[-1] / command[0])
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*prefix, "--", program, *command[1:]]


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        try:
            psycopg.connect(server.dsn()).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"PostgreSQL does not start:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(3)  # SIGQUIT: at once; nothing of it is needed any more
    process.wait(timeout=30)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of a process."""
    with postgres() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty, migrated database."""
    with postgres_server.database() as dsn:
        yield dsn
