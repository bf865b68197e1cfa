"""A dropped file's way from the inbox over .claimed/ to done/ or failed/, also over crashes between any two steps."""

from __future__ import annotations

import os
import re
import socket
import stat

import pytest

from daemon.inbox.archive import Archive
from tests.bad_payloads import as_json
from tests.drop_room import DropRoom, make_ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return make_ledger(tmp_path_factory.mktemp("ledger"))


@pytest.fixture
def open_room(tmp_path, ledger):
    """Opens the inbox of this test, as often as it is called: each call is a new daemon after the death of the last."""
    rooms = []

    def opened(**settings):
        if rooms:
            rooms[-1].close()
        rooms.append(DropRoom(tmp_path, ledger, **settings))
        return rooms[-1]

    yield opened
    rooms[-1].close()


@pytest.fixture
def room(open_room):
    return open_room()


# The way of a good file


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


# Names


@pytest.mark.parametrize("content", [{"text": "a"}, {"txt": "a"}], ids=["done", "failed"])
def test_files_of_one_name_are_numbered_and_nothing_is_overwritten(room, content):
    for seed in range(3):
        room.drop("x.json", content | {"seed": seed})
        room.inbox.scan()
        room.finish()
        room.inbox.scan()
    folder, note = ("done", "result") if "text" in content else ("failed", "error")
    names = ["x-2.json", "x-3.json", "x.json"]
    assert room.lying(folder) == sorted([*names, *(f"{name}.{note}.json" for name in names)])
    contents = [room.note(f"{folder}/{name}")["seed"] for name in ("x.json", "x-2.json", "x-3.json")]
    assert contents == [0, 1, 2]


def test_a_foreign_note_takes_the_name_too(room):
    foreign = room.folder / "failed/x.json.error.json"
    foreign.write_text("mine")
    room.drop("x.json", b"")
    room.inbox.scan()
    assert foreign.read_text() == "mine"
    assert room.lying("failed") == ["x-2.json", "x-2.json.error.json", "x.json.error.json"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (b"n" * 245 + b".json", "n" * 195 + ".json"),
        ("好" * 81 + ".JSON", "好" * 65 + ".JSON"),
        (b"a\xff\xfeb.json", "a\ufffd\ufffdb.json"),
        ("two\nlines.json", "two\nlines.json"),
        ("-- rm -rf *.json", "-- rm -rf *.json"),
        ("%s{}--x.json", "%s{}--x.json"),
        (" .json", " .json"),
    ],
    ids=["250 bytes", "248 bytes of Chinese", "not UTF-8", "newline", "dashes", "signs", "blank"],
)
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_a_strange_name_comes_through(room, name, kept, good):
    room.drop(name, {"text": "a", "output_path": "out"} if good else b"")
    room.inbox.scan()
    room.finish()
    room.inbox.scan()
    folder, note = ("done", "result") if good else ("failed", "error")
    assert room.lying(folder) == sorted([kept, f"{kept}.{note}.json"])
    assert room.lying() == room.lying(".claimed") == []


@pytest.mark.parametrize("name", ["n" * 245, "好" * 80], ids=["ASCII", "Chinese"])
def test_long_names_that_collide_are_numbered_too(room, name):
    for _ in range(2):
        room.drop(f"{name}.json", b"")
        room.inbox.scan()
    assert len(room.lying("failed")) == 4
    assert any(kept.endswith("-2.json") for kept in room.lying("failed"))


@pytest.mark.parametrize("name", ["x.json", "X.JSON", "y.Json", "a.b.jSoN"])
def test_the_suffix_counts_in_any_case(room, name):
    room.drop(name, {"text": "a"})
    room.inbox.scan()
    assert room.statuses()["pending"] == 1


@pytest.mark.parametrize(
    "name",
    [".x.json", ".json", "x.json.tmp", "x.json.part", "x.json.filepart", "x.crdownload", ".x.json.swp", "x.swp", "x~"],
)
def test_ignored_names_stay_where_they_are(room, name):
    room.drop(name, {"text": "a"})
    room.inbox.scan()
    assert room.lying() == [name]
    assert room.statuses()["pending"] == 0
    assert room.inbox.waiting == 0


@pytest.mark.parametrize("name", ["x.txt", "x", "x.json.bak", "x.json ", "json", "x.jsonl"])
def test_another_suffix_goes_to_failed_with_advice(room, name):
    note = room.refused(name, {"text": "a"})
    assert note["detail"] == "only *.json files are read here; rename it if it is one"


def _make_socket(path):
    # Bound by a short relative name: the whole path may be longer than a socket's address.
    before = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.fchdir(before)
    os.close(before)


@pytest.mark.parametrize(
    ("make", "kind", "is_kind"),
    [
        (os.mkfifo, "a pipe (FIFO)", stat.S_ISFIFO),
        (os.mkdir, "a directory", stat.S_ISDIR),
        (_make_socket, "a socket", stat.S_ISSOCK),
        (lambda path: path.symlink_to("/etc/hostname"), "a symbolic link", stat.S_ISLNK),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link", stat.S_ISLNK),
    ],
    ids=["FIFO", "directory", "socket", "symlink", "dangling symlink"],
)
@pytest.mark.parametrize("name", ["x.json", "x"])
def test_what_is_no_file_goes_to_failed_as_it_is(room, make, kind, is_kind, name):
    make(room.folder / name)
    room.inbox.scan()
    assert kind in room.note(f"failed/{name}.error.json")["detail"]
    assert is_kind((room.folder / "failed" / name).lstat().st_mode)
    assert room.statuses()["pending"] == 0


def test_a_directory_is_moved_whole_and_its_files_become_no_tasks(room):
    (room.folder / "many").mkdir()
    (room.folder / "many/x.json").write_bytes(as_json({"text": "a"}))
    room.inbox.scan()
    assert (room.folder / "failed/many/x.json").exists()
    assert room.statuses()["pending"] == 0


def test_a_hard_linked_file_is_taken_although_its_producer_keeps_its_own_name(room, tmp_path):
    (tmp_path / "mine.json").write_bytes(as_json({"text": "a"}))
    (room.folder / "x.json").hardlink_to(tmp_path / "mine.json")
    room.inbox.scan()
    assert room.statuses()["pending"] == 1
    assert (tmp_path / "mine.json").exists()


# When not all can be taken


def test_files_stay_while_the_queue_is_full_and_are_taken_later(open_room):
    room = open_room(queue=2)
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


def test_the_oldest_file_is_taken_first(open_room):
    room = open_room(queue=1)
    for age, name in ((5, "young.json"), (50, "old.json"), (20, "middle.json")):
        os.utime(room.drop(name, {"text": name}), (1_700_000_000 - age,) * 2)
    room.inbox.scan()
    assert room.store.claim().text == "old.json"
    assert room.lying() == ["middle.json", "young.json"]


def test_a_thousand_files_are_taken_in_one_bite_and_the_rest_in_the_next(open_room, monkeypatch):
    monkeypatch.setattr("daemon.inbox.scan._BITE", 10)
    room = open_room()
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


def test_an_ended_task_leaves_its_note_although_its_file_was_removed(room):
    room.drop("x.json", {"text": "a"})
    room.inbox.scan()
    for file in room.lying(".claimed"):
        (room.folder / ".claimed" / file).unlink()
    room.finish()
    for _ in range(2):
        room.inbox.scan()
    assert room.lying("done") == ["x.json.result.json"]


# After a crash


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
