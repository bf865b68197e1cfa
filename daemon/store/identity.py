"""Whether a file is a ledger of ours, and whether a ledger must be there.

Beside a ledger lies a mark that outlives it: without that, a ledger which somebody removed would be a first start, and
all its tasks would be forgotten without a word. The mark comes after the ledger and goes with nobody but a person, so
that no death of the process on the way leaves a mark without its ledger.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from daemon.errors import LedgerDamaged
from daemon.files import to_disk
from daemon.store.faults import RECOVER
from daemon.store.looking import log_of, look, unreadable
from daemon.store.schema import APPLICATION_ID

#: Revisions of before ledgers said whose they are.
_NAMELESS = ("0001", "0002", "0003")
_OUR_TABLES = {"alembic_version", "tasks", "speeches"}
#: Where SQLite's header tells how the file is written, and the sign of one that has no write-ahead log.
_FORMAT_AT, _WITHOUT_LOG = 18, 1


def mark_of(file: Path) -> Path:
    """The mark that says: here belongs a ledger."""
    return file.with_name(f"{file.name}.belongs-here")


def mark(file: Path) -> None:
    """Say, durably, that this ledger belongs here.

    Raises:
        OSError: the disk takes no file.
    """
    if mark_of(file).exists():
        return
    unfinished = file.with_name(f"{mark_of(file).name}.new")
    with unfinished.open("w", encoding="utf-8") as note:
        note.write(
            f"{file.name} in this folder holds the tasks that were accepted. Should it be gone, put a backup in its\n"
            "place; docs/reliability.md says how. Remove this file only to begin anew, without any task.\n"
        )
        note.flush()
        os.fsync(note.fileno())
    unfinished.rename(mark_of(file))
    to_disk(file.parent, follow=True)


def require_absence(file: Path) -> None:
    """See that nothing speaks of a ledger that should be here.

    Raises:
        LedgerDamaged: a mark or a log does.
    """
    if mark_of(file).exists():
        raise LedgerDamaged(_gone(file))
    if log_of(file).exists():  # it would be replayed into a new ledger
        raise LedgerDamaged(
            f"{log_of(file)} is there without {file.name}; bring that back, or move both aside to begin anew"
        )


def revision(file: Path) -> str:
    """The revision of a ledger that is ours and whole.

    Raises:
        LedgerDamaged: it is neither of these; the file was not touched.
        ConfigError, LedgerUnavailable, LedgerBroken: it cannot be looked at.
    """
    try:
        _check_shape(file)
    except PermissionError:
        raise unreadable(file) from None
    found, fault = look(file, _identify)
    if fault:
        raise LedgerDamaged(f"{file} {fault}; {RECOVER}")
    return found


def _check_shape(file: Path) -> None:
    """What must be seen before SQLite opens it: an empty file is a database for it, and it believes any log."""
    try:
        file.lstat()
    except FileNotFoundError:
        raise LedgerDamaged(_gone(file) if mark_of(file).exists() else f"there is no ledger {file}") from None
    if not file.is_file():
        raise LedgerDamaged(f"{file} is no file; move it aside, and {RECOVER}")
    with file.open("rb") as begin:
        head = begin.read(100)
    if not head:
        raise LedgerDamaged(f"{file} is empty; {_or_anew(file)}")
    kept_without = len(head) == 100 and head[_FORMAT_AT] == _WITHOUT_LOG
    if kept_without and log_of(file).exists() and log_of(file).stat().st_size:
        raise LedgerDamaged(f"{log_of(file)} belongs to an older {file.name} and would spoil this one; move it aside")


def _identify(connection: sqlite3.Connection) -> tuple[str, str | None]:
    """The revision, and what is wrong with the file, as the end of a sentence."""
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _OUR_TABLES or identity not in (APPLICATION_ID, 0):
        return "", "is another program's database and no ledger; move it aside"
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None or (identity == 0 and row[0] not in _NAMELESS):
        return "", "is no ledger of indexttsd, or a damaged one; move it aside"
    (fault,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return str(row[0]), None if fault == "ok" else f"is damaged ({' '.join(fault.split())}); move it aside"


def _gone(file: Path) -> str:
    return f"{file} is gone, but tasks were kept in it; {_or_anew(file)}"


def _or_anew(file: Path) -> str:
    there = [name for name in (file.name, log_of(file).name) if os.path.lexists(file.with_name(name))]
    aside = f"move {' and '.join(there)} aside and " if there else ""
    return f"{RECOVER}; to begin anew without any of its tasks, {aside}remove {mark_of(file)}"
