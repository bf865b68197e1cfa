"""What lies below a folder is opened, and nothing else: by either way, asked with one table."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import beneath
from daemon.beneath import make_beneath, open_beneath
from tests.disks import small_disk

FOLDER = os.O_RDONLY | os.O_DIRECTORY
READ = os.O_RDONLY | os.O_NONBLOCK


class OldKernel:
    """A C library on a kernel before 5.6, or under a filter of system calls."""

    def __init__(self, number):
        self.number = number

    def syscall(self, *_):
        beneath.ctypes.set_errno(self.number)
        return -1


@pytest.fixture(params=[0, errno.ENOSYS, errno.EPERM, errno.EAGAIN], ids=["openat2", "old", "filtered", "restless"])
def _either_way(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(beneath, "_libc", OldKernel(request.param))


either_way = pytest.mark.usefixtures("_either_way")


@pytest.fixture
def base(tmp_path):
    """A descriptor of a folder with everything in it that somebody could put there, and a secret beside it."""
    (tmp_path / "base/a/b").mkdir(parents=True)
    (tmp_path / "base/a/file").write_text("ours")
    (tmp_path / "base2").mkdir()
    (tmp_path / "base2/secret").write_text("secret")
    for name, target in {
        "inner": "a",
        "outer": tmp_path / "base2",
        "prefix": "../base2",
        "gone": tmp_path / "nowhere",
        "round": "round",
        "magic": "/proc/self/root",
        "letter": tmp_path / "base2/secret",
    }.items():
        (tmp_path / "base" / name).symlink_to(target)
    os.mkfifo(tmp_path / "base/pipe")
    descriptor = os.open(tmp_path / "base", FOLDER)
    yield descriptor
    os.close(descriptor)


def descriptors():
    return len([*Path("/proc/self/fd").iterdir()])


def opened(base, path, flags):
    """What was opened: its inode, and whether it is a folder."""
    descriptor = open_beneath(base, path, flags)
    found = os.fstat(descriptor)
    os.close(descriptor)
    return found.st_ino, stat.S_ISDIR(found.st_mode)


@either_way
@pytest.mark.parametrize(
    ("path", "flags"),
    [("", FOLDER), ("a", FOLDER), ("a/b", FOLDER), ("a/file", READ), ("pipe", READ)],
    ids=str,
)
def test_what_lies_below_is_opened(base, tmp_path, path, flags):
    assert opened(base, path, flags)[0] == (tmp_path / "base" / path).stat().st_ino


LINK = {errno.ELOOP, errno.ENOTDIR}
OUTSIDE = {errno.EXDEV}


@either_way
@pytest.mark.parametrize(
    ("path", "flags", "said"),
    [
        *((path, FOLDER, OUTSIDE) for path in ("..", "../base2", "a/../..", "a/../../base2", "a/..", ".", "./a")),
        *((path, FOLDER, OUTSIDE) for path in ("/", "/etc", "//etc", "a//b", "a/", "/proc/self/root")),
        *((path, FOLDER, OUTSIDE) for path in ("a\0", "a\0/../..", "\0")),
        *((path, FOLDER, LINK) for path in ("inner", "outer", "prefix", "gone", "round", "magic")),
        *((path, FOLDER, LINK) for path in ("inner/b", "outer/x", "prefix/x", "gone/x", "round/x", "magic/etc")),
        *((path, READ, LINK) for path in ("letter", "outer/secret", "prefix/secret", "inner/file", "gone", "magic")),
        *((path, FOLDER, {errno.ENOTDIR}) for path in ("pipe", "a/file", "a/file/x", "pipe/x")),
        *((path, FOLDER, {errno.ENOENT}) for path in ("none", "a/none", "none/b", "~", "...", "base2")),
        ("n" * 256, FOLDER, {errno.ENAMETOOLONG}),
    ],
    ids=repr,
)
def test_everything_else_is_refused(base, path, flags, said):
    before = descriptors()
    with pytest.raises(OSError) as caught:
        opened(base, path, flags)
    assert caught.value.errno in said
    assert descriptors() == before


@either_way
def test_a_link_that_leads_nowhere_is_answered_as_one_that_leads_somewhere(base):
    told = []
    for path in ("outer/x", "gone/x", "magic/x"):
        with pytest.raises(OSError) as caught:
            opened(base, path, FOLDER)
        told.append((caught.value.errno, caught.value.strerror))
    assert len(set(told)) == 1


@either_way
@pytest.mark.parametrize("path", ["fd/0", "root", "root/etc", "cwd", "exe", "task"])
def test_the_links_that_the_kernel_makes_up_are_links(path):
    """A magic link leads to what a process has open, whatever its name says."""
    itself = os.open("/proc/self", FOLDER)
    try:
        if path == "task":
            opened(itself, path, FOLDER)
        else:
            with pytest.raises(OSError) as caught:
                opened(itself, path, READ)
            assert caught.value.errno in LINK
    finally:
        os.close(itself)


@either_way
def test_a_disk_that_is_mounted_below_is_a_folder_like_any_other(base, tmp_path):
    with small_disk(tmp_path / "base/a/disk", 1) as disk:
        assert opened(base, "a/disk", FOLDER)[0] == disk.stat().st_ino


@either_way
def test_a_missing_folder_is_made_one_part_at_a_time(base, tmp_path):
    for _ in range(2):
        descriptor = make_beneath(base, "a/new/and/deeper")
        assert os.fstat(descriptor).st_ino == (tmp_path / "base/a/new/and/deeper").stat().st_ino
        os.close(descriptor)


@either_way
@pytest.mark.parametrize(
    "path", ["../new", "outer/new", "gone/new", "gone", "inner/new", "pipe/new", "a/../../new", "/tmp/new", "x\0/y"]
)
def test_nothing_is_made_elsewhere_and_no_descriptor_stays_open(base, tmp_path, path):
    before = sorted(tmp_path.rglob("*")), descriptors()
    with pytest.raises(OSError):
        make_beneath(base, path)
    assert (sorted(tmp_path.rglob("*")), descriptors()) == before


def test_this_kernel_is_asked_in_one_call():
    """Else all of the above would test one way twice."""
    here = os.open("/", FOLDER)
    try:
        os.close(beneath.in_one_call(here, ["proc"], FOLDER))
    except OSError as error:
        pytest.skip(f"openat2: {error.strerror}")
    finally:
        os.close(here)


# Refuses openat2 (call 437) with an errno, as systemd's SystemCallFilter= does: a classic BPF program over the call's
# number. struct sock_fprog is a count and a pointer.
FILTERED = """
import ctypes, os, struct, sys
from daemon import beneath
refused = int(sys.argv[1])
program = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x50000 | refused), (0x06, 0, 0, 0x7FFF0000)])
kept = ctypes.create_string_buffer(program, len(program))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack("HxxxxxxP", 4, ctypes.addressof(kept)), 0, 0) == 0, os.strerror(ctypes.get_errno())
base = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
try:
    beneath.in_one_call(base, ["a"], os.O_RDONLY)
except OSError as error:
    print(error.errno)
for path in ("a/b", "outer/secret", "../base2"):
    try:
        print(os.readlink(f"/proc/self/fd/{beneath.open_beneath(base, path, os.O_RDONLY)}"))
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.parametrize("refused", [errno.ENOSYS, errno.EPERM])
def test_under_a_filter_of_system_calls_the_path_is_walked(base, tmp_path, refused):
    command = [sys.executable, "-c", FILTERED, str(refused), str(tmp_path / "base")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Error: Invalid argument" in done.stderr:
        pytest.skip("this machine's kernel has no filters of system calls")
    assert done.stdout.split() == [
        str(refused),
        str(tmp_path / "base/a/b"),
        str(errno.ENOTDIR),
        str(errno.EXDEV),
    ], done.stderr
