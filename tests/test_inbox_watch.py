"""When the inbox is looked through: real inotify, inotify gone, and the folder itself gone."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest
from watchdog.observers.inotify import InotifyObserver

from daemon.bell import Bell
from daemon.errors import ConfigError
from daemon.inbox.bell_wire import BellWire
from tests.bad_payloads import as_json
from tests.drop_room import make_ground
from tests.live import PATIENCE, until


@pytest.fixture
def run():
    """Lets an inbox run in a thread of its own, as the daemon does."""
    started = []

    def running(room):
        thread = threading.Thread(target=room.inbox.run)
        thread.start()
        started.append((room, thread))
        return room

    yield running
    for room, thread in started:
        room.inbox.stop()
        thread.join(PATIENCE)


def pending(room):
    return room.statuses()["pending"]


def _rename_away(folder):
    return folder.rename(folder.with_name("old"))


def _delete(folder):
    # Away first, then delete: the inbox must not find half of itself meanwhile and mend it.
    shutil.rmtree(_rename_away(folder))


def _by_write(folder):
    (folder / "x.json").write_bytes(as_json({"text": "a"}))


def _by_move(folder):
    (folder.parent / "x").write_bytes(as_json({"text": "a"}))
    (folder.parent / "x").rename(folder / "x.json")


def _by_hidden_name(folder):
    (folder / ".x.json").write_bytes(as_json({"text": "a"}))
    (folder / ".x.json").rename(folder / "x.json")


def _by_link(folder):
    (folder.parent / "x").write_bytes(as_json({"text": "a"}))
    (folder / "x.json").hardlink_to(folder.parent / "x")


@pytest.mark.parametrize("deliver", [_by_write, _by_move, _by_hidden_name, _by_link])
def test_every_way_of_delivery_rings_the_bell(make_room, run, deliver):
    room = run(make_room(rescan=3600))
    until(lambda: room.inbox._wire._watched, "the watch")
    deliver(room.folder)
    until(lambda: pending(room) == 1, "the task")


def test_the_end_of_a_task_rings_its_file_away(make_room, run):
    room = run(make_room(rescan=3600))
    room.drop("x.json", {"text": "a"})
    until(lambda: pending(room) == 1, "the task")
    room.finish()
    room.bell.ring()
    until(lambda: room.lying("done"), "the file in done/")


def test_without_inotify_the_timed_scan_finds_every_file(make_room, run, monkeypatch, caplog):
    def no_instances(*_):
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(InotifyObserver, "start", no_instances)
    room = run(make_room(rescan=0.02))
    for n in range(3):
        room.drop(f"{n}.json", {"text": "a"})
        until(lambda n=n: pending(room) == n + 1, "the task")
    warnings = [record for record in caplog.records if "cannot be watched" in record.message]
    assert len(warnings) == 1
    assert "only looked through from time to time" in warnings[0].message


def test_a_dead_watch_is_replaced(tmp_path):
    bell = Bell()
    wire = BellWire(tmp_path, bell)
    wire.ensure()
    observer = wire._observer
    observer.stop()
    observer.join()
    wire.ensure()
    heard = bell.rings
    (tmp_path / "x.json").touch()
    bell.wait(heard, PATIENCE)
    assert bell.rings > heard
    wire.close()


def test_an_exception_in_the_thread_that_watches_is_survived(make_room, run, monkeypatch):
    room = run(make_room(rescan=0.2))
    until(lambda: room.inbox._wire._watched, "the watch")
    observer = room.inbox._wire._observer
    ring = room.bell.ring
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def broken():
        if threading.current_thread() is observer:
            raise KeyError("a bug")
        ring()

    monkeypatch.setattr(room.bell, "ring", broken)
    room.drop("x.json", {"text": "a"})
    until(lambda: not observer.is_alive(), "the death of the thread")
    monkeypatch.setattr(room.bell, "ring", ring)
    until(lambda: room.inbox._wire._observer not in (None, observer), "another thread")
    until(lambda: pending(room) == 1, "the task")


def test_a_folder_that_was_made_again_is_watched_anew(tmp_path):
    bell, folder = Bell(), tmp_path / "inbox"
    folder.mkdir()
    wire = BellWire(folder, bell)
    wire.ensure()
    _rename_away(folder)
    folder.mkdir()
    wire.ensure()
    heard = bell.rings
    (folder / "x.json").touch()
    bell.wait(heard, PATIENCE)
    assert bell.rings > heard
    wire.close()


def test_a_living_watch_is_kept(tmp_path):
    wire = BellWire(tmp_path, Bell())
    wire.ensure()
    observer = wire._observer
    wire.ensure()
    assert wire._observer is observer
    wire.close()
    wire.close()


@pytest.mark.parametrize("remove", [_rename_away, _delete])
def test_an_inbox_that_was_removed_and_made_again_goes_on(make_room, run, remove):
    room = run(make_room(rescan=0.02))
    room.drop("before.json", {"text": "a"})
    until(lambda: pending(room) == 1, "the first task")
    remove(room.folder)
    room.folder.mkdir()
    room.drop("after.json", {"text": "b"})
    until(lambda: pending(room) == 2, "the second task")
    room.finish()
    until(lambda: len(room.lying("done")) == 3, "the files in done/")
    assert room.lying("done") == ["after.json", "after.json.result.json", "before.json.result.json"]


def test_an_inbox_that_is_a_link_to_a_folder_is_as_good_as_any(make_room, tmp_path):
    make_ground(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inbox").symlink_to("elsewhere")
    room = make_room()
    room.drop("x.json", {"text": "a"})
    room.inbox.look()
    room.finish()
    room.inbox.look()
    assert room.troubles.sentences() == []
    assert room.lying("done") == ["x.json", "x.json.result.json"]


def test_an_inbox_that_is_gone_is_told_and_ends_nothing(make_room, run, caplog):
    room = run(make_room(rescan=0.02))
    until(lambda: room.inbox._wire._watched, "the watch")
    _delete(room.folder)
    until(lambda: "cannot be looked through" in caplog.text, "the complaint")
    room.folder.mkdir()
    room.drop("x.json", {"text": "a"})
    until(lambda: pending(room) == 1, "the task")


def test_a_second_inbox_on_the_folder_is_refused(make_room):
    make_room()
    with pytest.raises(ConfigError, match="another indexttsd is using the inbox"):
        make_room()


def test_an_inbox_made_again_and_owned_by_another_is_not_touched(make_room):
    room = make_room()
    shutil.rmtree(room.folder)
    room.folder.mkdir()
    make_room()
    room.drop("x.json", {"text": "a"})
    with pytest.raises(ConfigError, match="another indexttsd is using the inbox"):
        room.inbox.scan()
    assert room.lying() == ["x.json"]


def test_an_inbox_whose_folders_cannot_be_made_is_a_sentence(make_room, tmp_path):
    room = make_room()
    (room.folder / "done").rmdir()
    (room.folder / "done").write_text("in the way")
    room.inbox._claimed.release()
    with pytest.raises(ConfigError, match="inbox cannot be used: File exists"):
        room.inbox.open()


def test_a_stopped_inbox_may_be_opened_by_the_next_daemon(make_room, run):
    room = make_room()
    thread = threading.Thread(target=room.inbox.run)
    thread.start()
    room.inbox.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    make_room()


def test_to_stop_watching_says_nothing(tmp_path, caplog):
    wire = BellWire(tmp_path, Bell())
    wire.ensure()
    wire.close()
    assert caplog.text == ""


def test_a_watch_that_cannot_be_had_leaks_nothing(tmp_path, monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(InotifyObserver, "schedule", refuse)
    wire = BellWire(tmp_path, Bell())
    wire.ensure()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        wire.ensure()
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before, "the closing of the descriptors")
