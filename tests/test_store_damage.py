"""Ledgers that are damaged, foreign, emptied or gone: refused with a sentence, and left as they are."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest

from daemon.errors import ConfigError, LedgerDamaged
from daemon.store import Store
from tests.live import new_task
from tests.workshop import rows

HOW = r"docs/reliability\.md says how to put a backup in its place"


def fill(file):
    """Accept tasks enough for some pages; the ledger is closed again."""
    store = Store(file)
    store.submit([new_task("word " * 200) for _ in range(50)], None)
    store.close()


def garble(file):
    """Fill the pages after the first with garbage."""
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(b"\xa5" * (file.stat().st_size - 4096))


def garble_the_last_table(file):
    """One page of a table, which nothing reads at a start."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'texts'").fetchone()
    with file.open("r+b") as pages:
        pages.seek((page - 1) * 4096)
        pages.write(b"\xa5" * 4096)


def zero_the_header(file):
    with file.open("r+b") as pages:
        pages.write(bytes(100))


def another_programs(file, identity=0):
    file.unlink()
    rows(file, "CREATE TABLE alembic_version (version_num)")
    rows(file, "INSERT INTO alembic_version VALUES ('0001')")
    rows(file, f"PRAGMA application_id = {identity}")


def everything(folder):
    """What lies in a folder, byte for byte."""
    return {file.name: file.read_bytes() if file.is_file() else None for file in folder.rglob("*")}


SPOILT = {
    "empty": (lambda file: file.write_bytes(b""), "is empty; "),
    "garbage": (lambda file: file.write_bytes(b"what is this? " * 1000), "is damaged"),
    "SQLite's first words, then nothing": (
        lambda file: file.write_bytes(b"SQLite format 3\0" + bytes(5000)),
        "damaged",
    ),
    "a few bytes": (lambda file: file.write_bytes(b"SQLite"), "is damaged"),
    "zeroed header": (zero_the_header, "is damaged"),
    "garbage pages": (garble, "is damaged"),
    "one page": (garble_the_last_table, "is damaged"),
    "cut in half": (lambda file: os.truncate(file, file.stat().st_size // 2), "is damaged"),
    "another program's": (another_programs, "is another program's database and no ledger; move it aside"),
    "one that says so": (lambda file: another_programs(file, 7), "is another program's database and no ledger"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "is no file"),
    "a link to nothing": (lambda file: (file.unlink(), file.symlink_to("nothing")), "is no file"),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(ledger_file, spoil):
    fill(ledger_file)
    change, sentence = SPOILT[spoil]
    change(ledger_file)
    before = everything(ledger_file.parent)
    for _ in range(2):
        with pytest.raises(LedgerDamaged, match=HOW) as refused:
            Store(ledger_file)
        assert sentence in str(refused.value)
        assert str(refused.value).startswith(str(ledger_file))
        assert "\n" not in str(refused.value)
    assert everything(ledger_file.parent) == before


def test_a_file_of_a_strange_revision_that_says_nothing_of_whose_it_is_is_not_ours(ledger_file):
    rows(ledger_file, "PRAGMA application_id = 0")
    with pytest.raises(LedgerDamaged, match="is no ledger of indexttsd"):
        Store(ledger_file)


# A ledger that is gone


def test_a_ledger_that_was_removed_is_not_made_anew(ledger_file):
    fill(ledger_file)
    ledger_file.unlink()
    for _ in range(2):
        with pytest.raises(LedgerDamaged, match=f"is gone, but tasks were kept in it; {HOW}; to begin anew"):
            Store(ledger_file)
    assert [file.name for file in ledger_file.parent.iterdir()] == ["indexttsd.db.belongs-here"]


def test_who_wants_to_begin_anew_removes_the_file_that_the_refusal_names(ledger_file):
    fill(ledger_file)
    ledger_file.unlink()
    with pytest.raises(LedgerDamaged) as refused:
        Store(ledger_file)
    mark = ledger_file.parent / str(refused.value).rpartition("remove ")[2]
    assert "holds the tasks that were accepted" in mark.read_text(encoding="utf-8")
    mark.unlink()
    store = Store(ledger_file)
    assert store.accepted() == 0
    store.close()


def test_a_ledger_of_before_there_were_marks_gets_its_own(ledger_file):
    mark = ledger_file.with_name("indexttsd.db.belongs-here")
    assert not mark.exists()
    Store(ledger_file).close()
    assert mark.exists()


def test_a_log_without_its_ledger_is_not_played_into_a_new_one(tmp_path):
    (tmp_path / "indexttsd.db-wal").write_bytes(b"tasks of old")
    with pytest.raises(ConfigError, match=r"indexttsd\.db-wal is there without indexttsd\.db"):
        Store(tmp_path / "indexttsd.db")
    assert (tmp_path / "indexttsd.db-wal").read_bytes() == b"tasks of old"


def test_a_ledger_whose_making_was_cut_short_is_made_anew(tmp_path):
    (tmp_path / "indexttsd.db.new").write_bytes(b"half a ledger")
    (tmp_path / "indexttsd.db.new-wal").write_bytes(b"half a log")
    store = Store(tmp_path / "indexttsd.db")
    store.submit([new_task()], None)
    store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["indexttsd.db", "indexttsd.db.belongs-here"]


# While it is in use


def parts(file):
    """A ledger and its log, byte for byte."""
    found = {suffix: file.with_name(file.name + suffix) for suffix in ("", "-wal")}
    return {suffix: part.read_bytes() if part.exists() else None for suffix, part in found.items()}


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda file: file.unlink(), "was removed while it was in use"),
        (lambda file: (file.rename(file.with_name("moved")), file.touch()), "was replaced while it was in use"),
        (lambda file: os.truncate(file, 0), "was emptied while it was in use"),
    ],
    ids=["removed", "replaced", "emptied"],
)
def test_a_ledger_taken_away_while_in_use_takes_no_change_any_more(ledger_file, harm, sentence):
    store = Store(ledger_file)
    store.submit([new_task()], None)
    harm(ledger_file)
    for _ in range(2):
        with pytest.raises(LedgerDamaged, match=f"{sentence}; {HOW}"):
            store.submit([new_task()], None)
    with pytest.raises(LedgerDamaged, match=sentence):
        store.stats()
    left = parts(ledger_file)
    assert left["-wal"], "the last tasks may be in the log alone"
    store.close()
    assert parts(ledger_file) == left


def test_garbage_in_the_file_is_met_by_who_reads_it_and_then_nothing_is_changed_any_more(ledger_file):
    fill(ledger_file)
    store = Store(ledger_file)
    garble(ledger_file)
    with pytest.raises(LedgerDamaged, match=f"is damaged .*; {HOW}"):
        store.tasks(None, 50, None)
    with pytest.raises(LedgerDamaged, match="is damaged"):
        store.submit([new_task()], None)
    left = parts(ledger_file)
    store.close()
    assert parts(ledger_file) == left
