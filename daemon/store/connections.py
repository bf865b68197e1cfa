"""The ledger's transactions: those that write queue for one connection; after a fault of the disk there are no more."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine

from daemon.errors import IndexttsdError, LedgerBroken, LedgerDamaged, LedgerUnavailable
from daemon.store import database, faults, looking

#: Bytes of the write-ahead log above which it is begun anew even if readers must be waited for.
LOG_BOUND = 16 << 20
#: How long a change waits for those before it, in seconds.
_PATIENCE = 60


class Connections:
    """To one ledger that `database.prepare` has seen to. Safe from any thread.

    Raises:
        LedgerUnavailable: from a transaction: nothing was changed, and trying again later may help.
        LedgerBroken, LedgerDamaged: from a transaction, and then from all: only a new start or a person can help.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        found = file.stat()
        self._inode = found.st_dev, found.st_ino
        self._log_bound = LOG_BOUND
        self._writer = database.writer(file)
        self._reader = database.reader(file)
        self._turn = threading.Lock()
        self._over: LedgerBroken | LedgerDamaged | None = None
        try:
            for engine in (self._reader, self._writer):  # both hold the file from now on
                with self._transaction(engine) as connection:
                    connection.exec_driver_sql("SELECT 1 FROM sqlite_master")
            self._renew_log()
        except BaseException:
            self.close()
            raise

    def _renew_log(self) -> None:
        """Bring what an earlier daemon left in the log into the ledger, before anything is promised on top of it.

        Where its disk failed, parts of the log may be in memory alone: a sync tells of a lost write only once, and the
        next one would say that all is well.
        """
        try:
            database.begin_log_anew(self._writer)
        except sqlite3.Error as error:
            raise self._meaning_of(error) or error from error

    def close(self) -> None:
        """Close all. The last to close a sound ledger is the writer, which brings the whole log into it.

        Of any other the log may be the best that is left: there a reader is the last, which leaves all as it is.
        """
        first, last = (self._writer, self._reader) if self._over else (self._reader, self._writer)
        first.dispose()
        last.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may change the ledger, durable at its end."""
        with self._in_turn():
            if what := self._taken_away():
                self._over = LedgerDamaged(f"{self._file} was {what} while it was in use; {faults.RECOVER}")
            with self._transaction(self._writer) as connection:
                yield connection
            self._bound_log()

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One after the other: who comes after one whose disk failed must know of it before he writes."""
        if not self._turn.acquire(timeout=_PATIENCE):
            raise LedgerUnavailable(f"the ledger {self._file} does not answer for now; try again later")
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger."""
        with self._transaction(self._reader) as connection:
            yield connection

    def _taken_away(self) -> str | None:
        """What became of the file, if not what we did; SQLite itself would go on writing into one without a name."""
        try:
            found = self._file.stat()
        except OSError:
            return "removed"
        if (found.st_dev, found.st_ino) != self._inode:
            return "replaced"
        return None if found.st_size else "emptied"

    def _bound_log(self) -> None:
        """Begin the log anew once it is large: SQLite does so by itself only when nobody reads, and polls overlap.

        Readers who began earlier are waited for, briefly; when they last longer, the log may grow twice as large.
        """
        log = looking.log_of(self._file)
        try:
            if log.stat().st_size <= self._log_bound:
                return
            begun_anew = database.begin_log_anew(self._writer)
        except OSError:
            return
        except sqlite3.Error as error:  # what was committed stays so: only the next one hears of it
            self._meaning_of(error)
            return
        self._log_bound = LOG_BOUND if begun_anew else 2 * self._log_bound

    def _meaning_of(self, error: sqlite3.Error) -> IndexttsdError | None:
        """What an error of SQLite's means, from now on if there is to be no transaction any more."""
        meaning = faults.meaning_of(error, str(self._file))
        if isinstance(meaning, LedgerBroken | LedgerDamaged):
            self._over = meaning
        return meaning

    @contextlib.contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        # Never asked again once its disk has failed: the kernel tells of a lost write only once.
        if self._over:
            raise type(self._over)(str(self._over))
        try:
            with faults.transaction(engine, str(self._file)) as connection:
                yield connection
        except (LedgerBroken, LedgerDamaged) as error:
            self._over = error
            raise
