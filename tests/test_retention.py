"""What is not kept for ever: forgotten tasks, the files of done/, and the clock that says what is old."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from daemon import config as configuration
from daemon import retention
from daemon.config import RetentionConfig
from daemon.errors import StorageUnavailable
from daemon.premises import own_state
from daemon.retention import DoneFolder, Pruned, Retention, SteadyClock
from daemon.store import Store
from tests.live import free_port, new_task, until
from tests.test_main import run
from tests.workshop import rows

DAY = 24 * 3600
NOTE = ".result.json"


@pytest.fixture
def done(tmp_path):
    folder = tmp_path / "inbox" / "done"
    folder.mkdir(parents=True)
    return folder


def put(folder, name, note_days=0.0, file_days=0.0, note=True):
    """A file as the inbox puts it away, and how many days ago both were written."""
    written = {name: file_days} | ({name + NOTE: note_days} if note else {})
    for entry, days in written.items():
        (folder / entry).write_text("[]")
        os.utime(folder / entry, times=(time.time() - days * DAY,) * 2)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def month_ago():
    return time.time() - 30 * DAY


# Files in done/


def test_a_file_goes_with_its_note_by_the_notes_age(done):
    put(done, "old.json", note_days=31)
    put(done, "made long ago, done today.json", note_days=0, file_days=400)
    put(done, "young.json", note_days=29)
    put(done, "old, but touched.json", note_days=31, file_days=0)
    assert DoneFolder(done).count(month_ago()) == 2
    assert DoneFolder(done).prune(month_ago()) == 2
    kept = ["made long ago, done today.json", "young.json"]
    assert names(done) == sorted(kept + [name + NOTE for name in kept])
    assert DoneFolder(done).prune(month_ago()) == 0


def test_what_has_no_note_is_not_ours_and_stays(done):
    put(done, "somebody's.json", file_days=400, note=False)
    (done / "folder").mkdir()
    (done / f"folder{NOTE}").mkdir()
    assert DoneFolder(done).prune(month_ago()) == 0
    assert names(done) == ["folder", f"folder{NOTE}", "somebody's.json"]


def test_a_note_left_alone_goes_too(done):
    put(done, "x.json", note_days=31)
    (done / "x.json").unlink()
    assert DoneFolder(done).prune(month_ago()) == 1
    assert names(done) == []


def test_a_dropped_file_that_is_called_like_a_note_goes_by_its_own_note(done):
    put(done, f"x.json{NOTE}", note_days=1, file_days=400)
    assert DoneFolder(done).prune(month_ago()) == 0
    os.utime(done / f"x.json{NOTE}{NOTE}", times=(month_ago() - 1,) * 2)
    assert DoneFolder(done).prune(month_ago()) == 1
    assert names(done) == []


def test_a_name_that_is_not_utf8_goes_as_any_other(done):
    put(done, b"\xff\xfe.json".decode(errors="surrogateescape"), note_days=31)
    assert DoneFolder(done).prune(month_ago()) == 1
    assert names(done) == []


def test_no_link_is_followed(tmp_path, done):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    put(elsewhere, "x.json", note_days=31)
    (done / "x.json").symlink_to(elsewhere / "x.json")
    (done / f"x.json{NOTE}").symlink_to(elsewhere / f"x.json{NOTE}")
    put(done, "y.json", note_days=31)
    (done / "y.json").unlink()
    (done / "y.json").symlink_to(elsewhere / "x.json")
    assert DoneFolder(done).prune(month_ago()) == 0
    shutil.rmtree(done)
    done.symlink_to(elsewhere)
    with pytest.raises(StorageUnavailable, match=f"^{done} cannot be pruned: Not a directory$"):
        DoneFolder(done).prune(month_ago())
    assert names(elsewhere) == ["x.json", f"x.json{NOTE}"]


def test_where_nothing_was_ever_done_there_is_nothing_to_remove(tmp_path):
    assert DoneFolder(tmp_path / "none").prune(time.time()) == 0


def test_a_flood_of_old_files_goes_in_bites(done):
    for number in range(2100):
        put(done, f"{number}.json", note_days=31)
    bites = iter(lambda: DoneFolder(done).prune(month_ago()), 0)
    assert [len(names(done)), *bites, len(names(done))] == [4200, 1000, 1000, 100, 0]


# Both, as configured


@pytest.fixture
def kept_all(tmp_path, store, done):
    """An inbox and a ledger with one old task and one old file, to prune as configured."""
    store.submit([new_task()], None)
    store.complete(store.claim(), 1.0)
    rows(tmp_path / "indexttsd.db", "UPDATE tasks SET finished_at = finished_at - 31 * 86400")
    put(done, "old.json", note_days=31)
    failed = done.with_name("failed")
    failed.mkdir()
    put(failed, "old.json", note_days=400)
    put(failed, "x.json", file_days=400, note=False)
    return lambda now=time.time, **days: Retention(RetentionConfig(**days), store, tmp_path / "inbox", now)


@pytest.mark.parametrize(
    ("days", "pruned"),
    [
        ({}, (0, 0)),
        ({"tasks_days": 30}, (1, 0)),
        ({"done_files_days": 30}, (0, 1)),
        ({"tasks_days": 30, "done_files_days": 32}, (1, 0)),
        ({"tasks_days": 32, "done_files_days": 30.5}, (0, 1)),
    ],
    ids=str,
)
def test_what_is_configured_goes_and_nothing_else(tmp_path, store, kept_all, days, pruned):
    ledger, inbox = tmp_path / "indexttsd.db", tmp_path / "inbox"
    assert retention.count(RetentionConfig(**days), ledger, inbox) == pruned
    assert kept_all(**days).prune() == pruned
    assert (len(store.tasks(None, 9, None)), len(names(inbox / "done"))) == (1 - pruned[0], 2 - 2 * pruned[1])
    assert kept_all(**days).prune() == (0, 0)
    assert names(inbox / "failed") == ["old.json", f"old.json{NOTE}", "x.json"], "what failed is never gone"


def test_a_trouble_of_the_machine_is_told_and_not_the_end(kept_all, done, caplog):
    shutil.rmtree(done)
    done.touch()
    pruning = kept_all(done_files_days=30)
    with caplog.at_level(logging.WARNING), running(pruning):
        until(lambda: f"nothing more is pruned for now: {done} cannot be pruned" in caplog.text, "the line")


@contextlib.contextmanager
def running(pruning):
    thread = threading.Thread(target=pruning.run)
    thread.start()
    try:
        yield thread
        assert thread.is_alive()
    finally:
        pruning.stop()
        thread.join()


# Clocks


def test_a_clock_that_jumps_ahead_makes_nothing_old_and_one_that_jumps_back_neither(monkeypatch):
    true = time.time
    clock = SteadyClock()
    for jump in (0, 365 * DAY, -365 * DAY, 0):
        monkeypatch.setattr(time, "time", lambda jump=jump: true() + jump)
        assert abs(clock() - (true() + min(jump, 0))) < 60
    asleep = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: asleep(which) + 40 * DAY)
    assert clock() == pytest.approx(true(), abs=60), "the time of day did not follow"
    monkeypatch.setattr(time, "time", lambda: true() + 365 * DAY)
    assert clock() == pytest.approx(true() + 40 * DAY, abs=60), "what truly passed counts, asleep too"


def test_a_jump_of_the_clock_forgets_nothing_that_is_young(store, kept_all, monkeypatch):
    [receipt] = store.submit([new_task()], None)
    store.complete(store.claim(), 1.0)
    pruning = kept_all(SteadyClock(), tasks_days=30)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 365 * DAY)
    assert pruning.prune() == Pruned(1, 0)
    assert store.task(receipt.task_id)


# A running daemon


def test_a_running_daemon_prunes_by_itself_and_serves_meanwhile(make_daemon):
    live = make_daemon(retention={"tasks_days": 30, "done_files_days": 30}).start()
    live.drop("old.json", {"text": "Long ago."})
    [view] = live.note(f"done/old.json{NOTE}")
    kept = live.ended(live.submit("Not so long ago."))
    live.stop()
    ledger = live.folder / "state" / "indexttsd.db"
    old = f"id = {int(view['task_id'].rpartition('_')[2]) + 1}"
    rows(ledger, f"UPDATE tasks SET finished_at = finished_at - 31 * 86400 WHERE {old}")
    done = live.inbox / "done"
    os.utime(done / f"old.json{NOTE}", times=(month_ago() - DAY,) * 2)
    put(done, "somebody's.json", file_days=400, note=False)
    live.start()
    until(lambda: live.get(f"/api/tts/tasks/{view['task_id']}").status == 404, "the task's end")
    until(lambda: names(done) == ["somebody's.json"], "the file's end")
    assert live.view(kept["task_id"]) == kept
    assert Path(view["output_file"]).exists(), "audio is never touched"
    assert live.ended(live.submit("Now."))["status"] == "completed"
    until(lambda: "forgot 1 tasks, removed 1 files from done/" in live.log.read_text(), "the line")
    assert live.stop() == 0


# By hand


@pytest.fixture
def here(tmp_path, monkeypatch, empty_ledger):
    """A daemon's folder with two old tasks and an old file, no daemon; writes its configuration anew."""
    monkeypatch.chdir(tmp_path)
    for folder in ("state", "inbox/done"):
        (tmp_path / folder).mkdir(parents=True)
    store = Store(shutil.copy(empty_ledger, tmp_path / "state/indexttsd.db"))
    store.submit([new_task(), new_task(), new_task()], None)
    for _ in range(2):
        store.complete(store.claim(), 1.0)
    store.close()
    rows(tmp_path / "state/indexttsd.db", "UPDATE tasks SET finished_at = finished_at - 31 * 86400")
    put(tmp_path / "inbox/done", "old.json", note_days=31)

    def configured(retention):
        settings = {"server": {"port": free_port()}, "engine": {"name": "tone"}, "retention": retention}
        (tmp_path / "config.yaml").write_text(json.dumps(settings))
        return tmp_path

    return configured


def test_prune_prints_what_went_and_a_second_run_finds_nothing(here, monkeypatch, capfd):
    here({"tasks_days": 30, "done_files_days": 30})
    counted = "tasks would be forgotten: 2\nfiles would be removed from done/: 1\n"
    assert run(monkeypatch, capfd, "prune", "--dry-run") == (0, counted, "")
    assert run(monkeypatch, capfd, "prune") == (0, "tasks forgotten: 2\nfiles removed from done/: 1\n", "")
    code, out, _ = run(monkeypatch, capfd, "prune", "--json")
    assert (code, json.loads(out)) == (0, {"tasks": 0, "files": 0, "dry_run": False})


def test_prune_says_when_all_is_to_be_kept(here, monkeypatch, capfd):
    file = here({}) / "config.yaml"
    code, out, err = run(monkeypatch, capfd, "prune", "--json")
    assert (code, json.loads(out)) == (0, {"tasks": 0, "files": 0, "dry_run": False})
    assert err == f"{file} keeps all: neither retention.tasks_days nor done_files_days is set\n"


def test_beside_a_daemon_prune_only_counts(here, monkeypatch, capfd):
    folder = here({"tasks_days": 30})
    owned = own_state(configuration.load(folder / "config.yaml"))
    code, out, err = run(monkeypatch, capfd, "prune")
    assert (code, out) == (1, "")
    assert err.startswith(f"indexttsd: another indexttsd is using the state folder {folder}/state; a daemon prunes by")
    assert len(err.splitlines()) == 1
    assert run(monkeypatch, capfd, "prune", "--dry-run")[0] == 0
    os.close(owned)
    assert run(monkeypatch, capfd, "prune")[:2] == (0, "tasks forgotten: 2\nfiles removed from done/: 0\n")


def test_prune_makes_no_ledger_where_there_is_none(here, monkeypatch, capfd):
    folder = here({"tasks_days": 30})
    (folder / "state/indexttsd.db").unlink()
    code, out, err = run(monkeypatch, capfd, "prune")
    assert (code, out) == (78, "")
    assert f"there is no ledger {folder}/state/indexttsd.db" in err
    assert not (folder / "state/indexttsd.db").exists()


def test_prune_tells_of_a_damaged_ledger_in_a_sentence(here, monkeypatch, capfd):
    folder = here({"tasks_days": 30})
    (folder / "state/indexttsd.db").write_bytes(b"what is this? " * 1000)
    for words in (["prune"], ["prune", "--dry-run"]):
        code, out, err = run(monkeypatch, capfd, *words)
        assert (code, out) == (78, "")
        assert "is damaged" in err
