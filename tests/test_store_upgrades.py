"""Ledgers of every earlier revision, as its code wrote them (tests/ledgers/make.py), become ledgers of today."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.errors import ConfigError, LedgerUnavailable, StorageUnavailable
from daemon.store import Store, backups, schema
from daemon.store.examination import examine
from daemon.tasks import State
from tests.disks import small_disk
from tests.live import until, wav_facts
from tests.test_app import is_gone
from tests.test_store_damage import everything
from tests.test_store_database import definitions
from tests.workshop import rows

DUMPS = sorted((Path(__file__).parent / "ledgers").glob("*.sql"))
EARLIER = [dump.stem for dump in DUMPS]
TABLES = ("tasks", "speeches", "texts", "drops", "drop_tasks")


def write_ledger(file, revision, folder="/work"):
    """The ledger of that revision, of a daemon that lived in `folder`."""
    dump = (Path(__file__).parent / "ledgers" / f"{revision}.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        ledger.executescript(dump.replace("@FOLDER@", str(folder)))
        ledger.execute("PRAGMA journal_mode = WAL")
    return file


def contents(file):
    """Every row of every table, as names and values."""
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        ledger.row_factory = sqlite3.Row
        return {table: [dict(row) for row in ledger.execute(f"SELECT * FROM {table}")] for table in TABLES}


def copies(file):
    return sorted(backups.folder_of(file).iterdir())


def test_there_is_a_ledger_of_every_earlier_revision():
    numbers = [path.name[:4] for path in Path("daemon/store/migrations/versions").glob("0*.py")]
    assert sorted([*EARLIER, schema.REVISION]) == sorted(numbers)


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_ledger_keeps_every_task_and_a_copy_of_itself(tmp_path, ledger_file, revision):
    newest = definitions(ledger_file)
    file = write_ledger(tmp_path / "old.db", revision)
    before = contents(file)
    store = Store(file)
    after = contents(file)
    for table, was in before.items():
        kept = [{name: row[name] for name in old} for old, row in zip(was, after[table], strict=True)]
        assert kept == was, table
    assert definitions(file) == newest
    assert (examine(file).revision, examine(file).problems) == (schema.REVISION, ())
    [copy] = copies(file)
    assert copy.name.startswith(f"upgrade-from-{revision}-")
    assert (examine(copy).revision, contents(copy)) == (revision, before)
    store.close()


@pytest.mark.parametrize("revision", EARLIER)
def test_the_tasks_of_an_earlier_ledger_are_shown_and_go_on(tmp_path, revision):
    store = Store(write_ledger(tmp_path / "indexttsd.db", revision))
    states = [task.state for task in store.tasks(None, 50, None)][::-1]
    done, failed, waiting = State.COMPLETED, State.FAILED, State.PENDING
    over = [done, failed, done, done, done, done, failed]
    assert states == [*over, State.PROCESSING, waiting, waiting, waiting, State.CANCELLED, waiting, waiting]
    assert store.accepted() == 14
    store.recover()
    claims = list(iter(store.claim, None))
    in_order = ["你好，世界。", "HANG", "Waits.", "Long. " * 40, "X.", "Y.", "Waits in .claimed/.", "This too."]
    assert [claim.text.strip() for claim in claims] == [text.strip() for text in in_order]
    assert [claim.attempts for claim in claims] == [0, 1, 0, 0, 0, 0, 0, 0], "what was in the engine was counted"
    store.close()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_daemon_finishes_what_waited_in_an_earlier_ledger(make_daemon, revision):
    daemon = make_daemon()
    state, claimed = daemon.folder / "state", daemon.inbox / ".claimed"
    state.mkdir()
    claimed.mkdir(parents=True)
    file = write_ledger(state / "indexttsd.db", revision, daemon.folder)
    [(uid,)] = rows(file, "SELECT uid FROM drops WHERE name = 'waiting.json'")
    (claimed / f"{uid}--waiting.json").write_text("[]")
    waited = {task["id"] for task in contents(file)["tasks"] if task["state"] in ("pending", "processing")}
    daemon.start(ready=False)
    assert [view["status"] for view in daemon.note("done/waiting.json.result.json")] == ["completed"] * 2
    until(lambda: daemon.get("/api/tts/stats").json["tasks"]["pending"] == 0, "the last one")
    assert daemon.stop() == 0
    after = contents(file)
    assert {task["state"] for task in after["tasks"] if task["id"] in waited} == {"completed"}
    for speech in after["speeches"]:
        if speech["task"] in waited and speech["file_name"] != "1.wav":  # which the earlier daemon made
            folder = after["tasks"][speech["task"] - 1]["directory"]
            assert wav_facts(Path(folder, speech["file_name"]))[3] > 0
    assert examine(file).problems == ()


# Copies before an upgrade, and upgrades that fail


def test_an_upgrade_that_fails_changes_nothing_and_says_so(tmp_path):
    file = write_ledger(tmp_path / "indexttsd.db", "0001")
    rows(file, "ALTER TABLE speeches ADD COLUMN in_company")  # the second of two that 0002 adds
    before = contents(file), definitions(file)
    with pytest.raises(ConfigError, match=r"could not be brought up to date: duplicate column name"):
        Store(file)
    assert (contents(file), definitions(file)) == before
    assert len(copies(file)) == 1


def test_without_room_for_a_copy_the_ledger_is_not_upgraded_until_there_is(tmp_path):
    with small_disk(tmp_path / "disk", 1) as disk:
        file = write_ledger(disk / "indexttsd.db", "0001")
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as rest:
            while rest.write(bytes(4096)):
                pass
        before = file.read_bytes()
        for _ in range(2):
            with pytest.raises((StorageUnavailable, LedgerUnavailable), match=r"No space left|disk is full"):
                Store(file)
            assert file.read_bytes() == before
            assert sorted(everything(disk)) in (["filler", "indexttsd.db"], ["backups", "filler", "indexttsd.db"])
        filler.unlink()
        store = Store(file)
        assert store.accepted() == 14
        store.close()


def test_without_room_for_the_upgrade_itself_no_copies_pile_up(tmp_path):
    file = write_ledger(tmp_path / "indexttsd.db", "0001")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # held by another process as long as a full disk may be full
        with pytest.raises(LedgerUnavailable, match="another process holds it"):
            Store(file)
        assert copies(file) == []
        other.execute("ROLLBACK")
    Store(file).close()
    assert len(copies(file)) == 1


def test_of_the_copies_before_upgrades_the_newest_five_stay_and_those_by_hand_all(tmp_path):
    file = write_ledger(tmp_path / "indexttsd.db", "0001")
    folder = backups.folder_of(file)
    folder.mkdir()
    for day in range(1, 8):
        old = folder / f"upgrade-from-0001-2020010{day}T000000Z.db"
        old.touch()
        os.utime(old, (day, day))
    (folder / "backup-0001-20200101T000000Z.db").touch()
    (folder / "upgrade-from-0001-20200101T000000Z.db.part").write_text("a killed daemon's")
    Store(file).close()
    names = [copy.name for copy in copies(file)]
    assert names[0] == "backup-0001-20200101T000000Z.db"
    assert [name[18:26] for name in names[1:5]] == ["20200104", "20200105", "20200106", "20200107"]
    assert len(names) == 6


def test_upgrades_that_are_begun_within_one_second_have_a_copy_each(tmp_path):
    file = write_ledger(tmp_path / "indexttsd.db", "0001")
    assert len({backups.before_upgrade(file, "0001") for _ in range(3)}) == len(copies(file)) == 3


def test_a_killed_daemons_migration_ends_with_it(tmp_path):
    file = write_ledger(tmp_path / "indexttsd.db", "0001")
    code = "import sys; from pathlib import Path; from daemon.store import Store; Store(Path(sys.argv[1]))"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # so that the migration waits
        with subprocess.Popen([sys.executable, "-c", code, file]) as daemon:
            children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
            [migration] = until(lambda: children.read_text().split(), "the migration")
            until(lambda: b"migrations" in Path(f"/proc/{migration}/cmdline").read_bytes(), "its program")
            daemon.send_signal(signal.SIGKILL)
        until(lambda: is_gone(migration), "the migration's end", patience=5)
        other.execute("ROLLBACK")
    assert rows(file, "SELECT version_num FROM alembic_version") == [("0001",)]
    Store(file).close()
    assert examine(file).problems == ()
