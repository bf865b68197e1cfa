"""The one path of a dropped file. Events only ring the bell; this looks at what is there."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon import strict_json
from daemon.bell import Bell
from daemon.config import InboxConfig
from daemon.errors import BadRequest, ConfigError, RequestRefused
from daemon.files import lock, rename_new
from daemon.inbox.archive import Archive, shortened
from daemon.inbox.bell_wire import BellWire
from daemon.inbox.looks import Look, Settling, being_written, is_ignored, read_dropped
from daemon.intake import Intake
from daemon.store import Drop, Store
from daemon.tasks import State, Task, timestamp, view

log = logging.getLogger("indexttsd.inbox")

#: Most files taken in one pass, so that ended tasks are archived between two bites of a flood.
_BITE = 1000


@dataclass(frozen=True, slots=True)
class _Taken:
    """A dropped file in .claimed/: its identity, the name it was dropped under, and where it lies."""

    uid: str
    name: str
    path: Path


class Inbox:
    """One drop folder, owned by one daemon.

    Args:
        max_bytes: largest file that is read.
    """

    def __init__(
        self, folder: Path, config: InboxConfig, max_bytes: int, intake: Intake, store: Store, bell: Bell
    ) -> None:
        self._folder = folder
        self._claimed = folder / ".claimed"
        self._done = Archive(folder / "done", ".result.json")
        self._failed = Archive(folder / "failed", ".error.json")
        self._max_bytes = max_bytes
        self._rescan_seconds = config.rescan_seconds
        self._intake = intake
        self._store = store
        self._bell = bell
        self._wire = BellWire(folder, bell)
        self._settling = Settling(config.settle_seconds)
        self._stop = threading.Event()
        self.waiting = 0

    def open(self) -> None:
        """Make the folders, become their owner, and go on with what an earlier daemon had taken.

        Raises:
            ConfigError: another daemon owns them, or they cannot be used.
        """
        try:
            self._claimed.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self._claimed / ".lock", f"the inbox {self._folder}")
            self._done.prepare()
            self._failed.prepare()
        except OSError as error:
            raise ConfigError(f"the inbox {self._folder} cannot be used: {error.strerror}") from None
        for path in sorted(self._claimed.iterdir()):
            uid, mark, name = path.name.partition("--")
            if mark and not self._store.knows_drop(uid):
                self._read(_Taken(uid, name, path))

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()
        self._bell.ring()

    def run(self) -> None:
        """Scan whenever the bell rings, when something may have settled, and from time to time, until stopped."""
        while not self._stop.is_set():
            heard = self._bell.rings
            try:
                self.scan()
            except OSError as error:
                log.error("the inbox cannot be looked through: %s", error, extra={"action": "scan_failed"})
            wait = self._settling.wait()
            self._bell.wait(heard, self._rescan_seconds if wait is None else min(wait, self._rescan_seconds))
        self._wire.close()
        os.close(self._lock)

    def scan(self) -> None:
        """Look at every dropped file once, and put away those whose tasks have ended."""
        self._wire.ensure()
        for drop in self._store.ended_drops():
            with _reported(drop.name):
                self._put_away(drop)
        if not self._intake.has_room():  # what lies there stays
            return
        names = self._names()
        self._settling.keep_only(set(names))
        taken = 0
        for name in names:
            if taken == _BITE:
                self._bell.ring()
                break
            with _reported(name):
                taken += self._consider(name)
        self.waiting = len(names) - taken

    def _names(self) -> list[str]:
        """What lies in the folder, the longest unchanged first."""
        with os.scandir(self._folder) as entries:
            found = [(_modified(entry), entry.name) for entry in entries if not is_ignored(entry.name)]
        return [name for _, name in sorted(found)]

    def _consider(self, name: str) -> bool:
        """Take a file if it is complete; whether it left the folder."""
        path = self._folder / name
        look = Look.at(path)
        if look is None or not self._settling.settled(name, look):
            return False
        if not look.regular or not name.lower().endswith(".json"):
            self._refuse(path, name, _why_not(look))
            return True
        if not self._complete(path, name) or not self._intake.has_room():
            return False
        return self._take(path, name, look)

    def _complete(self, path: Path, name: str) -> bool:
        writing = being_written(path)
        if writing is None and self._settling.young(name):
            return _parses(path, self._max_bytes)
        return not writing

    def _take(self, path: Path, name: str, look: Look) -> bool:
        taken = self._taken(uuid.uuid4().hex, shortened(name))
        try:
            path.rename(taken.path)
        except FileNotFoundError:  # its owner took it back
            return False
        if Look.at(taken.path) != look or being_written(taken.path):
            # Somebody opened it between the looks and the move: it is not ours yet.
            with contextlib.suppress(FileExistsError):
                rename_new(str(taken.path), str(path))
                return False
        self._settling.forget(name)
        self._read(taken)
        return True

    def _taken(self, uid: str, name: str) -> _Taken:
        return _Taken(uid, name, self._claimed / f"{uid}--{name}")

    def _read(self, taken: _Taken) -> None:
        """Turn a taken file into tasks, or refuse it."""
        try:
            data = read_dropped(taken.path, self._max_bytes)
            receipts = self._intake.submit_drop(data, taken.uid, taken.name)
        except RequestRefused as error:
            self._refuse(taken.path, taken.name, error)
            return
        ids = " ".join(receipt.task_id for receipt in receipts)
        log.info("%r became %s", taken.name, ids, extra={"action": "file_taken"})
        self._bell.ring()

    def _refuse(self, path: Path, name: str, error: RequestRefused) -> None:
        log.warning("%r was refused: %s", name, error, extra={"action": "file_rejected"})
        self._settling.forget(name)
        self._failed.put(path, self._failed.free_name(name), _note(str(error), error, []))

    def _put_away(self, drop: Drop) -> None:
        tasks = self._store.tasks_of_drop(drop.uid)
        faults = [fault for task in tasks if (fault := _fault(task))]
        archive = self._failed if faults else self._done
        name = drop.kept_as
        if name is None:
            name = archive.free_name(drop.name)
            self._store.keep_drop_as(drop.uid, name)
        source = self._taken(drop.uid, drop.name).path
        archive.put(source, name, _note("; ".join(faults), None, tasks) if faults else [view(task) for task in tasks])
        self._store.archive_drop(drop.uid)


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """One file that cannot be moved must not keep the others waiting."""
    try:
        yield
    except OSError as error:
        log.error("%r cannot be handled now: %s", name, error, extra={"action": "file_stuck"})


def _why_not(look: Look) -> BadRequest:
    if not look.regular:
        return BadRequest(f"only *.json files are read here; this is {look.kind}")
    return BadRequest("only *.json files are read here; rename it if it is one")


def _parses(path: Path, max_bytes: int) -> bool:
    try:
        strict_json.parse(read_dropped(path, max_bytes))
    except BadRequest:
        return False
    return True


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0


def _fault(task: Task) -> str | None:
    if task.failures:
        return f"{task.task_id}: {len(task.failures)} of {task.total_files} files failed"
    return f"{task.task_id}: {task.error}" if task.state is not State.COMPLETED else None


def _note(detail: str, error: RequestRefused | None, tasks: list[Task]) -> dict[str, object]:
    note: dict[str, object] = {"detail": detail}
    if isinstance(error, BadRequest):
        places = {"line": error.line, "column": error.column, "index": error.index}
        note |= {key: value for key, value in places.items() if value is not None}
    return note | {"tasks": [view(task) for task in tasks], "at": timestamp(time.time())}
