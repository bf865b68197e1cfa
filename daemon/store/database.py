"""Connections to the ledger's SQLite file, and its migrations in a process of their own.

Who may write and checkpoint: SQLite's WAL-reset bug (sqlite.org/wal.html#walresetbug) needs a connection that commits
while another checkpoints. Here one connection does both, `writer`, of which a daemon has one and the state folder's
lock allows one daemon. `reader` and `looking.look`, which the commands use, open the file read-only: such a connection
never checkpoints, not even when it is the last to close. A migration runs before its daemon's connections are opened,
and dies with that daemon.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from daemon.errors import ConfigError, LedgerUnavailable, MachineTrouble
from daemon.files import to_disk
from daemon.space import trouble
from daemon.store import backups, faults, identity, looking
from daemon.store.schema import REVISION


def prepare(file: Path) -> None:
    """Bring the ledger to the newest revision, making it when nothing says that there was one already.

    A new one gets its name when it is whole: an empty file under that name was emptied by somebody else. An older one
    is copied before it is changed, and is not changed if it cannot be copied.

    Raises:
        LedgerDamaged: the file is damaged, no ledger, or gone.
        ConfigError: it is of a newer version, this user may not use it, or it could not be migrated.
        LedgerUnavailable, StorageUnavailable: it or its backup cannot be written for now.
        LedgerBroken
    """
    if not os.path.lexists(file):
        identity.require_absence(file)
        _make(file)
    found = identity.revision(file)
    if found > REVISION:
        raise ConfigError(f"{file} was written by a newer indexttsd (revision {found}); install that version again")
    for part in (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))):
        if part.exists() and not os.access(part, os.R_OK | os.W_OK, effective_ids=True):
            raise ConfigError(f"{part} cannot be written to by this user; mend its permissions")
    if found < REVISION:
        _upgrade(file, found)
    try:
        identity.mark(file)
    except OSError as error:
        raise trouble(error, str(file.parent)) or error from None


def _make(file: Path) -> None:
    unfinished = file.with_name(f"{file.name}.new")
    for suffix in ("", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    _migrate(unfinished)
    if looking.log_of(unfinished).exists():  # SQLite closes without a word about what it could not bring into the file
        raise LedgerUnavailable(f"the ledger {file} cannot be made for now: its disk is full, or fails")
    unfinished.rename(file)
    to_disk(file.parent, follow=True)


def _upgrade(file: Path, found: str) -> None:
    backup = backups.before_upgrade(file, found)
    try:
        _migrate(file)
    except MachineTrouble:  # nothing was changed, and each new try makes a copy of its own
        backup.unlink()
        raise
    backups.forget_old(file)


def _migrate(file: Path) -> None:
    """Run Alembic in a short-lived process: the daemon would carry its megabytes for months.

    It dies with the thread that waits for it here, so that it is never at work beside the next daemon.
    """
    command = [sys.executable, "-m", "daemon.store.migrations", str(file), str(os.getpid())]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if not made.returncode:
        return
    last = (made.stderr.strip().splitlines() or [f"the migration ended with status {made.returncode}"])[-1]
    if meaning := faults.BY_STATUS.get(made.returncode):
        raise meaning(last)
    raise ConfigError(f"{file} could not be brought up to date: {last}")


#: Bytes that the write-ahead log may keep on the disk once all of it is in the ledger.
_LOG_KEPT = 4 << 20
#: Milliseconds that a connection waits for another one's lock, and that a log to be begun anew waits for readers.
_PATIENCE, _LOG_PATIENCE = 10_000, 200


def writer(file: Path) -> sqlalchemy.Engine:
    """The one connection that writes; threads queue for it."""
    engine = _engine(sqlalchemy.URL.create("sqlite", database=str(file)), pool_size=1, max_overflow=0)
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"journal_size_limit={_LOG_KEPT}")
    _set_up(engine, "BEGIN IMMEDIATE", *pragmas)
    return engine


def begin_log_anew(engine: sqlalchemy.Engine) -> bool:
    """Bring all of the writer's log into the ledger and let its next change begin it anew; whether that was possible.

    Raises:
        sqlite3.Error: nothing is lost by it.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_LOG_PATIENCE}")
        try:
            busy = cursor.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
            cursor.close()
    finally:
        connection.close()
    return not busy


def reader(file: Path) -> sqlalchemy.Engine:
    """Connections that can neither write nor checkpoint, for polls beside the writer."""
    query = {"mode": "ro", "uri": "true"}
    engine = _engine(
        sqlalchemy.URL.create("sqlite", database=file.absolute().as_uri(), query=query), pool_size=8, max_overflow=8
    )
    _set_up(engine, "BEGIN")
    return engine


def _engine(url: sqlalchemy.URL, **pool: int) -> sqlalchemy.Engine:
    # Parameters are hidden: they hold people's texts, which have no place in an error or a log.
    return sqlalchemy.create_engine(
        url, pool_timeout=60, connect_args={"timeout": _PATIENCE / 1000}, hide_parameters=True, **pool
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
