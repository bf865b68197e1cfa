"""Where dropped files end: done/ and failed/, each with a note beside it. Nothing is ever overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

from daemon import strict_json
from daemon.files import make_own, numbered, refuse_link, rename_new, to_disk

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
        self.folder = folder
        self._note_suffix = note_suffix

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    def prepare(self) -> None:
        """Make the folder, and sweep what a dead daemon left in it.

        Raises:
            OSError
        """
        make_own(self.folder)
        with os.scandir(self.folder) as entries:
            ours = [entry for entry in entries if entry.name.startswith(_TEMPORARY_PREFIX)]
            litter = [Path(entry.path) for entry in ours if entry.is_file(follow_symlinks=False)]
        for path in litter:
            path.unlink()

    def check(self) -> None:
        """See that nobody put a link in the folder's place.

        Raises:
            OSError: somebody did.
        """
        refuse_link(self.folder)

    def free_name(self, name: str) -> str:
        """`name`, shortened if need be, or with -2, -3 ... when it or its note is taken."""
        stem, suffix = os.path.splitext(shortened(name))  # noqa: PTH122 - a name, not a path
        free = 1
        while self._is_taken(numbered(stem, suffix, free)):
            free *= 2
        # Whoever always drops the same name has taken thousands in a row: halve the way to the first free one.
        taken = free // 2
        while free - taken > 1:
            between = (free + taken) // 2
            free, taken = (free, between) if self._is_taken(numbered(stem, suffix, between)) else (between, taken)
        return numbered(stem, suffix, free)

    def put(self, source: Path, name: str, note: object) -> None:
        """Move `source` here as `name`, its note first: whoever sees the file finds the note beside it.

        Raises:
            OSError: it could not be moved; then there is no note either.
        """
        self.leave_note(name, note)
        self.receive(source, name)

    def leave_note(self, name: str, note: object) -> None:
        """Write the note of `name`.

        Raises:
            OSError: it could not be written, and nothing of it is left; FileExistsError: its name is taken.
        """
        make_own(self.folder)
        part = self.folder / f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}.part"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(strict_json.dumps(note) + "\n")
                file.flush()
                os.fsync(file.fileno())
            rename_new(str(part), str(self._note(name)))
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def receive(self, source: Path, name: str) -> None:
        """Move the file here whose note lies here already.

        Raises:
            OSError: it could not be moved; its note is withdrawn.
        """
        try:
            rename_new(str(source), str(self.folder / name))
        except OSError:
            self.withdraw(name)
            raise

    def expects(self, name: str) -> bool:
        """Whether the note of `name` lies here, and the file does not."""
        return os.path.lexists(self._note(name)) and not os.path.lexists(self.folder / name)

    def withdraw(self, name: str) -> None:
        """Remove the note that was written for `name`, unless the file is there."""
        if self.expects(name):
            self._note(name).unlink()

    def keep(self) -> None:
        """Bring all that came in to the disk, unless somebody removed the folder with it.

        Raises:
            OSError
        """
        with contextlib.suppress(FileNotFoundError):
            to_disk(self.folder)

    def _note(self, name: str) -> Path:
        return self.folder / (name + self._note_suffix)

    def _is_taken(self, name: str) -> bool:
        return os.path.lexists(self.folder / name) or os.path.lexists(self._note(name))


def shortened(name: str) -> str:
    """A name of at most 200 bytes of UTF-8 that keeps its suffix; what is not UTF-8 becomes U+FFFD.

    Long names that differ only in their ends stay different: they name output folders, too.
    """
    name = os.fsencode(name).decode(errors="replace")
    if len(name.encode()) <= _NAME_BYTES:
        return name
    mark = "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    room = _NAME_BYTES - len(suffix.encode()) - len(mark)
    if room < 1:  # a suffix that long is none
        stem, suffix, room = name, "", _NAME_BYTES - len(mark)
    return stem.encode()[:room].decode(errors="ignore") + mark + suffix
