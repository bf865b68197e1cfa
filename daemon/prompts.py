"""The catalogue of reference recordings. A voice's name becomes a file here, by looking it up, and nowhere else."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import stat
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from daemon.audio import LARGEST_RECORDING
from daemon.errors import BadRequest, SpeechFailed, StorageUnavailable
from daemon.files import at_once
from daemon.space import trouble

log = logging.getLogger("indexttsd.prompts")

#: Tells a content without reading it: size, time of the last change in ns (which nobody can set back), inode.
Stamp = tuple[int, int, int]

#: When a recording is listened to again that the disk did not give. Seconds.
_AGAIN = 30.0
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class Prompts:
    """The recordings in one folder, looked up anew each time, so that a new file is a new voice at once.

    What was found in a recording holds for its content: a replaced file is a recording nobody listened to yet. Any
    thread may ask; one thread judges.

    Args:
        folder: where they lie; not searched below.
        default: `random`, `round_robin` or the name that speaks when a request names none.
        turn: where round robin goes on, so that it carries on over restarts.
        settle: seconds for which a recording that changed must be unchanged before it is listened to again.

    Attributes:
        default: may be replaced at any time.
    """

    def __init__(self, folder: Path, default: str, turn: int = 0, *, settle: float = 2.0) -> None:
        self._folder = folder
        self.default = default
        self._turns = itertools.count(turn)
        self._settle = settle
        self._faults: dict[str, tuple[Stamp, str | None]] = {}
        self._to_check: deque[Path] = deque()
        self._again: dict[str, float] = {}  # when what the disk did not give is listened to again, monotonic seconds

    def names(self) -> list[str]:
        """Bare file names, sorted."""
        return sorted(self._catalogue())

    def choose(self, wanted: str | None) -> str:
        """The name to use for a request that asked for `wanted`, or for none.

        Raises:
            BadRequest: there is no such prompt, no prompt at all, or it is known to be useless.
            StorageUnavailable: nobody can tell for now.
        """
        files = self._catalogue(must=True)
        if not files:
            raise BadRequest("No prompt audio files found in the 'prompts' directory.")
        if wanted is None and self.default in ("random", "round_robin"):
            return self._any(files)
        name = self.default if wanted is None else wanted
        if name not in files:
            raise BadRequest(f"Specified prompt '{name}' not found.")
        if fault := self._fault_of(files[name]):
            raise BadRequest(f"Specified prompt '{name}' cannot be used: {fault}")
        return name

    def _any(self, files: Mapping[str, Path]) -> str:
        faults = {name: self._fault_of(files[name]) for name in sorted(files)}
        usable = [name for name, fault in faults.items() if not fault]
        if not usable:
            name, fault = next(iter(faults.items()))
            raise BadRequest(f"No prompt can be used; the first of them, '{name}': {fault}")
        if self.default == "random":
            return random.choice(usable)  # noqa: S311 - a voice, not a secret
        return usable[next(self._turns) % len(usable)]

    def uninspected(self) -> tuple[Path, Stamp] | None:
        """A recording whose content nobody listened to yet, for `judge`; None if there is none.

        One that is being copied in is looked at once, and again when it is whole: every block of it changes it.
        """
        if (found := self._next_to_hear()) is None:  # the folder is read once for all, not once for each
            self._to_check.extend(file for _, file in sorted(self._catalogue().items()))
            self._forget_all_but({file.name for file in self._to_check})
            found = self._next_to_hear()
        return found

    def judge(self, file: Path, stamp: Stamp, fault: str | None, advice: Sequence[str] = ()) -> None:
        """Note what was found in a recording that had that stamp before it was listened to.

        Args:
            fault: why it cannot be used, to follow "cannot be used: ". advice: how it could be better, for the log.
        """
        self._again.pop(file.name, None)
        self._faults[file.name] = stamp, fault
        if fault:
            log.warning("the prompt %s cannot be used: %s", file.name, fault, extra={"action": "prompt_refused"})
        for sentence in advice:
            log.info("the prompt %s can be used, but %s", file.name, sentence, extra={"action": "prompt_advice"})

    def postpone(self, file: Path, why: str) -> None:
        """Note that the disk did not give a recording: nothing is known of it, and it is listened to again later."""
        if file.name not in self._again:
            said = {"action": "prompt_unread"}
            log.warning("the prompt %s could not be listened to, and will be again: %s", file.name, why, extra=said)
        self._again[file.name] = time.monotonic() + _AGAIN

    def fault(self) -> str | None:
        """Why a request that names no prompt would be refused now, for the operator; None if it would not."""
        names = self.names()
        if not names:
            return f"there is no recording in {self._folder} (paths.prompts)"
        if self.default in ("random", "round_robin") or self.default in names:
            return None
        return f"prompts.default is {self.default!r}, and {self._folder} has no such file"

    def file(self, name: str) -> Path:
        """The file of a prompt that was chosen earlier.

        Raises:
            SpeechFailed: it is gone.
            StorageUnavailable: the whole folder is, for now.
        """
        try:
            return self._listed()[name]
        except OSError as error:
            what = f"the prompts folder {self._folder} cannot be looked into for now: {error.strerror}"
            raise StorageUnavailable(what) from None
        except KeyError:
            raise SpeechFailed(f"the prompt '{name}' is no longer in the prompts folder") from None

    def _next_to_hear(self) -> tuple[Path, Stamp] | None:
        while self._to_check:
            file = self._to_check[0]
            stamp = _stamp(file)
            if stamp is not None and self._is_to_be_heard(file.name, stamp):
                return file, stamp
            self._to_check.popleft()
        return None

    def _is_to_be_heard(self, name: str, stamp: Stamp) -> bool:
        if time.monotonic() < self._again.get(name, 0):
            return False
        if name not in self._faults:
            return True
        heard, _ = self._faults[name]
        unchanged_for = time.time() - stamp[1] / 1e9
        return heard != stamp and not 0 <= unchanged_for < self._settle

    def _forget_all_but(self, names: set[str]) -> None:
        for gone in self._faults.keys() - names:
            del self._faults[gone]
        for gone in self._again.keys() - names:
            del self._again[gone]

    def _fault_of(self, file: Path) -> str | None:
        """What is known to be wrong with its content of now."""
        stamp, fault = self._faults.get(file.name, (None, None))
        return fault if fault and stamp == _stamp(file) else None

    def _catalogue(self, *, must: bool = False) -> dict[str, Path]:
        try:
            return self._listed()
        except OSError as error:
            if must and (passing := trouble(error, f"the prompts folder {self._folder}", "looked into")):
                raise passing from None
            return {}  # one that was removed holds no prompts

    def _listed(self) -> dict[str, Path]:
        with os.scandir(self._folder) as entries:
            return {entry.name: self._folder / entry.name for entry in entries if _is_recording(entry)}


def _is_recording(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    if name.startswith(".") or not name.lower().endswith(SUFFIXES) or name != name.encode(errors="replace").decode():
        return False
    try:
        return entry.is_file()
    except OSError:  # a link that leads in circles
        return False


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:  # gone meanwhile
        return None
    return found.st_size, found.st_ctime_ns, found.st_ino


def content_hash(file: Path) -> str:
    """SHA-256 of a recording's bytes, hexadecimal.

    Raises:
        SpeechFailed: it cannot be read.
        StorageUnavailable: it cannot for now.
    """
    try:
        with open(file, "rb", opener=at_once) as recording:
            found = os.fstat(recording.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_RECORDING:
                raise SpeechFailed(f"the prompt '{file.name}' cannot be used: it is no file, or larger than 1 GB")
            return hashlib.file_digest(recording, "sha256").hexdigest()
    except OSError as error:
        what = f"the prompt '{file.name}'"
        raise trouble(error, what, "read") or SpeechFailed(f"{what} cannot be read: {error.strerror}") from None
