"""What the standard library lacks about files: renames that replace nothing, folders with one owner, what is remote."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import grp
import os
import pwd
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from daemon.errors import ConfigError, InUse

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
#: How long a command waits for another one at the same file. Seconds.
_TURN_PATIENCE = 10.0
_libc = ctypes.CDLL(None, use_errno=True)
#: linux/magic.h. FUSE stands for sshfs, rclone and the shares of virtual machines.
_REMOTE = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "SMB",
    0xFE534D42: "SMB",
    0x65735546: "FUSE",
    0x01021997: "9p",
    0x00C36400: "Ceph",
}


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


def to_disk(path: Path, *, follow: bool = False) -> None:
    """Bring a file's content, or the names in a folder, to the disk, whoever wrote them.

    Args:
        follow: whether `path` may be a link, as a folder may that the operator configured.

    Raises:
        OSError: it cannot be opened, or the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Bring a file's content, or the names in a folder, to the disk.

    Raises:
        OSError: the disk failed.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems have no such thing for folders
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, each on the disk when this returns.

    Raises:
        OSError: one cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # to write there is allowed, and to read is not
        to_disk(folder.parent, follow=True)


def make_own(folder: Path) -> None:
    """Make a folder that is ours alone, if it is missing.

    Raises:
        OSError: it cannot be made, or a link has its name: whoever put that there chose what we would move and remove.
    """
    refuse_link(folder)
    folder.mkdir(exist_ok=True)
    refuse_link(folder)


def refuse_link(folder: Path) -> None:
    """See that no link has the name of a folder that is ours alone; it may be missing.

    Raises:
        OSError: a link has its name.
    """
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a symbolic link and must be a folder", str(folder))


def remote_kind(path: Path) -> str | None:
    """The kind of file system that `path` lies on, if others may change it without our kernel's knowing (statfs(2)).

    Raises:
        OSError: it cannot be asked.
    """
    answer = (ctypes.c_long * 64)()  # struct statfs is smaller, and begins with the kind
    if _libc.statfs(os.fsencode(path), ctypes.byref(answer)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return _REMOTE.get(answer[0] & 0xFFFFFFFF)


def numbered(stem: str, suffix: str, count: int) -> str:
    """The name of the `count`-th file that would be called the same, the first of which has no number."""
    return f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}"


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
    """Hold `file` locked until the returned descriptor is closed or this process ends. A link is not followed.

    Raises:
        InUse: another process holds it; `what` names what it guards.
        ConfigError: it cannot be locked at all.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"{what} cannot be used: {file} cannot be opened: {why}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(f"another indexttsd is using {what}; stop it, or configure another folder") from None
    except OSError as error:  # a network file system without locks
        os.close(descriptor)
        raise ConfigError(f"{what} cannot be used: {file} cannot be locked: {error.strerror}") from None
    return descriptor


def at_once(file: str, flags: int) -> int:
    """Open, as `open`'s opener, without waiting for the other end of a pipe."""
    return os.open(file, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def replace(file: Path, content: bytes, *, mode: int, group: int) -> None:
    """Give a file new content in one step: readers see the old or the new. A link of that name is not followed.

    Args:
        group: the number of its group; where we may not give it that, it keeps ours.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as new:  # noqa: PTH123 - of a descriptor
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)  # after the group, so that no other group can read it for a moment
            new.write(content)
            new.flush()
            os.fsync(descriptor)
        os.replace(part, file)  # noqa: PTH105
    finally:
        part.unlink(missing_ok=True)
    to_disk(file.parent, follow=True)


def owners(path: Path) -> tuple[str, str]:
    """Owner and group, for people: a number where it has no name.

    Raises:
        OSError: it cannot be asked.
    """
    status = path.stat()
    owner, group = str(status.st_uid), str(status.st_gid)
    with contextlib.suppress(KeyError):
        owner = pwd.getpwuid(status.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    return owner, group


@contextlib.contextmanager
def turn_at(file: Path) -> Iterator[None]:
    """Be the only one who makes or changes a file, of all who ask for their turn.

    The lock is a file beside it that nobody else may open: a folder can be locked by whoever may read it.

    Raises:
        ConfigError: it cannot be opened, or another process holds it for too long.
    """
    held = file.with_name(f".{file.name}.lock")
    try:
        descriptor = os.open(held, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{file} cannot be changed: {held} cannot be opened: {error.strerror}") from None
    try:
        _wait_for_turn(descriptor, held)
        yield
    finally:
        os.close(descriptor)


def _wait_for_turn(descriptor: int, held: Path) -> None:
    deadline = time.monotonic() + _TURN_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InUse(f"another program holds {held}; lsof {held} tells which") from None
            time.sleep(0.05)
        else:
            return
