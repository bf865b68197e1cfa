"""Looking at a ledger without touching it: no write, no checkpoint, no new file beside it, whoever asks."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from daemon.errors import ConfigError
from daemon.store import faults

Found = TypeVar("Found")

#: How long a look may wait for a recovery that another process has begun, in seconds.
_PATIENCE = 10
#: A ledger that is brought into use and out of it again between two looks, so often in a row, is not looked at.
_LOOKS = 10
_WHO = "let the user of the daemon do it, or mend the permissions"
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def log_of(file: Path) -> Path:
    """The write-ahead log of a ledger."""
    return file.with_name(f"{file.name}-wal")


def look(file: Path, question: Callable[[sqlite3.Connection], Found]) -> Found:
    """What `question` finds in a file of SQLite's that a daemon may be using meanwhile.

    While a log lies beside it, somebody uses it or was killed; then SQLite must read the log too. Without one SQLite
    would make an empty one and leave it, owned by whoever looked: so it is told that nobody writes, and asked anew if
    that was not so.

    Raises:
        ConfigError: this user may not read it.
        LedgerUnavailable, LedgerBroken, LedgerDamaged
    """
    for _ in range(_LOOKS):
        before = _traces(file)
        resting = not log_of(file).exists()
        try:
            found = _asked(file, "immutable=1" if resting else "mode=ro", question)
        except Exception:
            if not resting or _traces(file) == before:
                raise
        else:
            if not resting or _traces(file) == before:
                return found
    raise ConfigError(f"{file} changes all the time; look again when nothing starts or stops")


def _asked(file: Path, how: str, question: Callable[[sqlite3.Connection], Found]) -> Found:
    address = f"{file.absolute().as_uri()}?{how}"
    try:
        with contextlib.closing(_connect(address)) as connection:
            return question(connection)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in _UNREADABLE:
            raise unreadable(file) from None
        if meaning := faults.meaning_of(error, str(file)):
            raise meaning from error
        raise


def unreadable(file: Path) -> ConfigError:
    """What to say to a user who may not read a ledger."""
    return ConfigError(f"{file} or its log cannot be read by this user; {_WHO}")


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)


def _traces(file: Path) -> tuple[object, ...]:
    """What using a ledger changes."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, log_of(file).exists()
