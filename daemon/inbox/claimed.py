"""Files that were taken and whose tasks have not ended. Whoever holds the lock in this folder owns the inbox."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from daemon.files import lock


@dataclass(frozen=True, slots=True)
class Taken:
    """A dropped file in .claimed/: its identity, the name it was dropped under, and where it lies."""

    uid: str
    name: str
    path: Path


class Claimed:
    """The folder .claimed/ of an inbox."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._folder = inbox / ".claimed"
        self._lock_file = self._folder / ".lock"
        self._lock: int | None = None

    def is_ours(self) -> bool:
        """Whether the lock we hold is still the one in the folder: somebody may have removed the whole inbox."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), self._lock_file.stat())
        except FileNotFoundError:
            return False

    def own(self) -> None:
        """Make the folder and become its owner.

        Raises:
            ConfigError: another daemon owns it.
            OSError: it cannot be made.
        """
        self.release()
        self._folder.mkdir(exist_ok=True)
        self._lock = lock(self._lock_file, f"the inbox {self._inbox}")

    def release(self) -> None:
        """Let another daemon own it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def taken(self, uid: str, name: str) -> Taken:
        """Where the file of this identity and name lies."""
        return Taken(uid, name, self._folder / f"{uid}--{name}")

    def files(self) -> list[Taken]:
        """All that lies here, in the order of their identities."""
        parts = [path.name.partition("--") for path in sorted(self._folder.iterdir())]
        return [self.taken(uid, name) for uid, mark, name in parts if mark]
