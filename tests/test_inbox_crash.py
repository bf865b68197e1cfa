"""An inbox after a crash between any two steps: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time

import pytest

from daemon.errors import LedgerUnavailable
from tests.drop_room import DropRoom


@pytest.fixture
def open_room(tmp_path):
    """Opens the inbox of this test, as often as it is called: each call is a new daemon after the death of the last."""
    rooms = []

    def opened(**settings):
        if rooms:
            rooms[-1].close()
        rooms.append(DropRoom(tmp_path, **settings))
        return rooms[-1]

    yield opened
    rooms[-1].close()


@pytest.fixture
def room(open_room):
    return open_room()


def test_files_that_were_there_before_the_start_are_taken_by_the_first_scan(open_room):
    open_room().drop("x.json", {"text": "a"})
    room = open_room()
    room.inbox.scan()
    assert room.statuses()["pending"] == 1


def test_a_crash_between_the_claim_and_the_ledger_loses_nothing(open_room):
    room = open_room()
    room.drop("x.json", {"text": "a"}).rename(room.folder / ".claimed" / f"{'0' * 32}--x.json")
    room.drop("y.json", b"").rename(room.folder / ".claimed" / f"{'1' * 32}--y.json")
    room = open_room()
    room.inbox.scan()
    assert room.statuses()["pending"] == 1
    assert room.lying(".claimed") == [f"{'0' * 32}--x.json"]
    assert room.lying("failed") == ["y.json", "y.json.error.json"]


def test_a_crash_between_the_ledger_and_the_end_makes_no_second_task(open_room, caplog):
    room = open_room()
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    room = open_room()
    room.inbox.scan()
    assert room.store.accepted() == 1
    assert "stays" not in caplog.text
    room.finish()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]


def _ended(room):
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    room.finish()
    [drop] = room.store.ended_drops()
    return drop


def test_a_crash_after_the_name_was_chosen_uses_that_name(open_room):
    room = open_room()
    room.store.keep_drop_as(_ended(room).uid, "done/x.json")
    room = open_room()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]


def test_a_crash_after_the_note_was_written_leaves_one_note(open_room):
    room = open_room()
    room.store.keep_drop_as(_ended(room).uid, "done/x.json")
    (room.folder / "done/x.json.result.json").write_text("[]\n")
    room = open_room()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]
    assert room.note("done/x.json.result.json")[0]["status"] == "completed"


def test_a_crash_after_the_move_archives_nothing_twice(open_room):
    room = open_room()
    drop = _ended(room)
    room.store.keep_drop_as(drop.uid, "done/x.json")
    (room.folder / "done/x.json.result.json").write_text('["kept"]')
    (room.folder / ".claimed" / f"{drop.uid}--x.json").rename(room.folder / "done/x.json")
    room = open_room()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]
    assert room.note("done/x.json.result.json") == ["kept"]
    assert room.store.ended_drops() == []


def test_a_name_taken_by_somebody_else_after_it_was_chosen_is_not_overwritten(open_room):
    room = open_room()
    room.store.keep_drop_as(_ended(room).uid, "done/x.json")
    (room.folder / "done/x.json").write_text("foreign")
    (room.folder / "done/x.json.result.json").write_text("foreign")
    room = open_room()
    room.inbox.scan()
    assert (room.folder / "done/x.json").read_text() == "foreign"
    assert (room.folder / "done/x.json.result.json").read_text() == "foreign"
    assert room.lying("done") == ["x-2.json", "x-2.json.result.json", "x.json", "x.json.result.json"]


def test_half_written_notes_of_a_dead_daemon_are_swept(open_room):
    room = open_room()
    for folder in ("done", "failed"):
        (room.folder / folder / ".indexttsd-abc.part").write_text("{")
    room = open_room()
    assert room.lying("done") == room.lying("failed") == []


@pytest.mark.parametrize("noted", [False, True], ids=["before its note", "after its note"])
def test_a_crash_while_a_file_is_refused_leaves_one_note(open_room, noted):
    room = open_room()
    refused = room.folder / ".claimed" / f"{'0' * 32}-refused--x.json"
    room.drop("x.json", b"{").rename(refused)
    if noted:
        (room.folder / "failed/x.json.error.json").write_text('{"detail": "said before"}')
    room = open_room()
    room.inbox.scan()
    assert room.lying("failed") == ["x.json", "x.json.error.json"]
    assert ("said before" in str(room.note("failed/x.json.error.json"))) == noted
    assert room.lying(".claimed") == []


def test_what_others_put_among_the_claimed_files_goes_to_failed_with_advice(open_room):
    room = open_room()
    for name in ("x.json", "notes", "short--y.json"):
        (room.folder / ".claimed" / name).write_text('{"text": "a"}')
    (room.folder / ".claimed/folder").mkdir()
    room = open_room()
    room.inbox.scan()
    assert room.lying(".claimed") == []
    assert len(room.lying("failed")) == 8
    assert "drop it again" in room.note("failed/x.json.error.json")["detail"]
    assert room.statuses()["pending"] == 0


def test_a_ledger_that_took_the_tasks_though_it_seemed_to_fail_is_not_given_them_again(open_room, monkeypatch):
    room = open_room()
    room.drop("x.json", {"text": "a"})
    submit = room.store.submit_drop

    def committed_and_failed(*arguments):
        submit(*arguments)
        raise LedgerUnavailable("no answer")

    monkeypatch.setattr(room.store, "submit_drop", committed_and_failed)
    with pytest.raises(LedgerUnavailable):
        room.inbox.scan()
    monkeypatch.undo()
    room.inbox.scan()
    assert room.store.accepted() == 1
    room.finish()
    room.inbox.scan()
    assert room.lying("done") == ["x.json", "x.json.result.json"]


def test_claimed_files_wait_for_a_ledger_that_takes_nothing_and_are_read_when_it_does(open_room, caplog):
    room = open_room()
    for n in range(3):
        room.drop(f"{n}.json", {"text": "a"})
    with contextlib.closing(sqlite3.connect(room.ledger)) as other:
        other.execute("begin immediate")
        room.inbox.look()
        assert room.troubles.sentences()
        assert len(room.lying(".claimed")) == 3
        other.rollback()
    room.inbox.look()
    assert room.troubles.sentences() == []
    assert room.statuses()["pending"] == 3
    assert "stays" not in caplog.text


FORGOTTEN = "not all of its tasks were completed, and they are forgotten by now"


@pytest.mark.parametrize(("failing", "kept_in"), [(None, "done"), ("a", "failed")])
@pytest.mark.parametrize("forgotten", [False, True], ids=["", "and its tasks were forgotten meanwhile"])
def test_a_file_whose_tasks_ended_while_the_inbox_was_away_is_put_away_when_it_is_back(
    open_room, forgotten, failing, kept_in
):
    room = open_room()
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    room.folder.rename(room.folder.with_name("away"))
    room.finish(failing=failing)
    room.inbox.open()  # as under a mount point whose disk is gone: an empty folder
    room.inbox.scan()
    assert room.store.ended_drops() == []
    assert not forgotten or room.store.prune(time.time() + 1) == 1
    shutil.rmtree(room.folder)
    room.folder.with_name("away").rename(room.folder)
    room.inbox.scan()
    note = "x.json.error.json" if failing else "x.json.result.json"
    assert room.lying(kept_in) == ["x.json", note]
    found = room.note(f"{kept_in}/{note}")
    if failing:
        assert (found["detail"] == FORGOTTEN, len(found["tasks"])) == (forgotten, 0 if forgotten else 1)
    else:
        assert len(found) == (0 if forgotten else 1)
    assert room.lying(".claimed") == []
    assert room.store.accepted() == 1
