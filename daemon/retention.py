"""What is not kept for ever: tasks that ended long ago, and dropped files in done/. Audio is never touched."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from daemon.config import RetentionConfig
from daemon.errors import MachineTrouble, StorageUnavailable
from daemon.files import is_there
from daemon.store import Store, count_forgettable

log = logging.getLogger("indexttsd.retention")

_DAY = 24 * 3600
#: How often a running daemon prunes. Seconds.
_PERIOD = 3600
#: Most files removed between two looks for a stop.
_BITE = 1000
#: How long the ledger is left to others between two bites. Seconds.
_BREATH = 0.02
#: What the note beside a file in done/ is called.
_NOTE = ".result.json"


class Pruned(NamedTuple):
    """How many tasks were forgotten, and how many files removed from done/, their notes not counted."""

    tasks: int
    files: int


class SteadyClock:
    """The time of day, in seconds since the epoch, that never advances faster than time passes.

    So a clock that jumps ahead while the daemon runs makes nothing old. It is no help against one that is wrong at the
    start: what was kept for a month by a clock that then jumped to the next year is old.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - _since_boot()

    def __call__(self) -> float:
        """The earlier of the time of day and of the start's with what has passed since."""
        return min(time.time(), self._ahead + _since_boot())


def _since_boot() -> float:
    """Seconds, those asleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DoneFolder:
    """The folder done/ of an inbox: files, each with a note beside it. No link is followed.

    A file's age is its note's, for a dropped file keeps the times it came with. What has no note is not ours.

    Raises:
        StorageUnavailable: it cannot be looked through, or nothing can be removed from it, for now.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, before: float) -> int:
        """How many files came here before this moment (seconds since the epoch)."""
        return self._at_folder(lambda folder: sum(1 for _ in _old(folder, before)))

    def prune(self, before: float) -> int:
        """Remove some of them and their notes; how many, 0 if there is none."""
        return self._at_folder(lambda folder: _remove(folder, list(itertools.islice(_old(folder, before), _BITE))))

    def _at_folder(self, work: Callable[[int], int]) -> int:
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # nothing was ever done
            return 0
        except OSError as error:
            raise self._trouble(error) from None
        try:
            return work(folder)
        except OSError as error:
            raise self._trouble(error) from None
        finally:
            os.close(folder)

    def _trouble(self, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(f"{self._folder} cannot be pruned: {error.strerror}")


def _old(folder: int, before: float) -> Iterator[str]:
    """The names whose notes are older, those too whose file has gone: a kill came between the two removals."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.removesuffix(_NOTE)
            if name == entry.name or is_there(entry.name + _NOTE, folder):  # a dropped file may be called like a note
                continue
            note = _regular(folder, entry.name)
            if note and note.st_mtime < before and (_regular(folder, name) or not is_there(name, folder)):
                yield name


def _regular(folder: int, name: str) -> os.stat_result | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _remove(folder: int, names: Sequence[str]) -> int:
    """The note last: without it nobody would know that the file is ours."""
    for name in names:
        for path in (name, name + _NOTE):
            with contextlib.suppress(FileNotFoundError):  # somebody else tidies up too
                os.unlink(path, dir_fd=folder)
    return len(names)


class Retention:
    """Prunes what the configuration does not want to keep, in bites, so that nobody waits for it.

    Args:
        now: the time of day in seconds since the epoch.

    Attributes:
        config: what is kept; may be replaced at any time.
    """

    def __init__(
        self, config: RetentionConfig, store: Store, inbox: Path, now: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self._store = store
        self._done = DoneFolder(inbox / "done")
        self._now = now
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()

    def run(self) -> None:
        """Prune now and then every hour, until stopped."""
        while not self._stop.is_set():
            try:
                self._tell(self.prune())
            except MachineTrouble as error:
                log.warning("nothing more is pruned for now: %s", error, extra={"action": "prune_failed"})
            self._stop.wait(_PERIOD)

    def _tell(self, pruned: Pruned) -> None:
        if any(pruned):
            log.info("forgot %d tasks, removed %d files from done/", *pruned, extra={"action": "pruned"})

    def prune(self) -> Pruned:
        """Prune all there is, or until stopped.

        Raises:
            MachineTrouble, LedgerBroken, LedgerDamaged
        """
        tasks, files = moments(self.config, self._now())
        return Pruned(self._all(self._store.prune, tasks), self._all(self._done.prune, files))

    def _all(self, bite: Callable[[float], int], before: float | None) -> int:
        total = 0
        while before is not None and not self._stop.is_set() and (count := bite(before)):
            total += count
            self._stop.wait(_BREATH)
        return total


def moments(config: RetentionConfig, now: float) -> tuple[float | None, float | None]:
    """Before which moments tasks and files in done/ are old; None: they are kept."""
    tasks, files = config.tasks_days, config.done_files_days
    return None if tasks is None else now - tasks * _DAY, None if files is None else now - files * _DAY


def count(config: RetentionConfig, ledger: Path, inbox: Path) -> Pruned:
    """What `prune` would remove. Reads only, so that a daemon may be at work.

    Raises:
        MachineTrouble, LedgerBroken, LedgerDamaged
    """
    tasks, files = moments(config, time.time())
    return Pruned(
        0 if tasks is None else count_forgettable(ledger, tasks),
        0 if files is None else DoneFolder(inbox / "done").count(files),
    )
