"""Where a task may write, and that its file is there whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from daemon.errors import BadRequest, SpeechFailed
from daemon.outputs import Outputs, temporary_name


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def outputs(root, tmp_path):
    return Outputs([root, tmp_path / "second"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def publish(outputs, folder, name, data=b"sound", *, overwrite=False, own=None, owner="task_1_0-1"):
    """Write a file as the worker does; its SHA-256."""
    with outputs.draft(str(folder), owner) as draft:
        draft.file.write(data)
        digest = draft.seal()
        draft.publish(name, overwrite=overwrite, own=own)
    return digest


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


def test_a_root_may_be_a_link_of_the_operator(tmp_path, root):
    (tmp_path / "linked").symlink_to(root)
    publish(Outputs([tmp_path / "linked"]), tmp_path / "linked/a", "x.wav")
    assert (root / "a/x.wav").exists()


def test_a_folder_swapped_for_a_link_is_never_followed(outputs, root, tmp_path):
    outside, folder, link = tmp_path / "outside", root / "a", root / "b"
    outside.mkdir()
    folder.mkdir()
    link.symlink_to(outside)
    libc, done = ctypes.CDLL(None), threading.Event()

    def swap():
        while not done.is_set():
            libc.renameat2(-100, os.fsencode(folder), -100, os.fsencode(link), 2)  # RENAME_EXCHANGE

    swapper = threading.Thread(target=swap)
    swapper.start()
    for turn in range(300):
        with contextlib.suppress(SpeechFailed):
            publish(outputs, folder, f"{turn}.wav")
    done.set()
    swapper.join()
    assert names(outside) == []


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


# Files


def test_a_file_appears_whole_under_its_final_name_and_leaves_nothing_else(outputs, root):
    with outputs.draft(str(root / "a"), "task_1_0-7") as draft:
        assert names(root / "a") == [temporary_name("task_1_0-7")]
        draft.file.write(b"sound")
        digest = draft.seal()
        assert names(root / "a") == [temporary_name("task_1_0-7")]
        draft.publish("x.wav", overwrite=False, own=None)
    assert names(root / "a") == ["x.wav"]
    assert (root / "a/x.wav").read_bytes() == b"sound"
    assert digest == hashlib.sha256(b"sound").hexdigest()


def test_a_file_is_readable_as_the_umask_says(outputs, root):
    publish(outputs, root, "x.wav")
    mask = os.umask(0)
    os.umask(mask)
    assert (root / "x.wav").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_is_not_published_is_removed(outputs, root):
    with pytest.raises(ZeroDivisionError), outputs.draft(str(root), "task_1_0-1") as draft:
        draft.file.write(b"half")
        raise ZeroDivisionError
    assert names(root) == []


def test_a_full_disk_fails_the_speech_with_a_sentence_and_leaves_nothing(outputs, root):
    with (
        pytest.raises(SpeechFailed, match="cannot be written to: No space left"),
        outputs.draft(str(root), "t") as draft,
    ):
        full = os.open("/dev/full", os.O_WRONLY)
        draft.file.write(b"sound")
        os.dup2(full, draft.file.fileno())
        os.close(full)
    assert names(root) == []


def test_a_foreign_file_is_never_overwritten(outputs, root):
    (root / "x.wav").write_bytes(b"mine")
    with pytest.raises(SpeechFailed, match=r"'x\.wav' is there already, and it is not this task's"):
        publish(outputs, root, "x.wav")
    assert (root / "x.wav").read_bytes() == b"mine"
    assert names(root) == ["x.wav"]


def test_a_file_of_an_earlier_try_is_replaced(outputs, root):
    own = publish(outputs, root, "x.wav", b"first")
    publish(outputs, root, "x.wav", b"second", own=own)
    assert (root / "x.wav").read_bytes() == b"second"


def test_a_file_of_an_earlier_try_that_somebody_changed_is_kept(outputs, root):
    own = publish(outputs, root, "x.wav", b"first")
    (root / "x.wav").write_bytes(b"edited")
    with pytest.raises(SpeechFailed, match="not this task's"):
        publish(outputs, root, "x.wav", b"second", own=own)
    assert (root / "x.wav").read_bytes() == b"edited"


def test_a_link_to_a_file_of_an_earlier_try_is_not_ours(outputs, root):
    own = publish(outputs, root, "first.wav", b"first")
    (root / "x.wav").symlink_to("first.wav")
    with pytest.raises(SpeechFailed, match="not this task's"):
        publish(outputs, root, "x.wav", b"second", own=own)


def test_a_pipe_in_the_way_is_neither_read_nor_replaced(outputs, root):
    os.mkfifo(root / "x.wav")
    with pytest.raises(SpeechFailed, match="not this task's"):
        publish(outputs, root, "x.wav", own="0" * 64)


def test_an_earlier_try_whose_file_was_removed_publishes_anew(outputs, root):
    publish(outputs, root, "x.wav", b"second", own="0" * 64)
    assert (root / "x.wav").read_bytes() == b"second"


def test_overwrite_replaces_what_is_there(outputs, root, tmp_path):
    (tmp_path / "target").write_bytes(b"kept")
    (root / "file.wav").write_bytes(b"old")
    (root / "link.wav").symlink_to(tmp_path / "target")
    for name in ("file.wav", "link.wav"):
        publish(outputs, root, name, b"new", overwrite=True)
        assert (root / name).read_bytes() == b"new"
    assert (tmp_path / "target").read_bytes() == b"kept"


def test_overwrite_does_not_replace_a_folder(outputs, root):
    (root / "x.wav").mkdir()
    with pytest.raises(SpeechFailed, match="directory"):
        publish(outputs, root, "x.wav", overwrite=True)
    assert names(root) == ["x.wav"]


def test_of_two_that_publish_one_name_at_once_one_wins_and_the_other_is_told(outputs, root):
    start, results = threading.Barrier(8), []

    def write(number):
        start.wait()
        try:
            publish(outputs, root, "x.wav", bytes([number]) * 1000, owner=f"task_1_{number}-1")
            results.append(number)
        except SpeechFailed:
            results.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [number for number in results if number is not None]
    assert len(results) == 8
    assert (root / "x.wav").read_bytes() == bytes([winner]) * 1000
    assert names(root) == ["x.wav"]


def test_what_a_dead_worker_left_is_swept(outputs, root):
    litter = root / temporary_name("task_1_0-1")
    litter.write_bytes(b"half")
    other = root / temporary_name("task_1_1-2")
    other.write_bytes(b"another's")
    outputs.sweep(str(root), "task_1_0-1")
    outputs.sweep(str(root / "missing"), "task_1_0-1")
    assert names(root) == [other.name]


def test_what_a_dead_worker_left_is_written_anew(outputs, root):
    (root / temporary_name("task_1_0-1")).write_bytes(b"a longer half of something")
    publish(outputs, root, "x.wav", b"new")
    assert (root / "x.wav").read_bytes() == b"new"


def test_a_folder_removed_meanwhile_is_made_again(outputs, root):
    outputs.make(str(root / "a/b"))
    shutil.rmtree(root)
    publish(outputs, root / "a/b", "x.wav")
    assert (root / "a/b/x.wav").exists()
