"""What others may do to the inbox's own folders while the daemon runs: nothing is lost, and all goes on once it can."""

from __future__ import annotations

import shutil

import pytest

from daemon.errors import ConfigError
from daemon.inbox.looks import Look
from tests.disks import ext4_disk, fill
from tests.drop_room import DropRoom, make_ground


@pytest.mark.parametrize("removed", ["done", "failed"])
def test_a_removed_folder_of_what_ended_is_made_again_and_keeps_nothing_waiting(room, removed):
    room.drop("good.json", {"text": "good"})
    room.drop("bad.json", {"text": "bad"})
    room.inbox.scan()
    shutil.rmtree(room.folder / removed)
    room.store.complete(room.store.claim(), 1.0)
    room.drop("next.json", {"text": "c"})
    room.inbox.scan()
    room.finish(failing="bad")
    room.inbox.scan()
    assert room.lying() == room.lying(".claimed") == []
    assert {name for name in room.lying("done") + room.lying("failed") if name.count(".") == 1} == {
        *("good.json", "bad.json", "next.json")
    }


@pytest.mark.parametrize("leads_to", ["elsewhere", "nowhere"])
@pytest.mark.parametrize("name", [".claimed", "done", "failed"])
def test_nothing_is_moved_while_a_link_is_in_the_place_of_one_of_our_folders(room, name, leads_to):
    (room.folder.parent / "elsewhere").mkdir()
    (room.folder.parent / "elsewhere/stranger.json").write_text("{}")
    room.drop("good.json", {"text": "good"})
    room.drop("bad.json", {"text": "bad"})
    room.inbox.scan()
    room.finish(failing="bad")
    (room.folder / name).rename(room.folder.parent / "kept")
    (room.folder / name).symlink_to(room.folder.parent / leads_to)
    room.drop("next.json", {"text": "c"})
    room.inbox.look()
    assert f"{name} is a symbolic link and must be a folder" in room.troubles.sentences()[0]
    assert [file.name for file in (room.folder.parent / "elsewhere").iterdir()] == ["stranger.json"]
    assert "next.json" in room.lying()
    (room.folder / name).unlink()
    (room.folder.parent / "kept").rename(room.folder / name)
    room.inbox.look()
    assert room.troubles.sentences() == []
    assert room.lying("done") == ["good.json", "good.json.result.json"]
    assert room.lying("failed") == ["bad.json", "bad.json.error.json"]
    assert room.statuses()["pending"] == 1


def test_a_link_to_a_folder_with_a_link_to_our_lock_is_not_our_folder(room):
    theirs = room.folder.parent / "theirs"
    theirs.mkdir()
    (room.folder / ".claimed").rename(room.folder / ".real")
    (theirs / ".lock").hardlink_to(room.folder / ".real/.lock")
    (room.folder / ".claimed").symlink_to(theirs)
    room.drop("x.json", {"text": "a"})
    room.inbox.look()
    assert ".claimed is a symbolic link and must be a folder" in room.troubles.sentences()[0]
    assert [file.name for file in theirs.iterdir()] == [".lock"]
    assert "x.json" in room.lying()


@pytest.mark.parametrize("target", ["lock", "kept", "nowhere"])
def test_a_link_in_the_place_of_the_lock_is_refused_and_makes_no_file(room, target):
    lock, outside = room.folder / ".claimed/.lock", room.folder.parent / target
    if target == "lock":
        outside.write_text("of another daemon's state")
    if target == "kept":
        lock.rename(outside)
    lock.unlink(missing_ok=True)
    lock.symlink_to(outside)
    room.drop("x.json", {"text": "a"})
    room.inbox.look()
    assert ".lock cannot be opened: it is a symbolic link" in room.troubles.sentences()[0]
    assert outside.exists() == (target != "nowhere")
    assert room.lying() == ["x.json"]
    lock.unlink()
    room.inbox.look()
    assert room.statuses()["pending"] == 1


def test_a_link_in_the_place_of_claimed_is_not_followed_by_an_inbox_that_takes_files_for_strangers(room, caplog):
    victim = room.folder.parent / "victim"
    victim.mkdir()
    (victim / "precious.db").write_text("mine")
    shutil.rmtree(room.folder / ".claimed")
    (room.folder / ".claimed").symlink_to(victim)
    room.inbox.look()
    assert [file.name for file in victim.iterdir()] == ["precious.db"]
    assert ".claimed is a symbolic link and must be a folder" in caplog.text
    (room.folder / ".claimed").unlink()
    room.drop("x.json", {"text": "a"})
    room.inbox.look()
    assert room.troubles.sentences() == []
    assert room.statuses()["pending"] == 1


@pytest.mark.parametrize("name", [".claimed", "done", "failed"])
def test_a_start_with_a_link_in_the_place_of_our_folder_is_a_sentence(tmp_path, name):
    make_ground(tmp_path)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inbox" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"{name} is a symbolic link and must be a folder"):
        DropRoom(tmp_path)


def test_an_inbox_made_again_of_which_only_half_can_be_made_is_taken_whole_once_it_can(room):
    shutil.rmtree(room.folder)
    room.folder.mkdir()
    (room.folder / "done").write_text("in the way")
    room.inbox.look()
    (room.folder / ".claimed/stranger.json").write_text("{}")
    room.inbox.look()
    assert room.troubles.sentences() != []
    (room.folder / "done").unlink()
    room.inbox.look()
    assert room.troubles.sentences() == []
    assert room.lying("failed") == ["stranger.json", "stranger.json.error.json"]


def test_a_file_of_which_nobody_can_tell_whether_it_is_there_is_not_called_gone(tmp_path):
    assert Look.at(tmp_path / "gone") is None
    with pytest.raises(OSError, match="File name too long"):
        Look.at(tmp_path / ("x" * 300))


def test_a_litter_that_is_no_file_does_not_keep_the_daemon_from_starting(room):
    (room.folder / "done/.indexttsd-x").mkdir()
    room.inbox._done.prepare()


def test_a_first_start_on_a_full_disk_waits_for_room(tmp_path):
    make_ground(tmp_path)
    with ext4_disk(tmp_path / "inbox", tmp_path / "image", 4):
        filler = fill(tmp_path / "inbox")
        room = DropRoom(tmp_path)
        room.inbox.look()
        assert "No space left on device" in room.troubles.sentences()[0]
        filler.unlink()
        room.drop("x.json", {"text": "a"})
        room.inbox.look()
        assert room.troubles.sentences() == []
        assert room.statuses()["pending"] == 1
        room.close()


def test_a_folder_in_the_place_of_the_lock_is_told_and_ends_nothing(room, caplog):
    (room.folder / ".claimed" / ".lock").unlink()
    (room.folder / ".claimed" / ".lock").mkdir()
    room.drop("x.json", {"text": "a"})
    room.inbox.look()
    assert "cannot be opened: Is a directory" in caplog.text
    (room.folder / ".claimed" / ".lock").rmdir()
    room.inbox.look()
    assert room.statuses()["pending"] == 1
