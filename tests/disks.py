"""Real file systems of a test's own; where none can be mounted (no root, a closed container) the test is skipped."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.live import PATIENCE, until


def run(*command: object) -> str:
    """Run a command of the system as root; its output. The test is skipped where that is not allowed."""
    try:
        ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not on this machine")
    if ended.returncode:
        pytest.skip(f"{' '.join(map(str, command))}: {ended.stderr.strip()}")
    return ended.stdout.strip()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory of this size, mounted on `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, spare: int = 0) -> Path:
    """Fill the file system of `folder` up but for `spare` bytes; the file that does so."""
    filler = folder / ".filler.part"  # a name that an inbox leaves alone
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - spare))
    return filler


@contextlib.contextmanager
def ext4_disk(folder: Path, image: Path, megabytes: int, options: str = "defaults") -> Iterator[str]:
    """A file system with a journal in the file `image`, mounted on `folder`, which is made; its device's name."""
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", image)
    device = run("losetup", "--find", "--show", image)
    try:
        run("mount", "-o", options, device, folder)
        yield device.rpartition("/")[2]
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", device], check=True)


def mount_again(folder: Path, device: str) -> None:
    """What a person does after a file system's error: check it, and mount it anew."""
    subprocess.run(["umount", folder], check=True)
    subprocess.run(["fsck.ext4", "-p", f"/dev/{device}"], check=False, capture_output=True)
    subprocess.run(["mount", f"/dev/{device}", folder], check=True)


def remount(folder: Path, how: str) -> None:
    """Make a mounted file system `ro` or `rw`, as soon as nobody has a file open for writing there."""
    deadline = time.monotonic() + 30
    while (
        done := subprocess.run(["mount", "-o", f"remount,{how}", folder], capture_output=True, check=False)
    ).returncode:
        assert time.monotonic() < deadline, done.stderr


# A file system whose server may die


@contextlib.contextmanager
def fuse_mount(server: Path, folder: Path) -> Iterator[Path]:
    """`server` mounted on `folder` through a process, as a share is; both are made."""
    for made in (server, folder):
        made.mkdir(parents=True, exist_ok=True)
    run("bindfs", server, folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def kill_server(folder: Path) -> None:
    """Kill the process behind such a mount, and wait until the mount is dead."""
    found = subprocess.run(["pgrep", "-x", "bindfs"], capture_output=True, text=True, check=False).stdout.split()
    [server] = [int(pid) for pid in found if str(folder) in _command(pid)]
    os.kill(server, signal.SIGKILL)
    until(lambda: not _answers(folder), "the mount's death")


def mount_server_again(server: Path, folder: Path) -> None:
    """What a person does after that."""
    subprocess.run(["umount", "--lazy", folder], check=True)
    subprocess.run(["bindfs", server, folder], check=True)


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _answers(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.stat(folder))  # noqa: PTH116 - `exists` would not tell why
    return False


# Calls that fail


@contextlib.contextmanager
def injected(pid: int, fault: str, *paths: Path) -> Iterator[None]:
    """The kernel answers calls of this process with an error, as strace(1) words it: `fsync:error=EIO`.

    Args:
        paths: only calls on these; without any, all.
    """
    strace = _strace(fault, paths)
    tracer = subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    try:
        if "attached" not in (said := tracer.stderr.readline()):
            pytest.skip(f"strace: {said.strip()}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)  # lets its process go on without it
        tracer.wait(PATIENCE)
        tracer.stderr.close()


def with_fault(fault: str, paths: Sequence[Path], program: str, *arguments: object) -> str:
    """What a Python program says whose calls on these paths fail so."""
    command = [*_strace(fault, paths), sys.executable, "-c", program, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _strace(fault: str, paths: Sequence[Path]) -> list[str]:
    if not shutil.which("strace"):
        pytest.skip("strace is not on this machine")
    only = [word for path in paths for word in ("-P", str(path))]
    call = fault.partition(":")[0]
    return ["strace", "-f", "-o", "/dev/null", *only, "-e", f"trace={call}", "-e", f"inject={fault}"]


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open no further file (EMFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
