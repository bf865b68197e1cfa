"""When a dropped file is complete: settled, and nobody writes it. Real writers, a clock turned by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from daemon.inbox import looks
from daemon.inbox.looks import Look, Settling, being_written
from tests.bad_payloads import as_json


def set_clock(monkeypatch):
    """Stops the clock of the looks; the caller turns it, in seconds."""
    clock = [1000.0]
    monkeypatch.setattr(looks, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


def pending(room):
    return room.statuses()["pending"]


def test_a_file_that_its_writer_keeps_open_is_left_alone_until_it_is_closed(room):
    with (room.folder / "x.json").open("wb") as writer:
        writer.write(b'{"text": ')
        writer.flush()
        for _ in range(3):
            room.inbox.scan()
        assert room.lying() == ["x.json"]
        writer.write(b'"whole"}')
    room.inbox.scan()
    assert room.store.claim().text == "whole"


def test_a_file_that_another_process_keeps_open_is_left_alone(room):
    writer = "import sys; f = open(sys.argv[1], 'w'); f.write('{'); f.flush(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", writer, str(room.folder / "x.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        room.inbox.scan()
        assert room.lying() == ["x.json"]
        process.communicate(b"\n")
    room.inbox.scan()
    assert room.lying("failed") == ["x.json", "x.json.error.json"]


def test_a_file_of_another_suffix_is_not_moved_while_somebody_writes_it(room):
    with (room.folder / "x.upload").open("wb"):
        room.inbox.scan()
        assert room.lying() == ["x.upload"]
    room.inbox.scan()
    assert "x.upload" in room.lying("failed")


def test_a_file_that_changes_between_two_looks_settles_anew(make_room, monkeypatch):
    clock = set_clock(monkeypatch)
    room = make_room(settle=2)
    for burst in (b'{"text"', b'{"text": "several', b'{"text": "several bursts"}'):
        room.drop("x.json", burst)
        room.inbox.scan()
        clock[0] += 1.9
        room.inbox.scan()
        assert room.lying() == ["x.json"]
    clock[0] += 0.1
    room.inbox.scan()
    assert room.store.claim().text == "several bursts"


def test_a_file_overwritten_by_rename_settles_anew(make_room, monkeypatch, tmp_path):
    clock = set_clock(monkeypatch)
    room = make_room(settle=2)
    old = room.drop("x.json", {"text": "old"})
    facts = old.stat()
    room.inbox.scan()
    clock[0] += 1.9
    (tmp_path / "new").write_bytes(as_json({"text": "new"}))
    os.utime(tmp_path / "new", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (tmp_path / "new").rename(old)
    room.inbox.scan()
    clock[0] += 1.9
    room.inbox.scan()
    assert room.lying() == ["x.json"]
    clock[0] += 0.1
    room.inbox.scan()
    assert room.store.claim().text == "new"


def test_a_jump_of_the_wall_clock_settles_nothing(make_room, monkeypatch):
    set_clock(monkeypatch)
    room = make_room(settle=2)
    os.utime(room.drop("x.json", {"text": "a"}), (0, 0))
    room.inbox.scan()
    room.inbox.scan()
    assert room.lying() == ["x.json"]


@pytest.mark.parametrize("content", [b'{"text": "cut', b""])
def test_a_settled_broken_file_is_judged_at_once_where_writers_are_known(room, content):
    assert "JSON" in room.refused("x.json", content)["detail"]


def test_unreadable_json_is_looked_at_for_30_seconds_where_writers_are_unknown(make_room, monkeypatch):
    clock = set_clock(monkeypatch)
    monkeypatch.setattr(looks.fcntl, "fcntl", _no_leases)
    room = make_room()
    room.drop("good.json", {"text": "a"})
    broken = room.drop("x.json", b'{"text": "')
    room.inbox.scan()
    assert (room.lying(), pending(room)) == (["x.json"], 1)
    clock[0] += 29
    broken.write_bytes(b'{"text": "cut')  # its writer is slow: the time counts from here
    room.inbox.scan()
    clock[0] += 29
    room.inbox.scan()
    assert room.lying() == ["x.json"]
    clock[0] += 1
    room.inbox.scan()
    assert room.note("failed/x.json.error.json")["line"] == 1


def _no_leases(*_):
    raise OSError(22, "as a network file system says")


def test_a_writer_is_noticed_and_so_is_its_end(tmp_path):
    file = tmp_path / "x"
    with file.open("wb"):
        assert being_written(file) is True
    assert being_written(file) is False
    with file.open("rb"):
        assert being_written(file) is False
    assert being_written(tmp_path / "missing") is None


def test_a_producer_that_opens_the_file_during_the_look_does_no_harm(tmp_path):
    """The kernel signals whoever holds a lease that is broken; by default that signal kills."""
    file = tmp_path / "x.json"
    file.write_bytes(b"{}")
    look = "import sys; from pathlib import Path; from daemon.inbox.looks import being_written\n"
    look += "print(flush=True)\nfor _ in range(5_000): being_written(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", look, str(file)], stdout=subprocess.PIPE) as looker:
        looker.stdout.readline()
        while looker.poll() is None:
            os.close(os.open(file, os.O_WRONLY))
        assert looker.returncode == 0


def test_a_file_opened_between_look_and_move_goes_back_to_its_place(room):
    content = room.drop("x.json", b'{"text": "').read_bytes()
    look = Look.at(room.folder / "x.json")
    with (room.folder / "x.json").open("ab"):
        assert room.inbox._claiming._move("x.json", look) is None
    assert (room.folder / "x.json").read_bytes() == content
    assert room.lying(".claimed") == []


def test_a_file_opened_between_look_and_move_waits_in_claimed_when_its_name_is_taken_again(room, monkeypatch):
    file = room.drop("x.json", b"")
    look = Look.at(file)
    descriptor = os.open(file, os.O_WRONLY)
    # A producer's next file takes the name in the moment between our rename away and our rename back.
    real, second = os.rename, as_json({"text": "second"})

    def rename(source, target):
        real(source, target)
        file.write_bytes(second)

    monkeypatch.setattr("pathlib.os.rename", rename)
    assert room.inbox._claiming._move("x.json", look)
    monkeypatch.undo()
    room.inbox.scan()
    assert len(room.lying(".claimed")) == 2
    os.write(descriptor, as_json({"text": "first"}))
    os.close(descriptor)
    room.inbox.scan()
    assert {room.store.claim().text, room.store.claim().text} == {"first", "second"}


def test_a_name_that_left_the_folder_settles_anew(tmp_path):
    (tmp_path / "x").touch()
    settling, look = Settling(1000), Look.at(tmp_path / "x")
    settling.settled("x", look)
    settling.keep_only({"y"})
    assert settling.wait() == float("inf")


def test_a_file_that_changes_while_it_is_read_is_read_again(room, monkeypatch):
    """A claim does not stop a writer, and where there are no leases nobody tells of him."""
    monkeypatch.setattr(looks.fcntl, "fcntl", _no_leases)
    room.drop("x.json", {"text": "first"})

    def read_while_written(path, max_bytes):
        data = looks.read_dropped(path, max_bytes)
        if b"first" in data and path.parent.name == ".claimed":
            path.write_bytes(as_json({"text": "rewritten"}))
        return data

    monkeypatch.setattr("daemon.inbox.reading.read_dropped", read_while_written)
    room.inbox.scan()
    assert pending(room) == 0
    room.inbox.scan()
    assert room.store.claim().text == "rewritten"


def test_on_a_network_a_file_without_a_known_writer_is_not_taken_for_complete(room):
    room.inbox._claiming.begin(0, remote=True)
    room.drop("cut.json", b'{"text": "')
    room.drop("whole.json", {"text": "a"})
    room.inbox.scan()
    assert (room.lying(), pending(room)) == (["cut.json"], 1)
