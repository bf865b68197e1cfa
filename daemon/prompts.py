"""The catalogue of reference recordings. A voice's name becomes a file here, by looking it up, and nowhere else."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from pathlib import Path

from daemon.errors import BadRequest, SpeechFailed

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class Prompts:
    """The recordings in one folder, looked up anew each time, so that a new file is a new voice at once.

    Args:
        folder: where they lie; not searched below.
        default: `random`, `round_robin` or the name that speaks when a request names none.
        turn: where round robin goes on, so that it carries on over restarts.
    """

    def __init__(self, folder: Path, default: str, turn: int = 0) -> None:
        self._folder = folder
        self._default = default
        self._turns = itertools.count(turn)

    def names(self) -> list[str]:
        """Bare file names, sorted."""
        return sorted(self._catalogue())

    def choose(self, wanted: str | None) -> str:
        """The name to use for a request that asked for `wanted`, or for none.

        Raises:
            BadRequest: there is no such prompt, or no prompt at all.
        """
        names = self.names()
        if not names:
            raise BadRequest("No prompt audio files found in the 'prompts' directory.")
        if wanted is None and self._default == "random":
            return random.choice(names)  # noqa: S311 - a voice, not a secret
        if wanted is None and self._default == "round_robin":
            return names[next(self._turns) % len(names)]
        name = self._default if wanted is None else wanted
        if name not in names:
            raise BadRequest(f"Specified prompt '{name}' not found.")
        return name

    def fault(self) -> str | None:
        """Why a request that names no prompt would be refused now, for the operator; None if it would not."""
        names = self.names()
        if not names:
            return f"there is no recording in {self._folder} (paths.prompts)"
        if self._default in ("random", "round_robin") or self._default in names:
            return None
        return f"prompts.default is {self._default!r}, and {self._folder} has no such file"

    def file(self, name: str) -> Path:
        """The file of a prompt that was chosen earlier.

        Raises:
            SpeechFailed: it is gone.
        """
        try:
            return self._catalogue()[name]
        except KeyError:
            raise SpeechFailed(f"the prompt '{name}' is no longer in the prompts folder") from None

    def _catalogue(self) -> dict[str, Path]:
        try:
            with os.scandir(self._folder) as entries:
                return {entry.name: self._folder / entry.name for entry in entries if _is_recording(entry)}
        except OSError:  # a folder that was removed holds no prompts
            return {}


def _is_recording(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    if name.startswith(".") or not name.lower().endswith(SUFFIXES) or name != name.encode(errors="replace").decode():
        return False
    try:
        return entry.is_file()
    except OSError:  # a link that leads in circles
        return False


def content_hash(file: Path) -> str:
    """SHA-256 of a recording's bytes, hexadecimal.

    Raises:
        SpeechFailed: it cannot be read.
    """
    try:
        with file.open("rb") as recording:
            return hashlib.file_digest(recording, "sha256").hexdigest()
    except OSError as error:
        raise SpeechFailed(f"the prompt '{file.name}' cannot be read: {error.strerror}") from None
