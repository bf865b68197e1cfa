"""A dropped file's way from the inbox over .claimed/ to done/ or failed/."""

from __future__ import annotations

import itertools
import os
import re
from types import SimpleNamespace

import pytest

from daemon.inbox import backlog
from daemon.inbox.archive import Archive
from tests.bad_payloads import as_json


def test_a_taken_file_lies_in_claimed_under_a_uid_and_its_name(room):
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    [claimed] = room.lying(".claimed")
    assert re.fullmatch(r"[0-9a-f]{32}--x\.json", claimed)
    assert room.lying() == room.lying("done") == []


def test_a_completed_file_lies_in_done_beside_the_views_of_its_tasks(room):
    content = as_json([{"text": "a"}, {"text": "b"}])
    room.drop("x.json", content)
    room.inbox.scan()
    room.finish()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]
    assert (room.folder / "done/x.json").read_bytes() == content
    views = room.note("done/x.json.result.json")
    assert [view["status"] for view in views] == ["completed", "completed"]
    assert room.lying(".claimed") == []


def test_a_file_waits_in_claimed_until_its_last_task_has_ended(room):
    room.drop("x.json", [{"text": "a"}, {"text": "b"}])
    room.inbox.scan()
    room.store.complete(room.store.claim(), 1.0)
    room.inbox.scan()
    assert room.lying("done") == []
    assert len(room.lying(".claimed")) == 1


def test_a_failed_task_brings_its_file_to_failed_with_a_note_to_the_letter(room):
    room.drop("x.json", [{"text": "good"}, {"text": "bad"}])
    room.inbox.scan()
    room.finish(failing="bad")
    room.inbox.scan()
    assert room.lying("failed") == ["x.json", "x.json.error.json"]
    note = room.note("failed/x.json.error.json")
    assert list(note) == ["detail", "tasks", "at"]
    assert [view["status"] for view in note["tasks"]] == ["completed", "failed"]
    assert note["detail"] == f"{note['tasks'][1]['task_id']}: cannot say bad"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", note["at"])


def test_a_batch_with_a_failed_file_brings_its_file_to_failed_although_it_is_completed(room):
    room.drop("x.json", {"speeches": {"a.wav": "good", "b.wav": "bad"}})
    room.inbox.scan()
    room.finish(failing="bad")
    room.inbox.scan()
    note = room.note("failed/x.json.error.json")
    [view] = note["tasks"]
    assert (view["status"], view["processed_files"]) == ("completed", 1)
    assert "1 of 2 files failed" in note["detail"]


def test_a_cancelled_task_brings_its_file_to_failed(room):
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    room.store.cancel(room.store.tasks(None, 1, None)[0].task_id)
    room.inbox.scan()
    assert room.note("failed/x.json.error.json")["detail"].endswith(": cancelled")


def test_a_mended_file_moved_back_in_is_a_new_drop(room):
    room.refused("x.json", {"txt": "a"})
    back = (room.folder / "failed/x.json").rename(room.folder / "x.json")
    back.write_bytes(as_json({"text": "a"}))
    room.inbox.scan()
    room.finish()
    room.inbox.scan()
    assert room.note("done/x.json.result.json")[0]["status"] == "completed"


def test_a_done_file_moved_back_in_unchanged_is_a_new_drop(room):
    for _ in range(2):
        room.drop("x.json", {"text": "again"}) if not room.lying("done") else (room.folder / "done/x.json").rename(
            room.folder / "x.json"
        )
        room.inbox.scan()
        room.finish()
        room.inbox.scan()
    assert room.store.accepted() == 2


def test_files_stay_while_the_queue_is_full_and_are_taken_later(make_room):
    room = make_room(queue=2)
    for n in range(5):
        room.drop(f"{n}.json", {"text": "a"})
    room.inbox.scan()
    assert (len(room.lying()), room.inbox.waiting, room.statuses()["pending"]) == (3, 3, 2)
    room.drop("5.json", {"text": "a"})
    room.inbox.scan()
    assert (len(room.lying()), room.inbox.waiting, room.statuses()["pending"]) == (4, 4, 2)
    while room.lying():
        room.finish()
        room.inbox.scan()
    assert room.inbox.waiting == 0
    assert room.store.accepted() == 6


def test_that_files_wait_for_room_is_told_once_and_again_when_all_were_taken(make_room, caplog):
    caplog.set_level("INFO", "indexttsd.inbox")
    room = make_room(queue=1)
    for _ in range(2):
        for n in range(3):
            room.drop(f"{n}.json", {"text": "a"})
        while room.lying():
            room.inbox.scan()
            room.finish()
        room.inbox.scan()
    told = [record.message for record in caplog.records if "wait for room" in record.message]
    assert told == ["2 files wait for room, in the queue (limits.queue) or on a disk"] * 2


def test_a_full_folder_is_listed_no_more_than_a_twentieth_of_the_time(make_room, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(backlog, "time", SimpleNamespace(monotonic=lambda: clock[0], thread_time=_ticking(0.7)))
    room = make_room(queue=1)
    for n in range(3):
        room.drop(f"{n}.json", {"text": "a"})
    room.inbox.scan()
    room.drop("late.json", {"text": "late"})
    for seconds, waiting in ((0, 2), (13, 2), (1, 3)):
        clock[0] += seconds
        room.inbox.scan()
        assert room.inbox.waiting == waiting
    room.drop("later.json", {"text": "later"})
    assert room.inbox.look() == pytest.approx(14)
    assert room.statuses()["pending"] == 1


def _ticking(step):
    """A clock that goes on by so much whenever it is read."""
    return itertools.count(0, step).__next__


def test_files_are_taken_from_the_last_listing_while_no_new_one_is_made(make_room, monkeypatch):
    monkeypatch.setattr(backlog, "time", SimpleNamespace(monotonic=lambda: 1000.0, thread_time=_ticking(0.7)))
    room = make_room(queue=1)
    for n in range(3):
        room.drop(f"{n}.json", {"text": f"{n}"})
    room.inbox.scan()
    (room.folder / "1.json").unlink()
    room.finish()
    room.inbox.scan()
    assert (room.store.claim().text, room.inbox.waiting) == ("2", 0)


def test_the_oldest_file_is_taken_first(make_room):
    room = make_room(queue=1)
    for age, name in ((5, "young.json"), (50, "old.json"), (20, "middle.json")):
        os.utime(room.drop(name, {"text": name}), (1_700_000_000 - age,) * 2)
    room.inbox.scan()
    assert room.store.claim().text == "old.json"
    assert room.lying() == ["middle.json", "young.json"]


def test_a_thousand_files_are_taken_in_one_bite_and_the_rest_in_the_next(make_room, monkeypatch):
    monkeypatch.setattr("daemon.inbox.scan._BITE", 10)
    room = make_room()
    for n in range(15):
        room.drop(f"{n}.json", b"")
    rings = room.bell.rings
    room.inbox.scan()
    assert (room.inbox.waiting, len(room.lying())) == (5, 5)
    assert room.bell.rings == rings + 1
    room.inbox.scan()
    assert room.lying() == []


def test_a_file_that_cannot_be_moved_does_not_keep_the_others_waiting(room, caplog):
    (room.folder / "failed").rmdir()
    (room.folder / "failed").write_text("in the way")
    room.drop("0.txt", b"")
    room.drop("1.json", b"")
    room.drop("2.json", {"text": "a"})
    for _ in range(3):
        room.inbox.scan()
    assert room.statuses()["pending"] == 1
    assert [record.message.split(" ")[0] for record in caplog.records if "stays" in record.message] == [
        "'0.txt'",
        "'1.json'",
    ]
    (room.folder / "failed").unlink()
    room.inbox.scan()
    assert room.lying("failed") == ["0.txt", "0.txt.error.json", "1.json", "1.json.error.json"]


def test_no_note_is_left_when_the_file_cannot_be_moved(tmp_path):
    archive = Archive(tmp_path / "done", ".result.json")
    with pytest.raises(FileNotFoundError):
        archive.put(tmp_path / "gone.json", "gone.json", {})
    assert list((tmp_path / "done").iterdir()) == []


def test_a_note_that_somebody_else_wrote_meanwhile_is_not_overwritten(tmp_path):
    archive = Archive(tmp_path / "done", ".result.json")
    archive.prepare()
    foreign, source = tmp_path / "done/x.json.result.json", tmp_path / "x.json"
    foreign.write_text("mine")
    source.write_text("dropped")
    with pytest.raises(FileExistsError):
        archive.put(source, "x.json", {})
    assert foreign.read_text() == "mine"
    assert [file.name for file in (tmp_path / "done").iterdir()] == ["x.json.result.json"]
    assert source.read_text() == "dropped"


def test_the_next_free_number_is_found_at_once_among_thousands(tmp_path):
    archive = Archive(tmp_path / "done", ".result.json")
    archive.prepare()
    for count in range(1, 3001):
        (tmp_path / "done" / ("x.json" if count == 1 else f"x-{count}.json")).touch()
    looks = []
    archive._is_taken = lambda name, look=archive._is_taken: looks.append(name) or look(name)
    assert archive.free_name("x.json") == "x-3001.json"
    assert len(looks) < 30


def test_a_claimed_file_that_was_removed_before_it_was_read_is_told(room, caplog):
    (room.folder / ".claimed" / f"{'0' * 32}--x.json").write_bytes(as_json({"text": "a"}))
    room.inbox._claimed.own()
    (room.folder / ".claimed" / f"{'0' * 32}--x.json").unlink()
    room.inbox.scan()
    assert [record.message for record in caplog.records] == ["'x.json' was removed from .claimed/ before it was read"]
    assert room.inbox._claimed.unread == {}


def test_an_ended_task_leaves_its_note_although_its_file_was_removed(room):
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    for file in room.lying(".claimed"):
        (room.folder / ".claimed" / file).unlink()
    room.finish()
    for _ in range(2):
        room.inbox.scan()
    assert room.lying("done") == ["x.json.result.json"]
