"""What SQLite's errors become: wait, start anew, or call a person."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from daemon.errors import ConfigError, LedgerBroken, LedgerDamaged, LedgerUnavailable, MachineTrouble
from daemon.store import Store, database, faults, looking
from tests import disks
from tests.disks import fill as fill_but_for
from tests.disks import small_disk
from tests.live import new_task
from tests.test_cli_db import nobody, opened_to_all
from tests.test_store_damage import fill


def fill_up(disk):
    """Leave no room at all."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as rest:
        while rest.write(bytes(512)):
            pass
    return filler


@pytest.mark.parametrize("leave", ["a new ledger", "a ledger at rest"])
def test_a_full_disk_at_the_start_is_told_and_the_start_succeeds_once_there_is_room(tmp_path, empty_ledger, leave):
    with small_disk(tmp_path / "disk", 1) as disk:
        file = disk / "indexttsd.db"
        if leave == "a ledger at rest":
            shutil.copy(empty_ledger, file)
        filler = fill_up(disk)
        for _ in range(2):
            with pytest.raises(MachineTrouble, match=r"for now: (its disk is full|No space left on device)"):
                Store(file)
        filler.unlink()
        store = Store(file)
        store.submit([new_task()], None)
        store.close()
        assert "holds the tasks" in (disk / "indexttsd.db.belongs-here").read_text()
        assert not (disk / "indexttsd.db.new").exists()


@pytest.mark.parametrize("room", [144 << 10, 192 << 10])
def test_a_first_ledger_that_its_disk_did_not_take_whole_does_not_get_its_name(tmp_path, room):
    with small_disk(tmp_path / "disk", 1) as disk:
        filler = fill_but_for(disk, room)
        for _ in range(2):
            with pytest.raises(MachineTrouble, match="for now: its disk is full"):
                Store(disk / "indexttsd.db")
        filler.unlink()
        store = Store(disk / "indexttsd.db")
        assert store.submit([new_task()], None)
        store.close()


def test_a_ledger_that_this_user_may_not_write_to_is_refused(ledger_file):
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    opened_to_all(ledger_file.parent)
    before = ledger_file.read_bytes()
    with nobody(), pytest.raises(ConfigError, match="cannot be written to by this user; mend its permissions"):
        Store(ledger_file)
    assert ledger_file.read_bytes() == before
    assert [file.name for file in ledger_file.parent.iterdir()] == ["indexttsd.db"]


OPEN = """
import sys
from pathlib import Path
from daemon.errors import IndexttsdError
from daemon.store import Store
from tests.live import new_task
try:
    store = Store(Path(sys.argv[1]))
    store.submit([new_task()], None)
except IndexttsdError as error:
    print(type(error).__name__, error)
"""


def with_fault(file, call, error, program=OPEN):
    """What opening and using a ledger says while a call of the system fails on it."""
    return disks.with_fault(f"{call}:error={error}", [file, f"{file}-wal"], program, file)


KILLED = """
import os, sys
from pathlib import Path
from daemon.store import Store
from tests.live import new_task
Store(Path(sys.argv[1])).submit([new_task()], None)
os._exit(0)
"""


def test_a_log_that_a_start_could_not_bring_into_the_ledger_stays_as_it_is_when_that_start_ends(ledger_file):
    subprocess.run([sys.executable, "-c", KILLED, ledger_file], check=True)
    log = looking.log_of(ledger_file)
    left = log.read_bytes()
    assert left
    assert with_fault(ledger_file, "fdatasync", "EIO:when=1").startswith("LedgerBroken")
    assert log.exists(), "it was synced again, and removed"
    assert log.read_bytes() == left


TWO_WRITE = """
import sys, threading, time
from pathlib import Path
from daemon.errors import IndexttsdError
from daemon.store import Store
from tests.live import new_task
store, began = Store(Path(sys.argv[1])), time.monotonic()
def submit():
    try:
        store.submit([new_task()], None)
    except IndexttsdError as error:
        return print(f"{type(error).__name__}\\n", end="")  # in one write: both threads print
    return True
def submit_when_the_other_hangs():
    while time.monotonic() - began < 0.3:
        time.sleep(0.01)
    if submit():
        print("accepted")
other = threading.Thread(target=submit_when_the_other_hangs)
other.start()
while submit():
    began = time.monotonic()
other.join()
"""


def test_who_waited_for_the_writer_while_its_disk_failed_is_refused_as_well(ledger_file):
    fill(ledger_file)
    fault = "EIO:when=5:delay_enter=900000"  # strace counts per thread: only the first one has so many
    assert with_fault(ledger_file, "fdatasync", fault, TWO_WRITE).split() == ["LedgerBroken", "LedgerBroken"]


def test_a_disk_that_cannot_be_read_at_the_start_is_a_failed_disk_and_no_damage(ledger_file):
    fill(ledger_file)
    before = ledger_file.read_bytes()
    assert with_fault(ledger_file, "pread64", "EIO").startswith(
        f"LedgerBroken the disk of {ledger_file} failed (disk I/O"
    )
    assert ledger_file.read_bytes() == before


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, LedgerUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LedgerUnavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, LedgerUnavailable),
        (sqlite3.SQLITE_IOERR_SHMSIZE, LedgerUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, LedgerBroken),
        (sqlite3.SQLITE_IOERR_WRITE, LedgerBroken),
        (sqlite3.SQLITE_CORRUPT_INDEX, LedgerDamaged),
        (sqlite3.SQLITE_NOTADB, LedgerDamaged),
    ],
)
def test_a_code_of_sqlite_has_its_meaning(code, kind):
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    assert type(faults.meaning_of(error, "the file")) is kind


def test_what_only_a_bug_can_cause_stays_what_it_is(ledger_file):
    engine = database.writer(ledger_file)
    with pytest.raises(Exception, match="no such table"), faults.transaction(engine, "x") as connection:
        connection.exec_driver_sql("SELECT * FROM songs")
    engine.dispose()
    assert faults.meaning_of(ValueError("no error of SQLite's"), "x") is None
