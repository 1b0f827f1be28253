"""Copies of a SQLite run store: taken while it is used, put back while it is not.

Knows SQLite's online backup, which copies one state however much is written meanwhile, and which
files belong to a database. Must not know what is stored.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bridge.adapters.sqlite import FileLock, cannot_open, pending_migrations
from bridge.domain.errors import StoreUnavailable

_BESIDE = ("-wal", "-shm")
"""Files of a database in WAL mode; those of another state of it would be taken for its own."""


def back_up(database: Path, file: Path) -> int:
    """Copy *database* to *file*, checked and synced, in the place of what was there; its size.

    Raises:
        StoreUnavailable: There is no such store, or the copy cannot be written.
    """
    if not database.exists():
        raise StoreUnavailable(f"There is no run store {database}.")
    with _replacing(file, other_than=database) as part:
        _copy(database, part)
        return part.stat().st_size


def restore(database: Path, file: Path) -> None:
    """Put a copy of *file* in the place of *database*.

    Raises:
        StoreUnavailable: The store is in use, or the file is no backup of this version or an
            earlier one.
    """
    if not file.exists():
        raise StoreUnavailable(f"There is no backup {file}.")
    if "0001_runs.sql" in pending_migrations(file):
        raise StoreUnavailable(f"{file} is no run store.")
    with closing(FileLock(database)), _replacing(database, other_than=file) as part:
        _copy(file, part)
        # First: interrupted here, the store lacks its last commits, which were to go anyway.
        for ending in _BESIDE:
            database.with_name(f"{database.name}{ending}").unlink(missing_ok=True)


@contextmanager
def beside(database: Path) -> Iterator[Path]:
    """A file for a copy on its way in or out, on the disk of the *database*; gone at the end.

    Raises:
        StoreUnavailable: It cannot be written.
    """
    copy = database.with_name(f"{database.name}.copy")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        yield copy
    except OSError as error:
        raise cannot_open(copy, error) from error
    finally:
        with suppress(OSError):
            copy.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
        (result,) = copy.execute("PRAGMA integrity_check").fetchone()
        if result != "ok":
            raise StoreUnavailable(f"{source} is damaged: {result}")


@contextmanager
def _replacing(file: Path, *, other_than: Path) -> Iterator[Path]:
    """A file to write, which takes the place of *file* at once and only when all went well."""
    if file.resolve() == other_than.resolve():
        raise StoreUnavailable(f"{file} is the run store itself.")
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield part
        _sync(part)
        part.replace(file)
        _sync(file.parent)
    except (OSError, sqlite3.Error) as error:
        raise cannot_open(file, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
