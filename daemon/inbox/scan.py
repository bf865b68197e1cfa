"""The one path of a dropped file. Events only ring the bell; this looks at what is there."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from daemon import strict_json
from daemon.bell import Bell
from daemon.config import InboxConfig
from daemon.errors import BadRequest, ConfigError, LedgerBroken, LedgerDamaged, MachineTrouble, RequestRefused
from daemon.files import rename_new
from daemon.inbox.archive import Archive, shortened
from daemon.inbox.bell_wire import BellWire
from daemon.inbox.claimed import Claimed, Taken
from daemon.inbox.looks import Look, Settling, being_written, is_ignored, read_dropped
from daemon.intake import Intake
from daemon.store import Drop, Store
from daemon.tasks import State, Task, timestamp, view
from daemon.troubles import Troubles

log = logging.getLogger("indexttsd.inbox")

#: Most files taken in one pass, so that ended tasks are archived between two bites of a flood.
_BITE = 1000


class Inbox:
    """One drop folder, owned by one daemon.

    Args:
        max_bytes: largest file that is read.
    """

    def __init__(
        self,
        folder: Path,
        config: InboxConfig,
        max_bytes: int,
        intake: Intake,
        store: Store,
        bell: Bell,
        troubles: Troubles,
    ) -> None:
        self._folder = folder
        self._claimed = Claimed(folder)
        self._done = Archive(folder / "done", ".result.json")
        self._failed = Archive(folder / "failed", ".error.json")
        self._max_bytes = max_bytes
        self._rescan_seconds = config.rescan_seconds
        self._intake = intake
        self._store = store
        self._bell = bell
        self._troubles = troubles
        self._wire = BellWire(folder, bell)
        self._settling = Settling(config.settle_seconds)
        self._stop = threading.Event()
        self._unread: dict[str, Taken] = {}
        self._stuck: set[str] = set()
        self.waiting = 0

    def open(self) -> None:
        """Make the folders and become their owner.

        Raises:
            ConfigError: another daemon owns them, or they cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._own()
        except OSError as error:
            raise ConfigError(f"the inbox {self._folder} cannot be used: {error.strerror}") from None

    def _own(self) -> None:
        """Make our folders and own them, at the start and when somebody has removed them meanwhile."""
        if self._claimed.is_ours():
            return
        self._claimed.own()
        self._done.prepare()
        self._failed.prepare()
        self._unread = {taken.uid: taken for taken in self._claimed.files() if not self._store.knows_drop(taken.uid)}

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()
        self._bell.ring()

    def run(self) -> None:
        """Scan whenever the bell rings, when something may have settled, and from time to time, until stopped."""
        while not self._stop.is_set():
            heard = self._bell.rings
            self._bell.wait(heard, self.look())
        self._wire.close()
        self._claimed.release()

    def look(self) -> float:
        """Scan; what is wrong with the folder is told and tried again. Seconds until the next look is due."""
        try:
            self.scan()
        except (OSError, MachineTrouble) as error:
            self._troubles.tell(
                "inbox", f"it cannot be looked through: {error}" if isinstance(error, OSError) else str(error)
            )
            return self._rescan_seconds
        self._troubles.over("inbox")
        return min(self._rescan_seconds, self._settling.wait())

    def scan(self) -> None:
        """Look at every dropped file once, and put away those whose tasks have ended.

        Raises:
            ConfigError: the folders were removed, made again, and have another owner now.
            OSError: the folder cannot be looked into.
        """
        self._own()
        self._wire.ensure()
        for taken in list(self._unread.values()):
            with self._reported(taken.name):
                self._read_again(taken)
        for drop in self._store.ended_drops():
            with self._reported(drop.name):
                self._put_away(drop)
        names = self._names()
        room = self._intake.has_room()
        self._settling.keep_only(set(names if room else []))  # no room: nothing to look at until the bell rings
        self.waiting = len(names) - (self._take_some(names) if room else 0)

    def _take_some(self, names: list[str]) -> int:
        """Take what is complete, at most a bite; how many left the folder."""
        taken = 0
        for name in names:
            if taken == _BITE:
                self._bell.ring()
                break
            with self._reported(name):
                taken += self._consider(name)
        return taken

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
        writing = being_written(path) if look.regular else False
        if writing:
            return False
        if fault := _why_not(look, name):
            self._refuse(path, name, fault)
            return True
        if writing is None and self._settling.young(name) and not _parses(path, self._max_bytes):
            return False
        return self._intake.has_room() and self._take(path, name, look)

    def _take(self, path: Path, name: str, look: Look) -> bool:
        taken = self._claimed.taken(uuid.uuid4().hex, shortened(name))
        try:
            path.rename(taken.path)
        except FileNotFoundError:  # its owner took it back
            return False
        self._unread[taken.uid] = taken
        if Look.at(taken.path) != look or being_written(taken.path):
            # Somebody opened it between the looks and the move: it is not ours yet.
            with contextlib.suppress(FileExistsError):
                rename_new(str(taken.path), str(path))
                del self._unread[taken.uid]
            return False
        self._settling.forget(name)
        self._read(taken)
        return True

    def _read_again(self, taken: Taken) -> None:
        """Read what was taken but not read to its end: the daemon died, or something was in the way."""
        if not os.path.lexists(taken.path):
            del self._unread[taken.uid]
        elif not being_written(taken.path):
            self._read(taken)

    def _read(self, taken: Taken) -> None:
        """Turn a taken file into tasks, or refuse it."""
        try:
            data = read_dropped(taken.path, self._max_bytes)
            receipts = self._intake.submit_drop(data, taken.uid, taken.name)
        except RequestRefused as error:
            self._refuse(taken.path, taken.name, error)
        else:
            ids = " ".join(receipt.task_id for receipt in receipts)
            log.info("%r became %s", taken.name, ids, extra={"action": "file_taken"})
            self._bell.ring()
        del self._unread[taken.uid]

    def _refuse(self, path: Path, name: str, error: RequestRefused) -> None:
        self._failed.put(path, self._failed.free_name(name), _note(str(error), error, []))
        self._settling.forget(name)
        log.warning("%r was refused: %s", name, error, extra={"action": "file_rejected"})

    def _put_away(self, drop: Drop) -> None:
        """Move a file whose tasks have ended; its name is recorded before, so that a crash leaves no second note."""
        source = self._claimed.taken(drop.uid, drop.name).path
        there = os.path.lexists(source)
        if drop.kept_as and there:  # an earlier try got no further than the note
            self._archive(drop.kept_as).withdraw(_file_name(drop.kept_as))
        if there or not drop.kept_as:
            self._archive_as_new(drop, source if there else None)
        self._store.archive_drop(drop.uid)

    def _archive_as_new(self, drop: Drop, source: Path | None) -> None:
        tasks = self._store.tasks_of_drop(drop.uid)
        faults = [fault for task in tasks if (fault := _fault(task))]
        archive = self._failed if faults else self._done
        name = archive.free_name(drop.name)
        self._store.keep_drop_as(drop.uid, f"{archive.name}/{name}")
        archive.put(source, name, _note("; ".join(faults), None, tasks) if faults else [view(task) for task in tasks])

    def _archive(self, kept_as: str) -> Archive:
        return next(archive for archive in (self._done, self._failed) if kept_as.startswith(f"{archive.name}/"))

    @contextlib.contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """One file that cannot be handled must keep neither the others waiting nor the daemon from starting."""
        try:
            yield
        except (MachineTrouble, LedgerBroken, LedgerDamaged):  # not about this file
            raise
        except Exception as error:
            if name not in self._stuck:  # it is tried again and again, and told once
                foreseen = isinstance(error, OSError)
                log.error("%r stays for now: %s", name, error, exc_info=not foreseen, extra={"action": "file_stuck"})
            self._stuck.add(name)
        else:
            self._stuck.discard(name)


def _why_not(look: Look, name: str) -> BadRequest | None:
    """Why this is nothing to read, if so."""
    if not look.regular:
        return BadRequest(f"only *.json files are read here; this is {look.kind}")
    if not name.lower().endswith(".json"):
        return BadRequest("only *.json files are read here; rename it if it is one")
    return None


def _file_name(kept_as: str) -> str:
    return kept_as.partition("/")[2]


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
