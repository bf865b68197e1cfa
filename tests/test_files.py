"""A rename that replaces nothing, and a lock with one owner."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest

from daemon import files
from daemon.errors import ConfigError, InUse
from daemon.files import lock, make_folder, remote_kind, rename_new, to_disk
from tests.disks import run


def rename_in(folder, source, target):
    rename_new(str(folder / source), str(folder / target))


class _WithoutTheFlag:
    """A C library on a file system that does not know RENAME_NOREPLACE."""

    def renameat2(self, *_):
        files.ctypes.set_errno(errno.EINVAL)
        return -1


@pytest.fixture(params=["in one step", "without the flag"])
def _either_way(request, monkeypatch):
    if request.param == "without the flag":
        monkeypatch.setattr(files, "_libc", _WithoutTheFlag())


@pytest.mark.usefixtures("_either_way")
def test_a_free_name_is_taken(tmp_path):
    (tmp_path / "a").write_text("a")
    rename_in(tmp_path, "a", "好 b")
    assert (tmp_path / "好 b").read_text() == "a"
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize(
    "make",
    [lambda p: p.write_text("b"), lambda p: p.mkdir(), lambda p: p.symlink_to("nowhere")],
    ids=["file", "folder", "link"],
)
def test_a_taken_name_is_left_alone(tmp_path, make):
    (tmp_path / "a").write_text("a")
    make(tmp_path / "b")
    before = (tmp_path / "b").lstat()
    with pytest.raises(FileExistsError):
        rename_in(tmp_path, "a", "b")
    assert (tmp_path / "b").lstat() == before
    assert (tmp_path / "a").read_text() == "a"


@pytest.mark.usefixtures("_either_way")
def test_a_missing_source_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        rename_in(tmp_path, "a", "b")


@pytest.mark.usefixtures("_either_way")
def test_names_may_be_relative_to_open_folders(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_text("x")
    source, target = os.open(tmp_path / "a", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    rename_new("x", "y", source_folder=source, target_folder=target)
    os.close(source)
    os.close(target)
    assert (tmp_path / "y").read_text() == "x"


def test_a_name_that_is_not_utf8_is_renamed_as_it_is(tmp_path):
    name = b"\xff\xfe".decode(errors="surrogateescape")
    (tmp_path / name).write_text("a")
    rename_in(tmp_path, name, f"{name}2")
    assert [os.fsencode(file.name) for file in tmp_path.iterdir()] == [b"\xff\xfe2"]


def test_a_lock_has_one_owner_until_it_is_closed(tmp_path):
    held = lock(tmp_path / "lock", "the thing")
    with pytest.raises(InUse, match="another indexttsd is using the thing; stop it"):
        lock(tmp_path / "lock", "the thing")
    os.close(held)
    os.close(lock(tmp_path / "lock", "the thing"))


def test_a_lock_is_free_again_when_its_process_was_killed(tmp_path):
    code = "import sys; from pathlib import Path; from daemon.files import lock\n"
    code += "lock(Path(sys.argv[1]), 'it'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        owner.stdout.readline()
        with pytest.raises(InUse, match="another indexttsd"):
            lock(tmp_path / "lock", "it")
        owner.kill()
    os.close(lock(tmp_path / "lock", "it"))


def test_a_lock_is_not_inherited_by_children(tmp_path):
    held = lock(tmp_path / "lock", "it")
    assert not os.get_inheritable(held)
    os.close(held)


def test_a_lock_that_cannot_be_opened_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"the thing cannot be used: .*lock cannot be opened: No such file"):
        lock(tmp_path / "missing/lock", "the thing")


def test_a_local_folder_is_not_remote_and_neither_is_a_missing_one(tmp_path):
    assert remote_kind(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        remote_kind(tmp_path / "missing")


def test_what_has_no_disk_below_it_passes_and_what_is_missing_does_not(tmp_path):
    to_disk(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    to_disk(tmp_path / "pipe")  # EINVAL, as some file systems say of folders
    with pytest.raises(FileNotFoundError):
        to_disk(tmp_path / "missing")


MAKE = "import sys; from pathlib import Path; from daemon.files import make_folder; make_folder(Path(sys.argv[1]))"


@pytest.fixture
def making(tmp_path):
    """Makes a folder in a process of its own; the calls of the kernel that took, as `call path`."""

    def make(folder):
        calls = tmp_path / "calls"
        trace = ["strace", "-f", "-y", "-o", calls, "-e", "trace=mkdir,mkdirat,fsync"]
        run(*trace, sys.executable, "-c", MAKE, folder)
        found = re.findall(r"(mkdir|fsync)(?:at)?\(.*?(/[^\">]*)[\">].* = 0", calls.read_text())
        return [f"{call} {path}" for call, path in found]

    return make


def test_every_folder_that_is_made_is_on_the_disk_before_the_next(tmp_path, making):
    assert making(tmp_path / "a/b/c") == [
        *(f"mkdir {tmp_path}/a", f"fsync {tmp_path}"),
        *(f"mkdir {tmp_path}/a/b", f"fsync {tmp_path}/a"),
        *(f"mkdir {tmp_path}/a/b/c", f"fsync {tmp_path}/a/b"),
    ]


def test_a_folder_that_is_there_is_left_alone(tmp_path, making):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    assert making(tmp_path / "a/b") == making(tmp_path / "link/b") == []


def test_what_stands_in_a_folders_way_is_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/a"):
        with pytest.raises(FileExistsError, match=f"{tmp_path}/file'"):
            make_folder(folder)


def test_a_folder_is_made_where_others_may_be_made_but_none_be_seen(tmp_path):
    (tmp_path / "drop").mkdir(mode=0o300)
    # A root that may not do more than others: permissions count for it.
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    run(*plain, "true")
    subprocess.run([*plain, sys.executable, "-c", MAKE, tmp_path / "drop/a/b"], check=True)
    assert (tmp_path / "drop/a/b").is_dir()
