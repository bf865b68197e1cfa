"""A task's file is there whole or not at all, and is the task's own."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading

import pytest

from daemon.errors import SpeechFailed, StorageUnavailable
from daemon.outputs import temporary_name
from tests.disks import with_fault
from tests.output_files import names, publish


def test_a_file_appears_whole_under_its_final_name_and_leaves_nothing_else(outputs, root):
    with outputs.draft(str(root / "a"), "task_1_0-7") as draft:
        assert names(root / "a") == [temporary_name("task_1_0-7")]
        draft.file.write(b"sound")
        digest = draft.seal()
        assert names(root / "a") == [temporary_name("task_1_0-7")]
        draft.publish("x.wav", overwrite=False)
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


def test_a_full_disk_is_no_fault_of_the_speech_and_leaves_nothing(outputs, root):
    with (
        pytest.raises(StorageUnavailable, match="cannot be written for now: No space left"),
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


def test_a_file_of_an_earlier_try_stays(outputs, root):
    own = publish(outputs, root, "x.wav", b"first")
    publish(outputs, root, "x.wav", b"second", own=own)
    assert (root / "x.wav").read_bytes() == b"first"
    assert names(root) == ["x.wav"]


def test_a_file_of_the_very_content_is_taken_for_the_tasks(outputs, root):
    """A ledger that was restored from a backup knows nothing of what it published since."""
    publish(outputs, root, "x.wav", b"sound")
    publish(outputs, root, "x.wav", b"sound", own=None)
    assert names(root) == ["x.wav"]


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


@pytest.mark.timeout(60)  # to read it whole would take hours
def test_a_file_without_end_in_the_way_is_not_read(outputs, root):
    with (root / "x.wav").open("wb") as endless:
        endless.truncate(8 << 40)
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


WRITE = """
import sys
from pathlib import Path
from daemon.outputs import Outputs
from tests.output_files import publish
root = Path(sys.argv[1])
outputs = Outputs([root])
outputs.make(str(root / "made"))
own = publish(outputs, root, "x.wav")
publish(outputs, root, "x.wav", own=own)
publish(outputs, root, "x.wav", b"other", overwrite=True)
print(*sorted(path.name for path in root.iterdir()), (root / "x.wav").read_text())
"""


@pytest.mark.parametrize("error", ["EINVAL", "EOPNOTSUPP"])
def test_a_file_system_that_cannot_sync_folders_takes_files_all_the_same(root, error):
    assert with_fault(f"fsync:error={error}", [root], WRITE, root).split() == ["made", "x.wav", "other"]


def test_a_folder_that_its_disk_did_not_keep_is_an_error(root):
    program = WRITE.replace("outputs.make", "import errno\ntry: outputs.make").replace(
        "own = publish", "except Exception as error: sys.exit(print(type(error).__name__, error))\nown = publish"
    )
    said = with_fault("fsync:error=EIO", [root], program, root)
    assert said == f"StorageUnavailable '{root}/made' cannot be written for now: Input/output error\n"
