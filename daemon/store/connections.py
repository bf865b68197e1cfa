"""The ledger's transactions: those that write queue for one connection; after a fault of the disk there are no more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine

from daemon.errors import LedgerBroken, LedgerDamaged
from daemon.store import database, faults


class Connections:
    """To one ledger that `database.prepare` has seen to. Safe from any thread.

    Raises:
        LedgerUnavailable: from a transaction: nothing was changed, and trying again later may help.
        LedgerBroken, LedgerDamaged: from a transaction, and then from all: only a new start or a person can help.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inode = _inode(file)
        self._writer = database.writer(file)
        self._reader = database.reader(file)
        self._over: LedgerBroken | LedgerDamaged | None = None

    def close(self) -> None:
        """Close all; the readers' first, so that the last checkpoint is the writer's."""
        self._reader.dispose()
        self._writer.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may change the ledger, durable at its end."""
        if _inode(self._file) != self._inode:  # SQLite itself would go on writing into a file without a name
            what = "was removed or replaced while it was in use"
            self._over = LedgerDamaged(f"{self._file} {what}; {faults.RECOVER}")
        with self._transaction(self._writer) as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger."""
        with self._transaction(self._reader) as connection:
            yield connection

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


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
