"""What lies in the folder and waits, the longest unchanged first. Listing a full folder costs, and is done seldom."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from daemon.inbox.looks import is_ignored

#: A listing that takes longer than this is a long one, seconds of the processor.
_LONG = 0.01
#: After a long listing the next may follow when so many times as long has passed: a twentieth of the time at most.
_REST = 20


class Backlog:
    """The names of one folder.

    A hundred thousand files take most of a second to list, and the bell rings whenever a task ends. Between two
    listings the last one serves: what is taken leaves it, and what is new comes into the next.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, None] = {}
        self._next = -math.inf
        self._put_off = False

    def __len__(self) -> int:
        return len(self._names)

    def refresh(self, *, must: bool) -> bool:
        """List the folder, unless a long listing was made just now and nothing says that it `must` be; whether it was.

        Raises:
            OSError: it cannot be listed.
        """
        self._put_off = not must and time.monotonic() < self._next
        if self._put_off:
            return False
        started = time.thread_time()
        self._names = dict.fromkeys(self._listed())
        took = time.thread_time() - started
        self._next = time.monotonic() + (took * _REST if took > _LONG else 0)
        return True

    def wait(self) -> float:
        """Seconds until the listing that was put off may be made; infinite if none was."""
        return max(self._next - time.monotonic(), 0) if self._put_off else math.inf

    def names(self) -> list[str]:
        """All names, the longest unchanged first."""
        return list(self._names)

    def remove(self, name: str) -> None:
        """`name` has left the folder."""
        self._names.pop(name, None)

    def _listed(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            found = [(_modified(entry), entry.name) for entry in entries if not is_ignored(entry.name)]
        return [name for _, name in sorted(found)]


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0
