"""Is a dropped file complete? Two looks that agree, and nobody who has it open for writing."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import BadRequest

#: Where it cannot be known whether somebody still writes, unreadable JSON is looked at again this long. Seconds.
GRACE = 30.0
_UNFINISHED_SUFFIXES = (".tmp", ".part", ".filepart", ".crdownload", ".swp", "~")
_OURS = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a name in the folder saw; two equal looks mean that nothing changed between them."""

    inode: int
    size: int
    modified_ns: int
    regular: bool
    kind: str

    @classmethod
    def at(cls, path: Path) -> Look | None:
        """A look at `path` itself, links not followed; None when it is gone.

        Raises:
            OSError: it cannot be told whether it is there.
        """
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        regular = stat.S_ISREG(found.st_mode)
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, regular, _kind(found.st_mode))


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe (FIFO)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def is_ignored(name: str) -> bool:
    """Whether a name in the folder is nobody's drop: hidden, unfinished by its name, or ours."""
    return name.startswith(".") or name.endswith(_UNFINISHED_SUFFIXES) or name in _OURS


def is_json(name: str) -> bool:
    """Whether a file of this name is one that is read."""
    return name.lower().endswith(".json")


class Settling:
    """Remembers the last look at each name, by the monotonic clock: a jump of the wall clock settles nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[Look, float]] = {}

    def settled(self, name: str, look: Look) -> bool:
        """Whether `name` has looked the same for long enough."""
        now = time.monotonic()
        last, since = self._seen.get(name, (None, now))
        if last != look:
            since = now
        self._seen[name] = (look, since)
        return now - since >= self._seconds

    def wait(self) -> float:
        """Seconds until another look may settle something; infinite when nothing is under way."""
        now = time.monotonic()
        remaining = [since + self._seconds - now for _, since in self._seen.values()]
        # What has settled and still lies there is being written, or waits for room: look again in a while.
        return max(min(remaining, default=math.inf), 0.25)

    def young(self, name: str) -> bool:
        """Whether `name` looked different, or was not there, less than GRACE seconds ago."""
        return name in self._seen and time.monotonic() - self._seen[name][1] < GRACE

    def forget(self, name: str) -> None:
        """`name` is no longer in the folder."""
        self._seen.pop(name, None)

    def keep_only(self, names: set[str]) -> None:
        """Forget all names but these."""
        for name in self._seen.keys() - names:
            del self._seen[name]


def being_written(path: Path) -> bool | None:
    """Whether anybody has the file open for writing; None where that cannot be known.

    A read lease is refused while a writer has the file open (fcntl(2), F_SETLEASE). Network file systems have no
    leases, and another user's file gives none without CAP_LEASE.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Whoever opens the file while the lease is held has the kernel signal us; the usual SIGIO would end the daemon,
        # SIGURG is ignored unless somebody asks for it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def read_dropped(path: Path, max_bytes: int) -> bytes:
    """A dropped file's bytes.

    Raises:
        BadRequest: it may not be read, or is larger than `max_bytes`.
        OSError: something is wrong with the machine, not with the file; trying again may help.
    """
    try:
        # O_NONBLOCK: what was a file a moment ago may be a pipe now, and opening one would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
            raise
        raise BadRequest(f"the file cannot be read: {error.strerror}") from None
    if len(data) > max_bytes:
        raise BadRequest(f"the file is larger than {max_bytes} bytes (server.max_body_bytes)")
    return data
