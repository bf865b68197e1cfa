"""Where dropped files end: done/ and failed/, each with a note beside it. Nothing is ever overwritten."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from daemon import strict_json
from daemon.files import rename_new

#: Longest file name that is kept whole, in bytes; longer ones are shortened so that the note's name fits too.
_NAME_BYTES = 200
_TEMPORARY_PREFIX = ".indexttsd-"


class Archive:
    """One of the two folders.

    Args:
        folder: done/ or failed/.
        note_suffix: what the note's name adds to the file's.
    """

    def __init__(self, folder: Path, note_suffix: str) -> None:
        self._folder = folder
        self._note_suffix = note_suffix

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self._folder.name

    def prepare(self) -> None:
        """Make the folder, and sweep what a dead daemon left in it."""
        self._folder.mkdir(exist_ok=True)
        for litter in self._folder.glob(f"{_TEMPORARY_PREFIX}*"):
            litter.unlink()

    def free_name(self, name: str) -> str:
        """`name`, shortened if need be, or with -2, -3 ... when it or its note is taken."""
        stem, suffix = os.path.splitext(shortened(name))  # noqa: PTH122 - a name, not a path
        for count in range(1, 1_000_000):
            candidate = f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}"
            if not any(os.path.lexists(self._folder / taken) for taken in (candidate, candidate + self._note_suffix)):
                return candidate
        raise FileExistsError(f"{self._folder} holds a million files named {name!r}")

    def put(self, source: Path | None, name: str, note: object) -> None:
        """Move `source` here as `name`, its note first: whoever sees the file finds the note beside it.

        Args:
            source: None when the file is gone and only its note can be left.

        Raises:
            OSError: it could not be moved; then there is no note either.
        """
        self._folder.mkdir(exist_ok=True)
        self._write(name + self._note_suffix, note)
        if source is None:
            return
        try:
            rename_new(str(source), str(self._folder / name))
        except OSError:
            self.withdraw(name)
            raise

    def withdraw(self, name: str) -> None:
        """Remove the note that was written for `name`, unless the file is there."""
        if not os.path.lexists(self._folder / name):
            (self._folder / (name + self._note_suffix)).unlink(missing_ok=True)

    def _write(self, name: str, note: object) -> None:
        part = self._folder / f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}.part"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(strict_json.dumps(note) + "\n")
                file.flush()
                os.fsync(file.fileno())
            rename_new(str(part), str(self._folder / name))
        except OSError:
            part.unlink(missing_ok=True)
            raise


def shortened(name: str) -> str:
    """A name of at most 200 bytes of UTF-8 that keeps its suffix; what is not UTF-8 becomes U+FFFD."""
    name = os.fsencode(name).decode(errors="replace")
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    room = _NAME_BYTES - len(suffix.encode())
    if room < 1:  # a suffix that long is none
        return name.encode()[:_NAME_BYTES].decode(errors="ignore")
    return stem.encode()[:room].decode(errors="ignore") + suffix
