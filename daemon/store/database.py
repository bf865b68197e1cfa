"""Connections to the ledger's SQLite file, and its migrations in a process of their own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from daemon.errors import ConfigError
from daemon.store.schema import REVISION


def prepare(file: Path) -> None:
    """Bring the ledger to the newest revision, making it when it is missing.

    A new one gets its name when it is whole: an empty file under that name was emptied by somebody else.

    Raises:
        ConfigError: the file is no ledger, is damaged, is of a newer version, or could not be migrated.
    """
    if not file.exists():
        _make(file)
        return
    found = _revision(file)
    if found > REVISION:
        raise ConfigError(f"{file} was written by a newer indexttsd (revision {found}); install that version again")
    if found < REVISION:
        _migrate(file)


def _make(file: Path) -> None:
    log = file.with_name(f"{file.name}-wal")
    if log.exists():  # it would be replayed into a new ledger
        raise ConfigError(f"{log} is there without {file.name}; bring that back, or move both aside to begin anew")
    unfinished = file.with_name(f"{file.name}.new")
    for suffix in ("", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    _migrate(unfinished)
    unfinished.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _migrate(file: Path) -> None:
    """Run Alembic in a short-lived process: the daemon would carry its megabytes for months."""
    command = [sys.executable, "-m", "daemon.store.migrations", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or [f"the migration ended with status {made.returncode}"])[-1]
        raise ConfigError(f"{file} could not be brought up to date: {last}")


def _revision(file: Path) -> str:
    if not file.stat().st_size:
        raise ConfigError(f"{file} is empty; restore a backup, or remove it to begin without any task")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            faults = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise ConfigError(f"{file} is damaged or no ledger ({error}); move it aside and restore a backup") from None
    if faults != "ok" or row is None:
        raise ConfigError(f"{file} is damaged ({faults}); move it aside and restore a backup")
    return str(row[0])


def writer(file: Path) -> sqlalchemy.Engine:
    """The one connection that writes; threads queue for it.

    It alone commits and checkpoints, which is what keeps SQLite's WAL-reset bug (sqlite.org/wal.html#walresetbug)
    from ever finding the two connections it needs.
    """
    engine = _engine(file, pool_size=1, max_overflow=0)
    _set_up(engine, "BEGIN IMMEDIATE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    return engine


def reader(file: Path) -> sqlalchemy.Engine:
    """Connections that cannot write, for polls beside the writer."""
    engine = _engine(file, pool_size=8, max_overflow=8)
    _set_up(engine, "BEGIN", "query_only=ON")
    return engine


def _url(file: Path) -> sqlalchemy.URL:
    """Made of parts: a path may hold a '?'."""
    return sqlalchemy.URL.create("sqlite", database=str(file))


def _engine(file: Path, **pool: int) -> sqlalchemy.Engine:
    # Parameters are hidden: they hold people's texts, which have no place in an error or a log.
    return sqlalchemy.create_engine(
        _url(file), pool_timeout=60, connect_args={"timeout": 10}, hide_parameters=True, **pool
    )


def _set_up(engine: sqlalchemy.Engine, begin: str, *pragmas: str) -> None:
    # The driver opens transactions by its own rules (deferred, and none before a SELECT): lost updates and
    # "database is locked" in measurements. So it opens none, and every block of ours begins as it should.
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(begin)
