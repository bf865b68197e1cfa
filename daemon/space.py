"""Room on the disks: the daemon stops taking work before a disk is full, not after."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from daemon.errors import StorageUnavailable

#: On a small file system this share of it must stay free instead of `retention.min_free_mb`.
_SMALL_SHARE = 0.05


#: What a disk says that may pass: nobody's task is at fault, and all of it can be tried again.
_PASSING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE),
    *(errno.ENFILE, errno.EMFILE, errno.ENOMEM),
    # The server of a network file system, or the process behind a FUSE mount, is gone.
    *(errno.ENOTCONN, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)


def trouble(error: OSError, what: str, verb: str = "written") -> StorageUnavailable | None:
    """The trouble of the machine that this error stands for; None if it is about this one file.

    Args:
        what: what could not be used, as the beginning of a sentence. verb: what could not be done with it.
    """
    return StorageUnavailable(f"{what} cannot be {verb} for now: {error.strerror}") if error.errno in _PASSING else None


class Space:
    """Watches the file systems of these folders.

    Args:
        folders: where the daemon writes.
        min_free_mb: MB that must stay free on each, or a twentieth of it where that is less; 0: all may be used.
    """

    def __init__(self, folders: Sequence[Path], min_free_mb: int) -> None:
        self._folders = list(folders)
        self.allow(min_free_mb)

    def allow(self, min_free_mb: int) -> None:
        """From now on so much must stay free."""
        self._min_free = min_free_mb << 20

    def shortage(self) -> str | None:
        """Which disk has too little room, as a sentence; None if none has."""
        return next((found for folder in self._folders if (found := self._shortage(folder))), None)

    def require(self) -> None:
        """Pass if there is room everywhere.

        Raises:
            StorageUnavailable
        """
        if found := self.shortage():
            raise StorageUnavailable(found)

    def _shortage(self, folder: Path) -> str | None:
        try:
            disk = os.statvfs(folder)
        except OSError:  # whoever writes there says better what is wrong
            return None
        free = disk.f_bavail * disk.f_frsize
        needed = min(self._min_free, int(disk.f_blocks * disk.f_frsize * _SMALL_SHARE))
        if free <= needed and disk.f_blocks:
            left, kept = (f"{size / (1 << 20):.1f} MB" for size in (free, needed))
            return f"the disk of {folder} has {left} left, and {kept} must stay free (retention.min_free_mb); make room"
        if disk.f_files and not disk.f_favail:
            return f"the disk of {folder} can hold no more files; remove some"
        return None
