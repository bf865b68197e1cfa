"""Which names in the inbox are read, ignored or refused, and how strange and equal ones are kept."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from tests.bad_payloads import as_json
from tests.drop_room import DropRoom


@pytest.fixture
def room(tmp_path):
    made = DropRoom(tmp_path)
    yield made
    made.close()


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
        (b"n" * 245 + b".json", "n" * 186 + "-aa5581f1.json"),
        ("好" * 81 + ".JSON", "好" * 62 + "-f8d46719.JSON"),
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


def test_long_names_that_differ_in_their_ends_have_folders_of_their_own(room):
    for end in "12":
        room.drop(f"{'n' * 240}{end}.json", {"speeches": {"a.wav": "a"}})
    room.inbox.scan()
    assert room.statuses()["pending"] == 2
    assert len({task.directory for task in room.store.tasks(None, 9, None)}) == 2


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
