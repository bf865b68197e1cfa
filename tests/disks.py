"""Real file systems of a test's own; where none can be mounted (no root, a closed container) the test is skipped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


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
