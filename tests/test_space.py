"""Room on real small disks."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from daemon.errors import StorageUnavailable
from daemon.space import Space, trouble
from tests.disks import small_disk


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 4) as folder:
        yield folder


def test_a_disk_with_room_is_no_reason_to_wait(tmp_path, disk):
    Space([tmp_path, disk], 64).require()


def test_of_a_small_disk_a_twentieth_stays_free(disk):
    space = Space([disk], 64)
    (disk / "file").write_bytes(bytes(3_700_000))
    assert space.shortage() is None
    (disk / "more").write_bytes(bytes(300_000))
    with pytest.raises(StorageUnavailable, match=rf"{disk} has 0\.\d MB left, and 0\.2 MB must stay free"):
        space.require()
    (disk / "file").unlink()
    space.require()


def test_all_may_be_used_when_nothing_is_to_stay_free(disk):
    space = Space([disk], 0)
    (disk / "file").write_bytes(bytes(4_000_000))
    assert space.shortage() is None
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(bytes(1_000_000))
    assert "make room" in space.shortage()


def test_a_disk_that_holds_no_more_files_is_full(disk):
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", disk], check=True)
    for name in ("a", "b"):
        (disk / name).touch()
    assert "can hold no more files" in Space([disk], 0).shortage()


def test_a_folder_that_is_gone_is_told_by_who_writes_there(tmp_path):
    assert Space([tmp_path / "gone"], 64).shortage() is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_what_a_disk_says_for_now_is_the_machines_trouble(number):
    said = trouble(OSError(number, os.strerror(number)), "the file")
    assert str(said) == f"the file cannot be written for now: {os.strerror(number)}"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR])
def test_what_is_about_one_file_is_not(number):
    assert trouble(OSError(number, os.strerror(number)), "the file") is None
