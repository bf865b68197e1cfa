"""Connections to the ledger's SQLite file, and its migrations in a process of their own."""

from __future__ import annotations

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

    Alembic runs in a short-lived process: the daemon would carry its megabytes for months.

    Raises:
        ConfigError: the file is no ledger, is of a newer version, or could not be migrated.
    """
    found = _revision(file)
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        raise ConfigError(f"{file} was written by a newer indexttsd (revision {found}); install that version again")
    made = subprocess.run(
        [sys.executable, "-m", "daemon.store.migrations", str(file)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise ConfigError(f"{file} could not be brought up to date: {made.stderr.strip().splitlines()[-1]}")


def _revision(file: Path) -> str | None:
    if not file.exists():
        return None
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:  # no such table: an empty database
        return None
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{file} is damaged or no ledger ({error}); move it aside and restore a backup") from None
    finally:
        if "connection" in locals():
            connection.close()
    return str(row[0]) if row else None


def writer(file: Path) -> sqlalchemy.Engine:
    """The one connection that writes; threads queue for it.

    It alone commits and checkpoints, which is what keeps SQLite's WAL-reset bug (sqlite.org/wal.html#walresetbug)
    from ever finding the two connections it needs.
    """
    engine = sqlalchemy.create_engine(
        f"sqlite:///{file}", pool_size=1, max_overflow=0, pool_timeout=60, connect_args={"timeout": 10}
    )
    _set_up(engine, "BEGIN IMMEDIATE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    return engine


def reader(file: Path) -> sqlalchemy.Engine:
    """Connections that cannot write, for polls beside the writer."""
    engine = sqlalchemy.create_engine(
        f"sqlite:///{file}", pool_size=8, max_overflow=8, pool_timeout=60, connect_args={"timeout": 10}
    )
    _set_up(engine, "BEGIN", "query_only=ON")
    return engine


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
