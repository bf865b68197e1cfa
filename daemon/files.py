"""Two things about files that the standard library lacks: a rename that replaces nothing, and one owner per folder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path

from daemon.errors import ConfigError, InUse

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(source: str, target: str, *, source_folder: int = _AT_FDCWD, target_folder: int = _AT_FDCWD) -> None:
    """Rename without ever replacing anything, in one step where the file system can (renameat2(2)).

    Args:
        source, target: paths, relative to the folders' descriptors when those are given.

    Raises:
        FileExistsError: the target is there already.
        OSError: as rename(2).
    """
    done = _libc.renameat2(source_folder, os.fsencode(source), target_folder, os.fsencode(target), _RENAME_NOREPLACE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), target)
    # A file system without that flag (NFS and some FUSE): look, then rename.
    if is_there(target, target_folder):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, src_dir_fd=_or_none(source_folder), dst_dir_fd=_or_none(target_folder))


def is_there(path: str, folder: int) -> bool:
    """Whether a name is taken in the folder of this descriptor, be it by a link that leads nowhere."""
    try:
        os.stat(path, dir_fd=_or_none(folder), follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _or_none(folder: int) -> int | None:
    return None if folder == _AT_FDCWD else folder


def lock(file: Path, what: str) -> int:
    """Hold `file` locked until the returned descriptor is closed or this process ends.

    Raises:
        InUse: another process holds it; `what` names what it guards.
        ConfigError: it cannot be locked at all.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(f"{what} cannot be used: {file} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(f"another indexttsd is using {what}; stop it, or configure another folder") from None
    except OSError as error:  # a network file system without locks
        os.close(descriptor)
        raise ConfigError(f"{what} cannot be used: {file} cannot be locked: {error.strerror}") from None
    return descriptor
