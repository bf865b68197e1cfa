"""Recordings under names that change with their content, and what was computed from them, for the most recent ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from daemon.engines.base import Clip
from daemon.engines.clips import BadClip, ClipRules, judged

T = TypeVar("T")

#: The whole recording is loaded; 1.5 clones from all of it, 2 and 2.5 from what they hear first.
RULES_15 = ClipRules(longest=60, heard=60)
RULES = ClipRules(longest=60)

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Voice(Generic[T]):
    """A recording that was heard.

    Attributes:
        file: a copy of exactly the content that was meant, whose name no other content ever has: safe as the key of
            caches that go by the path.
        heard: what was computed from it.
    """

    file: Path
    heard: T


class Voices(Generic[T]):
    """The voices of the last so many recordings, by their content. One thread's."""

    def __init__(self, folder: Path, most: int, rules: ClipRules, hear: Callable[[Path], T]) -> None:
        """Args: folder: for the copies; most: how many are kept; rules: for the clips; hear: computes a voice."""
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():  # by a process that was killed
            left.unlink()
        self._folder, self._most, self._rules, self._hear = folder, most, rules, hear
        self._kept: OrderedDict[str, Voice[T]] = OrderedDict()

    def of(self, clip: Clip) -> Voice[T]:
        """The voice of a recording.

        Raises:
            BadClip: it cannot be read, is no recording of a voice, or is not the one that was meant any more.
        """
        voice = self._kept.pop(clip.sha256, None)
        if voice is None or not voice.file.exists():  # another process with this folder may have begun
            voice = self._new(clip)
        self._kept[clip.sha256] = voice
        self._forget()
        return voice

    def _new(self, clip: Clip) -> Voice[T]:
        file = self._folder / f"{clip.sha256}{clip.file.suffix.lower()}"
        try:
            copy(clip, file)
            judged(file, self._rules, clip.file.name)
            return Voice(file, self._hear(file))
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _forget(self) -> None:
        while len(self._kept) > self._most:
            _, voice = self._kept.popitem(last=False)
            voice.file.unlink(missing_ok=True)


def copy(clip: Clip, target: Path) -> None:
    """Copy a recording and check on the way that it is the one that was meant.

    Raises:
        BadClip: it is not, or cannot be read.
    """
    try:
        with clip.file.open("rb") as source, target.open("wb") as copied:
            digest = _pour(source, copied)
    except OSError as error:
        raise BadClip(f"the prompt '{clip.file.name}' cannot be read: {error.strerror}") from error
    if digest != clip.sha256:
        raise BadClip(f"the prompt '{clip.file.name}' changed while it was read; try again")


def _pour(source: BinaryIO, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()
