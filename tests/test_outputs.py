"""Where a task may write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from daemon.errors import BadRequest, SpeechFailed, StorageUnavailable
from daemon.outputs import Outputs
from tests.disks import fuse_mount, kill_server, no_more_files, remount, small_disk
from tests.output_files import names, publish

# What a path may be


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("out", "out"),
        ("out/", "out"),
        (".", ""),
        ("a/../b", "b"),
        ("a//b/./c", "a/b/c"),
        ("..a/b..", "..a/b.."),
        ("a~/b", "a~/b"),
        (" out ", " out "),
        ("语音/故事 1", "语音/故事 1"),
        ("a\u0301'\"$(x);*", "a\u0301'\"$(x);*"),
        ("n" * 255, "n" * 255),
    ],
)
def test_a_relative_path_is_below_the_first_root(outputs, root, path, below):
    shown, used = outputs.resolve(path)
    assert shown == used == str(root / below)


@pytest.mark.parametrize(
    "form", ["{root}", "{root}/", "{root}/a/../b", "{root}//a", "/{root}/a", "//{root}/a", "{second}/x"]
)
def test_an_absolute_path_in_a_root_is_shown_as_it_was_sent(outputs, root, tmp_path, form):
    sent = form.format(root=root, second=tmp_path / "second")
    shown, used = outputs.resolve(sent)
    assert shown == sent
    assert used == "/" + os.path.normpath(sent).lstrip("/")


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../root2",
        "../root/../x",
        "a/../../x",
        "/",
        "/etc",
        "{root}x",
        "{root}/../rootx",
        "{root}/..",
        "//etc",
        "{tmp}",
    ],
)
def test_a_path_outside_the_roots_is_refused_with_the_key_that_allows_more(outputs, root, tmp_path, path):
    with pytest.raises(BadRequest, match=r"output\.roots"):
        outputs.resolve(path.format(root=root, tmp=tmp_path))


def test_the_refusal_is_the_same_whether_or_not_the_path_exists(outputs, tmp_path):
    (tmp_path / "there").mkdir()
    sentences = []
    for name in ("there", "gone!"):
        with pytest.raises(BadRequest) as caught:
            outputs.resolve(str(tmp_path / name))
        sentences.append(str(caught.value).replace(name, ""))
    assert sentences[0] == sentences[1]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "blank"),
        (" \t", "blank"),
        ("~", "'~'"),
        ("~/out", "'~'"),
        ("a/~b/c", "'~b'"),
        ("a/~b/../c", "'~b'"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\\b", "backslash"),
        ("a\ud800", "not UTF-8"),
        ("n" * 256, "longer than 255 bytes"),
        ("n/" * 65, "nested more than 64 folders deep"),
        ("好" * 86, "longer than 255 bytes"),
        ("a/" * 5000, "bytes"),
    ],
)
def test_what_is_no_folders_name_is_refused(outputs, path, words):
    with pytest.raises(BadRequest, match=words):
        outputs.resolve(path)


def test_the_longest_allowed_folder_can_be_made_and_holds_the_longest_name(outputs, root):
    longest = 4096 - 255 - 2 - len(str(root)) - 1
    path = "/".join(["n" * 200] * 50)[:longest].rstrip("/")
    _, used = outputs.resolve(path)
    with pytest.raises(BadRequest, match="longer than"):
        outputs.resolve(f"{path}/more")
    outputs.make(used)
    publish(outputs, used, "n" * 251 + ".wav")
    assert Path(used, "n" * 251 + ".wav").read_bytes() == b"sound"


# Folders


def test_a_missing_folder_is_made(outputs, root):
    outputs.make(str(root / "a/b/c"))
    outputs.make(str(root / "a/b/c"))
    assert (root / "a/b/c").is_dir()


def test_a_root_that_was_removed_is_made_again(outputs, root):
    shutil.rmtree(root)
    outputs.make(str(root / "a"))
    assert (root / "a").is_dir()


@pytest.mark.parametrize("where", ["link", "link/deeper", "file", "file/deeper"])
def test_a_link_or_a_file_on_the_way_is_refused(outputs, root, tmp_path, where):
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "file").touch()
    with pytest.raises(BadRequest, match="not a directory, or is a symbolic link"):
        outputs.make(str(root / where))
    with pytest.raises(SpeechFailed, match="not a directory, or is a symbolic link"):
        publish(outputs, root / where, "x.wav")
    with pytest.raises(BadRequest, match="not a directory, or is a symbolic link"):
        outputs.existing(str(root / where), ["x.wav"])
    assert names(tmp_path / "elsewhere") == []


def test_a_root_that_a_file_stands_in_the_way_of_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file/root"):
        with pytest.raises(BadRequest, match="not a directory, or is a symbolic link"):
            Outputs([root]).make(str(root))


def test_a_root_may_be_a_link_of_the_operator(tmp_path, root):
    (tmp_path / "linked").symlink_to(root)
    publish(Outputs([tmp_path / "linked"]), tmp_path / "linked/a", "x.wav")
    assert (root / "a/x.wav").exists()


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_failure_on_the_way_closes_each_descriptor_once(outputs, root):
    """A second close would hit whatever file another thread has opened meanwhile."""
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").touch()
    before = open_descriptors()
    for _ in range(20):
        with pytest.raises(BadRequest, match="not a directory"):
            outputs.make(str(root / "a/b/file/c"))
        assert outputs.existing(str(root / "a/b/missing/c"), ["x"]) == []
    assert open_descriptors() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(outputs, root):
    (root / "locked").mkdir(mode=0o500)
    with pytest.raises(BadRequest, match="cannot be written to"):
        outputs.make(str(root / "locked"))


def test_a_folder_that_cannot_be_made_is_refused():
    """On a file system where nobody can make folders, root included."""
    with pytest.raises(BadRequest, match="'/proc/speech' cannot be written to: No such file or directory"):
        Outputs([Path("/proc")]).make("/proc/speech")


def test_existing_names_are_told_whatever_they_are(outputs, root):
    (root / "file").touch()
    (root / "folder").mkdir()
    (root / "link").symlink_to("nowhere")
    assert outputs.existing(str(root), ["file", "none", "folder", "link"]) == ["file", "folder", "link"]
    assert outputs.existing(str(root / "missing"), ["file"]) == []


def test_a_root_that_became_read_only_is_the_machines_trouble_and_no_wrong_request(tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        outputs = Outputs([disk])
        outputs.make(str(disk))
        remount(disk, "ro")
        with pytest.raises(StorageUnavailable, match="cannot be written for now: Read-only file system"):
            outputs.make(str(disk))


def test_a_folder_that_cannot_be_looked_into_for_now_is_the_machines_trouble_and_no_wrong_request(outputs, root):
    with no_more_files(), pytest.raises(StorageUnavailable) as trouble:
        outputs.existing(str(root), ["x.wav"])
    assert str(trouble.value) == f"'{root}' cannot be looked into for now: Too many open files"
    assert outputs.existing(str(root), ["x.wav"]) == []


def test_a_root_whose_server_died_is_the_machines_trouble_for_every_request(tmp_path):
    with fuse_mount(tmp_path / "server", tmp_path / "mount") as mount:
        outputs = Outputs([mount])
        publish(outputs, mount, "x.wav")
        kill_server(mount)
        sentence = "for now: Transport endpoint is not connected"
        for asked in (
            lambda: outputs.make(str(mount)),
            lambda: outputs.make(str(mount / "a")),
            lambda: outputs.existing(str(mount), ["x.wav"]),
            lambda: outputs.finished(str(mount), "x.wav"),
            lambda: publish(outputs, mount, "y.wav"),
        ):
            with pytest.raises(StorageUnavailable, match=sentence):
                asked()
