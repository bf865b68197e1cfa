"""Opens what lies below a folder, and nothing else, whatever is swapped for a link meanwhile.

The kernel decides, in one call, on the folder's own descriptor: a path that is looked at first and opened afterwards
can be another one by then.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from daemon.files import sync

#: openat2(2) has no wrapper in the C library of Debian 12; its number is the same on x86-64 and on arm64.
_OPENAT2 = 437
# linux/openat2.h
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
#: A kernel before 5.6, a filter of system calls that does not know it, something that is renamed all the time.
_NOT_THIS_WAY = (errno.ENOSYS, errno.EPERM, errno.EAGAIN)
_TRIES = 8
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(folder: int, path: str, flags: int) -> int:
    """A descriptor of what lies at `path` below the folder of this descriptor.

    Args:
        path: plain names with single slashes between them; "" is the folder itself.
        flags: as open(2) takes them, without O_CREAT.

    Raises:
        OSError: as open(2). EXDEV: the path is no plain names; ELOOP or ENOTDIR: a part of it, or its end, is a link.
    """
    parts = _parts(path)
    try:
        return in_one_call(folder, parts, flags)
    except OSError as error:
        if error.errno not in _NOT_THIS_WAY:
            raise
    return part_by_part(folder, parts, flags)


def make_beneath(folder: int, path: str) -> int:
    """A descriptor of the folder at `path` below that of this descriptor, made with all on the way if it is missing.

    Raises:
        OSError: as `open_beneath` and mkdir(2).
    """
    try:
        return open_beneath(folder, path, _FOLDER)
    except FileNotFoundError:
        pass
    reached = os.dup(folder)
    for part in _parts(path):
        with _closed(reached):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=reached)
                sync(reached)  # a whole file in a folder that a power cut takes away is lost as well
            reached = open_beneath(reached, part, _FOLDER)
    return reached


def in_one_call(folder: int, parts: list[str], flags: int) -> int:
    """`open_beneath` by openat2(2), Linux 5.6."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE)
    path = os.fsencode("/".join(parts) or ".")
    for _ in range(_TRIES):
        descriptor: int = _libc.syscall(_OPENAT2, folder, path, how, len(how))
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "/".join(parts))


def part_by_part(folder: int, parts: list[str], flags: int) -> int:
    """`open_beneath` by one open(2) for each part, none of which may be a link."""
    *way, last = parts or ["."]
    reached = os.dup(folder)
    for part in way:
        with _closed(reached):
            reached = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=reached)
    with _closed(reached):
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=reached)


def _parts(path: str) -> list[str]:
    # A NUL would end the path for the kernel and not for us.
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise OSError(errno.EXDEV, "it is no path of plain names", path)
    return parts


@contextlib.contextmanager
def _closed(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
