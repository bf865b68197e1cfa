"""`indexttsd db check` and `db backup`: what they find and copy, and that they leave a ledger as it is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from daemon.errors import ConfigError
from daemon.store import Store, backups
from daemon.store.examination import examine
from tests.disks import small_disk
from tests.live import new_task
from tests.test_main import run
from tests.test_store_damage import everything, fill, garble, zero_the_header
from tests.workshop import rows


@pytest.fixture
def here(tmp_path, monkeypatch, empty_ledger):
    """A folder with a configuration and a ledger; the ledger."""
    folder = tmp_path / "place"
    (folder / "state").mkdir(parents=True)
    (folder / "config.yaml").write_text("engine: {name: tone}\n")
    monkeypatch.chdir(folder)
    return Path(shutil.copy(empty_ledger, folder / "state" / "indexttsd.db"))


@pytest.fixture
def db(here, monkeypatch, capfd):
    return lambda *words: run(monkeypatch, capfd, "db", *words)


@contextlib.contextmanager
def nobody():
    """As a user who owns nothing; files opened meanwhile are opened as that user."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def opened_to_all(folder):
    """Let everybody come as far as this folder: those of tests are for their user alone."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)


# check


def test_a_sound_ledger_is_told_with_its_counts(here, db):
    store = Store(here)
    store.submit([new_task(), new_task(speeches={"a.wav": "A", "b.wav": "B"})], None)
    store.claim()
    code, out, err = db("check")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        "tasks: 2 (1 pending, 1 processing)",
        "files in work: 1 (if no daemon runs, they go on when one starts)",
        "sound",
    ]
    code, out, _ = db("check", "--json")
    found = json.loads(out)
    assert (code, found["sound"], found["problems"], found["in_work"]) == (0, True, [], 1)
    assert found["tasks"] == {"pending": 1, "processing": 1}
    assert found["bytes"] > here.stat().st_size, "the log is counted too"
    store.close()


@pytest.mark.parametrize("in_use", [True, False], ids=["in use", "at rest"])
def test_check_changes_no_byte_and_makes_no_file(here, db, in_use):
    fill(here)
    store = Store(here) if in_use else None
    if store:
        store.submit([new_task()], None)
    before = {name: data for name, data in everything(here.parent).items() if not name.endswith("-shm")}
    assert db("check")[0] == 0
    after = {name: data for name, data in everything(here.parent).items() if in_use is False or "-shm" not in name}
    assert after == before
    assert any(name.endswith("-wal") for name in before) == in_use
    if store:
        store.close()


BROKEN = {
    "UPDATE tasks SET state = 'completed', finished_at = 1 WHERE id = 1": "the files of a task that is over are over",
    "UPDATE speeches SET state = 'failed' WHERE task = 1": "a task without unfinished files is over",
    "UPDATE tasks SET state = 'failed' WHERE id = 1": "a task has a time of its end if it is over, and only then",
    "UPDATE speeches SET state = 'processing' WHERE task = 1": "the task of a file in work is in work",
    "DELETE FROM texts WHERE speech = 1": "a file that is not over has its text",
    "UPDATE sqlite_sequence SET seq = 49": "a task's number is not given again",
    "INSERT INTO drops (uid, name, created_at) VALUES ('u', 'x.json', 1)": (
        "a dropped file that is not archived has its tasks"
    ),
}


@pytest.mark.parametrize("change", BROKEN, ids=BROKEN.get)
def test_a_broken_promise_is_a_problem(here, db, change):
    fill(here)
    rows(here, change)
    code, out, _ = db("check")
    assert (code, f"PROBLEM  not so in 1 rows: {BROKEN[change]}" in out) == (1, True), out
    assert out.endswith("\nnot sound\n")
    assert json.loads(db("check", "--json")[1])["sound"] is False


def test_a_completed_task_without_a_completed_file_and_a_row_without_its_parent_are_problems(here, db):
    fill(here)
    rows(here, "UPDATE speeches SET state = 'failed' WHERE task = 1")
    rows(here, "UPDATE tasks SET state = 'completed', finished_at = 1 WHERE id = 1")
    rows(here, "DELETE FROM tasks WHERE id = 2")
    code, out, _ = db("check")
    assert code == 1
    assert "not so in 1 rows: a completed task has a completed file" in out
    assert "row 2 of speeches belongs to a row of tasks that is not there" in out


def test_an_index_that_lacks_a_row_is_a_problem(here, db):
    fill(here)
    with contextlib.closing(sqlite3.connect(here)) as ledger, ledger:
        ledger.execute("PRAGMA writable_schema = ON")
        was = ledger.execute("SELECT sql FROM sqlite_master WHERE name = 'tasks_by_state'").fetchone()[0]
        ledger.execute("UPDATE sqlite_master SET sql = sql || ' WHERE id = 0' WHERE name = 'tasks_by_state'")
    rows(here, "INSERT INTO tasks SELECT id + 100, " + COPIED + " FROM tasks WHERE id = 1")
    with contextlib.closing(sqlite3.connect(here)) as ledger, ledger:
        ledger.execute("PRAGMA writable_schema = ON")
        ledger.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'tasks_by_state'", [was])
    code, out, _ = db("check")
    assert (code, "SQLite finds: row 51 missing from index tasks_by_state; docs/reliability.md" in out) == (1, True), (
        out
    )


COPIED = (
    "batch, state, priority, infer_mode, prompt, seed, format, options, overwrite, output_path, directory, created_at,"
    " started_at, finished_at, error, cancel_requested, idempotency_key, body_hash"
)


@pytest.mark.parametrize("harm", [garble, zero_the_header, lambda file: file.write_bytes(b""), Path.unlink])
@pytest.mark.parametrize("command", ["check", "backup"])
def test_a_damaged_ledger_is_exit_78_and_stays_as_it_is(here, db, harm, command):
    fill(here)
    harm(here)
    before = everything(here.parent)
    code, out, err = db(command)
    assert (code, out, err.count("\n")) == (78, "", 1)
    assert "docs/reliability.md" in err
    assert everything(here.parent) == before


def test_a_newer_ledger_is_no_sound_one(here, db):
    rows(here, "UPDATE alembic_version SET version_num = '9999'")
    code, out, _ = db("check")
    assert (code, "revision 9999 is of a newer indexttsd" in out) == (1, True)


# Whose it is


def test_a_ledger_at_rest_is_read_by_who_may_only_read(here):
    fill(here)
    opened_to_all(here.parent)
    with nobody():
        assert examine(here).tasks == {"pending": 50}
    assert sorted(file.name for file in here.parent.iterdir()) == ["indexttsd.db", "indexttsd.db.belongs-here"]


def test_a_ledger_in_use_is_read_by_who_may_only_read(here):
    store = Store(here)
    store.submit([new_task()], None)
    opened_to_all(here.parent)
    with nobody():
        assert examine(here).tasks == {"pending": 1}
    store.close()


def test_a_log_whose_index_is_gone_needs_somebody_who_may_make_it_anew(here):
    store = Store(here)
    store.submit([new_task()], None)
    for name in ("indexttsd.db", "indexttsd.db-wal"):  # as a careful copy of a daemon that was killed
        shutil.copy(here.with_name(name), here.parents[1] / name)
    store.close()
    copy = here.parents[1] / "indexttsd.db"
    opened_to_all(copy.parent)
    with nobody(), pytest.raises(ConfigError, match="cannot be read by this user; let the user of the daemon do it"):
        examine(copy)
    assert examine(copy).tasks == {"pending": 1}


def test_a_ledger_that_is_nobodys_business_is_told_so(here):
    opened_to_all(here.parent)
    for closed, mode in ((here, 0o600), (here.parent, 0o700)):
        closed.chmod(mode)
        with nobody(), pytest.raises(ConfigError, match="cannot be read by this user"):
            examine(here)


# backup


def test_a_backup_is_made_while_the_ledger_is_in_use_and_holds_all_that_was_accepted(here, db):
    store = Store(here)
    receipts = store.submit([new_task() for _ in range(3)], None)
    code, out, err = db("backup", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    copy = Path(told["file"])
    assert (copy.parent, told["tasks"], told["sound"]) == (here.parent / "backups", {"pending": 3}, True)
    assert copy.name.startswith("backup-0004-")
    store.submit([new_task()], None)
    store.close()
    assert [file.name for file in copy.parent.iterdir()] == [copy.name], "no litter"
    again = Store(copy)
    assert [again.task(receipt.task_id).task_id for receipt in receipts] == [one.task_id for one in receipts]
    assert again.accepted() == 3
    again.close()


def test_a_backup_of_a_ledger_at_rest_goes_where_it_is_told_to(here, db, tmp_path):
    fill(here)
    before = everything(here.parent)
    code, out, _ = db("backup", tmp_path / "a copy?.db")
    assert (code, out) == (
        0,
        f"{tmp_path}/a copy?.db: {(tmp_path / 'a copy?.db').stat().st_size} bytes, tasks 50, revision 0004\n",
    )
    assert everything(here.parent) == before
    assert db("check", tmp_path / "a copy?.db")[0] == 0


def test_a_backup_replaces_nothing(here, db, tmp_path):
    (tmp_path / "mine").write_text("mine")
    code, _, err = db("backup", tmp_path / "mine")
    assert (code, err) == (78, f"indexttsd: {tmp_path}/mine is there already and stays; name another file\n")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "mine.part").exists()


def test_a_backup_that_another_process_is_writing_is_left_to_it(here, tmp_path):
    (tmp_path / "copy.db.part").write_text("half")
    with pytest.raises(ConfigError, match=r"copy\.db\.part is there already"):
        backups.write(here, tmp_path / "copy.db")
    assert (tmp_path / "copy.db.part").read_text() == "half"


def test_a_backup_into_a_folder_that_is_not_there_is_refused(here, db, tmp_path):
    code, _, err = db("backup", tmp_path / "none" / "copy.db")
    assert (code, err) == (
        78,
        f"indexttsd: the backup {tmp_path}/none/copy.db cannot be written: No such file or directory\n",
    )


def test_a_backup_onto_a_full_disk_is_refused_and_leaves_nothing(here, db, tmp_path):
    store = Store(here)
    store.submit([new_task("word " * 10_000) for _ in range(50)], None)
    store.close()
    with small_disk(tmp_path / "disk", 1) as disk:
        code, _, err = db("backup", disk / "copy.db")
        assert (code, err.count("\n")) == (1, 1)
        assert f"the backup {disk}/copy.db.part cannot be written for now" in err
        assert list(disk.iterdir()) == []


def test_what_root_copies_belongs_to_the_ledgers_owner(here, db):
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(here, 65534, 65534)
    here.chmod(0o640)
    assert db("backup")[0] == 0
    [copy] = (here.parent / "backups").iterdir()
    for made in (copy, copy.parent):
        assert (made.stat().st_uid, made.stat().st_gid) == (65534, 65534)
    assert copy.stat().st_mode & 0o777 == 0o640


def test_a_ledger_whose_rows_are_damaged_is_not_copied_under_whatever_name(here, db):
    """The copy of a damaged table is a whole file with damaged contents."""
    fill(here)
    rows(here, "PRAGMA wal_checkpoint(TRUNCATE)")
    with here.open("r+b") as file:
        file.seek(8200)
        file.write(b"X" * 38)
    code, out, err = db("backup", str(here.parent / "copy.db"))
    assert (code, out) == (78, "")
    assert f"{here} is damaged" in err
    assert not (here.parent / "copy.db").exists()
