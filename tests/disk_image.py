"""Disks whose power can be cut: ext4 in a file, mounted by a loop device. A copy of the file is what the disk holds."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.disks import run
from tests.live import until

_MEMORY = Path("/dev/shm")
#: The journal is written when somebody asks for it and not by itself, so that nothing is on the disk by luck.
_OPTIONS = "loop,commit=300"


@contextlib.contextmanager
def image_folder() -> Iterator[Path]:
    """A folder for images, in memory where there is such a place."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def make_image(file: Path, megabytes: int = 96) -> Path:
    """An empty disk."""
    with file.open("wb") as image:
        image.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", "-F", file)
    return file


def copy_image(file: Path, copy: Path) -> Path:
    """What the disk holds now, though more may have been written that is only in memory."""
    subprocess.run(["cp", "--sparse=always", file, copy], check=True)
    return copy


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The disk, mounted on this folder; whoever holds it open must end before."""
    folder.mkdir(exist_ok=True)
    run("mount", "-o", _OPTIONS, image, folder)
    try:
        yield folder
    finally:
        until(lambda: subprocess.run(["umount", folder], check=False).returncode == 0, f"{folder} being left", 10)
