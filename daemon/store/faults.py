"""What SQLite's errors mean for the daemon: wait, start anew, or call a person."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Engine, exc

from daemon.errors import IndexttsdError, LedgerBroken, LedgerDamaged, LedgerUnavailable

#: Primary result codes after which nothing is wrong with the file: the change was not made, and may be tried again.
_PASSING = {
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_BUSY: "another process holds it",
    sqlite3.SQLITE_LOCKED: "another process holds it",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
#: The index of the write-ahead log lies in memory shared through a file; on a full disk it cannot grow.
_FULL_AFTER_ALL = (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP)

#: With which status a process of ours ends that met one of these (sysexits.h), and back.
BY_STATUS: Mapping[int, type[IndexttsdError]] = {75: LedgerUnavailable, 74: LedgerBroken, 78: LedgerDamaged}

RECOVER = "docs/reliability.md says how to put a backup in its place"


@contextlib.contextmanager
def transaction(engine: Engine, what: str) -> Iterator[Connection]:
    """A transaction of the ledger `what`, committed at the end of the block.

    Raises:
        LedgerUnavailable, LedgerBroken, LedgerDamaged: instead of SQLite's own errors.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except exc.TimeoutError:  # the threads before us hold the connection for a minute already
        raise LedgerUnavailable(f"the ledger {what} does not answer for now; try again later") from None
    except exc.DBAPIError as error:
        if meaning := meaning_of(error.orig, what):
            raise meaning from error
        raise


def meaning_of(error: BaseException | None, what: str) -> IndexttsdError | None:
    """The error of ours that SQLite's stands for; None for what only a bug of ours can cause."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary in _DAMAGE:
        return LedgerDamaged(f"{what} is damaged ({error}); {RECOVER}")
    if code in _FULL_AFTER_ALL:
        primary = sqlite3.SQLITE_FULL
    if primary in _PASSING:
        return LedgerUnavailable(f"the ledger {what} cannot be used for now: {_PASSING[primary]}")
    if primary == sqlite3.SQLITE_IOERR:
        return LedgerBroken(f"the disk of {what} failed ({error}); the daemon must start anew from what is on it")
    return None
