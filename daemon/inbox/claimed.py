"""Files that were taken and whose tasks have not ended. Whoever holds the lock in this folder owns the inbox."""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import ConfigError
from daemon.files import lock, make_own, rename_new, to_disk
from daemon.inbox import sticky
from daemon.space import trouble

_NAME = re.compile(r"(?P<uid>[0-9a-f]{32})(?P<refused>-refused)?--(?P<name>.+)", re.DOTALL)
_LOCK = ".lock"
_PROBE = ".indexttsd-probe"
_ONE_MOUNT = "files are renamed between them, so mount the whole inbox (in a unit: one entry of ReadWritePaths=)"


@dataclass(frozen=True, slots=True)
class Taken:
    """A dropped file in .claimed/.

    Attributes:
        uid: its identity.
        name: the name it was dropped under; of a refused one, the name it is to have in failed/.
        path: where it lies.
        refused: whether it is on its way to failed/. It stands in the file's own name, so that whoever goes on after a
            crash knows whose note it is that lies there.
    """

    uid: str
    name: str
    path: Path
    refused: bool = False


class Claimed:
    """The folder .claimed/ of an inbox.

    Attributes:
        unread: what lies there and is not in the ledger, or not known to be, by uid.
    """

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self.folder = inbox / ".claimed"
        self._lock_file = self.folder / _LOCK
        self._lock: int | None = None
        self.unread: dict[str, Taken] = {}

    def is_ours(self) -> bool:
        """Whether the lock we hold is still the one in the folder: somebody may have removed the whole inbox.

        A link is followed neither in the folder's place nor in the lock's: it may lead to our lock among other files.
        """
        if self._lock is None:
            return False
        try:
            folder, there = self.folder.lstat(), self._lock_file.lstat()
        except FileNotFoundError:
            return False
        try:
            return stat.S_ISDIR(folder.st_mode) and os.path.samestat(os.fstat(self._lock), there)
        except OSError:  # it was on a file system that is gone, and another is mounted there now
            return False

    def own(self) -> None:
        """Make the folder, become its owner, and find what a dead daemon left there.

        Raises:
            ConfigError: another daemon owns it.
            OSError: it cannot be made.
        """
        self.release()
        sticky.protect(self._inbox)
        make_own(self.folder)
        self._make_lock_file()
        self._lock = lock(self._lock_file, f"the inbox {self._inbox}")
        self.unread = {taken.uid: taken for taken in self._files()}

    def _make_lock_file(self) -> None:
        """A full disk is no reason to end, as a lock that cannot be had is: only what may pass is raised here."""
        try:
            os.close(os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
        except OSError as error:
            if trouble(error, ""):
                raise

    def check_moves(self, *archives: Path) -> None:
        """See that files can be moved in and out.

        Raises:
            ConfigError: one of these folders is another file system, or another mount of the same.
            OSError: files cannot be made or moved at all.
        """
        probe = self.folder / _PROBE
        for folder in (self._inbox, *archives):
            (folder / _PROBE).unlink(missing_ok=True)
            try:
                probe.touch()
                probe.rename(folder / _PROBE)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise ConfigError(f"{self.folder} and {folder} are not one file system; {_ONE_MOUNT}") from None
                if not trouble(error, ""):
                    raise
            finally:
                for path in (probe, folder / _PROBE):
                    path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let another daemon own it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def taken(self, uid: str, name: str, *, refused: bool = False) -> Taken:
        """Where the file of this identity and name lies."""
        return Taken(uid, name, self.folder / f"{uid}{'-refused' if refused else ''}--{name}", refused)

    def claim(self, path: Path, name: str) -> Taken:
        """Move a file here under a new identity; it is on the disk after `keep`.

        Raises:
            FileNotFoundError: its owner took it back.
            OSError
        """
        taken = self.taken(uuid.uuid4().hex, name)
        path.rename(taken.path)
        self.unread[taken.uid] = taken
        return taken

    def give_back(self, taken: Taken, path: Path) -> None:
        """Move a file back to where it was claimed.

        Raises:
            FileExistsError: its name is taken.
            OSError
        """
        rename_new(str(taken.path), str(path))
        del self.unread[taken.uid]

    def marked(self, taken: Taken, name: str, *, refused: bool) -> Taken:
        """The same file, renamed to say that it is on its way to failed/ as `name`, or no longer.

        Raises:
            OSError
        """
        renamed = self.taken(taken.uid, name, refused=refused)
        taken.path.rename(renamed.path)
        self.unread[taken.uid] = renamed
        return renamed

    def keep(self) -> None:
        """Bring to the disk what was moved in and out, here first: a file may be in two places then, never in none.

        Raises:
            OSError
        """
        to_disk(self.folder)
        to_disk(self._inbox, follow=True)

    def _files(self) -> list[Taken]:
        found = [_NAME.fullmatch(path.name) for path in sorted(self.folder.iterdir())]
        return [self.taken(match["uid"], match["name"], refused=bool(match["refused"])) for match in found if match]

    def strangers(self) -> list[Path]:
        """What lies here and is not ours."""
        return [
            path
            for path in self.folder.iterdir()
            if path.name not in (_LOCK, _PROBE) and not _NAME.fullmatch(path.name)
        ]
