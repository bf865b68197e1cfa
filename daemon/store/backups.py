"""Copies of the ledger: by hand at any time, and by the daemon before it changes the ledger's form.

Those before an upgrade are `upgrade-from-REVISION-TIME.db` in `backups/` beside the ledger; the newest five are kept.
Those by hand are nobody's but the operator's, and stay.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from daemon.errors import ConfigError, LedgerDamaged, StorageUnavailable
from daemon.files import numbered, rename_new, to_disk
from daemon.space import trouble
from daemon.store import faults, identity
from daemon.store.looking import log_of, look

#: So many copies of before an upgrade are kept: an upgrade is rare, and each copy as large as the ledger.
_KEPT = 5
_UPGRADE = "upgrade-from-"
#: The ledger itself is only read, so what fails to be written is the copy.
_OF_THE_COPY = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE),
    *(sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC),
)


def folder_of(file: Path) -> Path:
    """Where a ledger's backups lie when nobody names another place."""
    return file.with_name("backups")


def by_hand(file: Path) -> Path:
    """The name of a backup that is made now."""
    return folder_of(file) / f"backup-{identity.revision(file)}-{_now()}.db"


def before_upgrade(file: Path, revision: str) -> Path:
    """Copy a ledger of this revision before it becomes another; the copy's file.

    Raises: as `write`.
    """
    for unfinished in folder_of(file).glob(f"{_UPGRADE}*.part"):  # a killed daemon's
        unfinished.unlink()
    name = f"{_UPGRADE}{revision}-{_now()}"
    # A daemon that was killed within its upgrade may be started anew within the same second.
    targets = (folder_of(file) / numbered(name, ".db", count) for count in itertools.count(1))
    target = next(free for free in targets if not free.exists())
    write(file, target)
    return target


def forget_old(file: Path) -> None:
    """Remove all but the newest copies of before an upgrade."""
    found = folder_of(file).glob(f"{_UPGRADE}*.db")
    for old in sorted(found, key=lambda copy: copy.stat().st_mtime_ns)[:-_KEPT]:
        old.unlink()


def write(file: Path, target: Path) -> None:
    """Copy the ledger as it is at this moment, whole and durable when this returns; daemons go on meanwhile.

    Raises:
        ConfigError: the target is there already, its folder cannot be written to, or the ledger cannot be read.
        StorageUnavailable: its disk takes no file for now.
        LedgerUnavailable, LedgerBroken, LedgerDamaged: of the ledger, or of the copy.
    """
    part = target.with_name(f"{target.name}.part")
    identity.revision(file)
    try:
        _make_folder(target.parent, file)
        with _empty(part, file):
            look(file, lambda connection: _copy(connection, part))
            look(part, lambda connection: _check(connection, file))
            _publish(part, target)
    except FileExistsError as error:
        raise ConfigError(f"{error.filename} is there already and stays; name another file") from None
    except OSError as error:
        what = f"the backup {target}"
        raise trouble(error, what) or ConfigError(f"{what} cannot be written: {error.strerror}") from None


def _make_folder(folder: Path, ledger: Path) -> None:
    """Only where backups belong; a folder that an operator mistyped is his to know of."""
    if folder == folder_of(ledger) and not folder.exists():
        folder.mkdir()
        _give_to_owner(folder, ledger, 0o750)
        to_disk(folder.parent, follow=True)


@contextlib.contextmanager
def _empty(part: Path, ledger: Path) -> Iterator[None]:
    """Make an empty file that SQLite may fill; it is removed if it still has this name in the end."""
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        _give_to_owner(part, ledger, ledger.stat().st_mode & 0o777)
        yield
    finally:
        part.unlink(missing_ok=True)


def _give_to_owner(made: Path, ledger: Path, mode: int) -> None:
    """What root makes must be the daemon's all the same: it puts its own backups beside them."""
    made.chmod(mode)
    if os.geteuid() == 0:
        owner = ledger.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _copy(connection: sqlite3.Connection, part: Path) -> None:
    part.open("wb").close()  # should the ledger have come into use meanwhile, this is the second time
    try:
        connection.execute("VACUUM INTO ?", (str(part.absolute()),))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in _OF_THE_COPY:
            raise StorageUnavailable(f"the backup {part} cannot be written for now: {error}") from None
        raise


def _check(copy: sqlite3.Connection, ledger: Path) -> None:
    """A copy of a damaged table is a whole file with damaged contents: worse than no backup, for it looks like one."""
    (fault,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if fault != "ok":
        raise LedgerDamaged(f"{ledger} is damaged ({' '.join(fault.split())}) and was not copied; {faults.RECOVER}")


def _publish(part: Path, target: Path) -> None:
    to_disk(part)
    rename_new(str(part), str(target))
    to_disk(target.parent, follow=True)


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def size(file: Path) -> int:
    """Bytes of a ledger on its disk, its log included."""
    total = file.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        total += log_of(file).stat().st_size
    return total
