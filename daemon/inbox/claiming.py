"""From the folder into .claimed/: what is complete is moved there, the longest unchanged first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from daemon import strict_json
from daemon.errors import BadRequest
from daemon.files import to_disk
from daemon.inbox.archive import shortened
from daemon.inbox.backlog import Backlog
from daemon.inbox.claimed import Claimed, Taken
from daemon.inbox.looks import Look, Settling, being_written, is_json, read_dropped
from daemon.inbox.stuck import Stuck, blaming_the_disk
from daemon.life import Sign

#: When one look at the folder has found so many files that must lie longer, the rest is not looked at yet.
_LOOKS = 5000
_NO_FOLDERS = (
    "it is a folder, only files are taken here, and the daemon's user may not write to it, so it cannot be moved to "
    "failed/ either; remove it, and put its files here one by one"
)


class Claiming:
    """Looks at the files of one folder, and claims those that are complete.

    Args:
        max_bytes: largest file that is read.
    """

    def __init__(self, folder: Path, claimed: Claimed, max_bytes: int, sign: Sign) -> None:
        self._folder = folder
        self._claimed = claimed
        self._max_bytes = max_bytes
        self._settling = Settling(0)
        self._remote = False
        self._stuck = Stuck(sign)
        self.backlog = Backlog(folder)

    def begin(self, settle_seconds: float, *, remote: bool) -> None:
        """Start anew with a folder that may be another than before.

        Args:
            settle_seconds: how long a file must lie unchanged.
            remote: whether somebody may write there without our kernel's knowing.
        """
        self._settling = Settling(settle_seconds)
        self._remote = remote

    def refresh(self, *, must: bool) -> None:
        """See what lies in the folder; how, and raises, as `Backlog.refresh`."""
        if self.backlog.refresh(must=must):
            self._settling.keep_only(set(self.backlog.names()))

    def wait(self) -> float:
        """Seconds until another look may find something complete; infinite when nothing is under way."""
        return self._settling.wait()

    def complete(self) -> Iterator[Taken]:
        """Claim the complete files one after the other; they are on the disk after `Claimed.keep`.

        Raises:
            StorageUnavailable: nothing can be moved for now.
        """
        unsettled = 0
        for name in self.backlog.names():
            taken = None
            with self._stuck.told(name):
                look = Look.at(self._folder / name)
                if look is None:
                    self.backlog.remove(name)
                elif self._settling.settled(name, look):
                    taken = self._claim(name, look)
                else:
                    unsettled += 1
            if taken:
                self._settling.forget(name)
                self.backlog.remove(name)
                yield taken
            if unsettled == _LOOKS:
                break

    def _claim(self, name: str, look: Look) -> Taken | None:
        """Claim a file that lies still, unless somebody writes it or it seems cut off."""
        if look.regular:
            path = self._folder / name
            writing = self._being_written(path)
            if writing or (writing is None and is_json(name) and self._seems_cut(name, path)):
                return None
        try:
            with blaming_the_disk(self._folder):
                return self._move(name, look)
        except FileNotFoundError:  # its owner took it back
            return None

    def _move(self, name: str, look: Look) -> Taken | None:
        path = self._folder / name
        if look.regular:
            self._to_disk(path)
        try:
            taken = self._claimed.claim(path, shortened(name))
        except PermissionError:
            # Whoever moves a folder changes its `..`, and so needs a right to the folder itself: a file moves without.
            if look.kind == "a directory" and not os.access(path, os.W_OK):
                raise PermissionError(_NO_FOLDERS) from None
            raise
        return None if self._gave_back(taken, look, path) else taken

    def _being_written(self, path: Path) -> bool | None:
        """As `being_written`; a lease tells nothing of those who write on the other side of a network."""
        writing = being_written(path)
        return None if self._remote and writing is False else writing

    def _seems_cut(self, name: str, path: Path) -> bool:
        """Whether a file of which nobody knows if it is written is no JSON, and is that not for long."""
        if not self._settling.young(name):
            return False
        try:
            strict_json.parse(read_dropped(path, self._max_bytes))
        except BadRequest:
            return True
        return False

    def _to_disk(self, path: Path) -> None:
        """Bring the content to the disk, which its producer may not have done: what is claimed is never lost.

        Where that failed once and is tried again, the kernel may claim success. What it then hands out goes into the
        ledger, so a task is not lost by that.
        """
        try:
            to_disk(path)
        except PermissionError:  # it cannot be read either, and will be refused
            return

    def _gave_back(self, taken: Taken, look: Look, path: Path) -> bool:
        """Give back what somebody opened between the looks and the move: it is not ours yet; whether that was done."""
        if Look.at(taken.path) == look and not (look.regular and being_written(taken.path)):
            return False
        try:
            self._claimed.give_back(taken, path)
        except FileExistsError:  # the next file of that name is there already: this one waits in .claimed/
            return False
        return True
