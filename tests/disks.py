"""Real file systems of a test's own; where none can be mounted (no root, a closed container) the test is skipped."""

from __future__ import annotations

import contextlib
import subprocess
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
