"""Finished segments on disk until their file is published: a crash costs one segment, a long text no memory."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from daemon.audio import Audio
from daemon.errors import StorageUnavailable
from daemon.space import trouble

#: Head of a kept segment: magic, sample rate in Hz, SHA-256 of the samples that follow.
_HEAD = struct.Struct("!4sI32s")
_MAGIC = b"seg1"


class Spool:
    """One folder with a shelf for each speech in work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def shelf(self, speech: int) -> Shelf:
        """The shelf of this speech; it may hold what an earlier try finished."""
        return Shelf(self._folder / str(speech))

    def sweep(self, unfinished: Callable[[], set[int]]) -> None:
        """Remove the shelves of all speeches but the unfinished, which are asked for only where there are shelves."""
        try:
            found = list(self._folder.iterdir())
        except OSError:  # what cannot be looked into needs no sweeping
            return
        kept = {str(speech) for speech in unfinished()} if found else set()
        for folder in found:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


class Shelf:
    """The finished segments of one speech, and the plan they follow.

    Raises:
        StorageUnavailable: from any method: the disk takes or gives nothing for now.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plan(self, key: str) -> list[dict[str, Any]] | None:
        """The segments kept for `key` (a hash of all that shapes the sound), or None; another key's are removed."""
        try:
            kept = json.loads((self._folder / "plan.json").read_text())
        except (FileNotFoundError, ValueError):
            kept = {}
        except OSError as error:
            raise self._trouble(error) from None
        if kept.get("key") == key:
            return list(kept["segments"])
        self.clear()
        return None

    def keep_plan(self, key: str, segments: list[dict[str, Any]]) -> None:
        """Keep how the text was cut: a resume never cuts again."""
        self._write("plan.json", json.dumps({"key": key, "segments": segments}).encode())

    def keep(self, index: int, audio: Audio) -> None:
        """Keep a finished segment."""
        digest = hashlib.sha256(audio.pcm).digest()
        self._write(f"{index}.pcm", _HEAD.pack(_MAGIC, audio.sample_rate, digest) + audio.pcm)

    def segment(self, index: int) -> Audio | None:
        """A kept segment, or None when it is missing or damaged."""
        try:
            data = (self._folder / f"{index}.pcm").read_bytes()
            magic, sample_rate, digest = _HEAD.unpack_from(data)
        except (FileNotFoundError, struct.error):
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # it is lost with its place on the disk, and has another when spoken again
                return None
            raise self._trouble(error) from None
        pcm = data[_HEAD.size :]
        whole = magic == _MAGIC and hashlib.sha256(pcm).digest() == digest
        return Audio(pcm, sample_rate) if whole else None

    def missing(self, count: int) -> Iterator[int]:
        """Which of `count` segments are still to be spoken, in order."""
        return (index for index in range(count) if self.segment(index) is None)

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        # No fsync: a torn segment is recognised by its hash and spoken again.
        part = self._folder / f"{name}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.replace(part, self._folder / name)  # noqa: PTH105
        except OSError as error:
            raise self._trouble(error) from None

    def _trouble(self, error: OSError) -> Exception:
        spool = self._folder.parent
        if os.access(spool / ".", os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            return trouble(error, f"the spool {spool}") or error
        # All of the spool, not this shelf: the next speech would fare no better.
        return StorageUnavailable(f"the spool {spool} cannot be used for now: {error.strerror}")
