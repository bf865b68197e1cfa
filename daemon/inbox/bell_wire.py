"""watchdog pulls the bell when something happens in the folder; what happened, the scan finds out."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from daemon.bell import Bell

log = logging.getLogger("indexttsd.inbox")
# It calls every ordinary close an error. Lost events are told by another logger, and the next scan finds them anyway.
logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)

# A file moved or linked into the folder is `created` and never `closed`; a written one is `closed`.
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]


class _Ringer(FileSystemEventHandler):
    """Does nothing but ring: an exception in a handler would end watchdog's thread for good."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell

    def dispatch(self, event: FileSystemEvent) -> None:  # noqa: ARG002
        self._bell.ring()


class BellWire:
    """Watches one folder, and notices when it watches a folder that is no longer there."""

    def __init__(self, folder: Path, bell: Bell) -> None:
        self._folder = folder
        self._ringer = _Ringer(bell)
        self._observer: InotifyObserver | None = None
        self._watched: tuple[int, int] | None = None
        self._warned = False

    def ensure(self) -> bool:
        """Watch the folder that has its name now; without inotify the timed scan alone must do. Whether it is news.

        Raises:
            OSError: there is no such folder, or it may not be looked into.
        """
        found = self._folder.stat()
        identity = (found.st_dev, found.st_ino)
        if self._watched == identity and self._alive():
            return False
        self.close()
        if not os.access(self._folder, os.R_OK | os.X_OK, effective_ids=True):  # watchdog would watch nothing, silently
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))
        try:
            self._start()
        except OSError as error:
            if not self._warned:
                log.warning(
                    "%s cannot be watched (%s); it is only looked through from time to time", self._folder, error
                )
            self._warned = True
            return False
        self._watched = identity
        self._warned = False
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()  # also where its thread has died: its emitters live on
            self._observer.join()
        self._observer = self._watched = None

    def _start(self) -> None:
        observer = InotifyObserver()
        try:
            observer.schedule(self._ringer, str(self._folder), recursive=False, event_filter=_EVENTS)
            observer.start()
        except OSError:
            observer.stop()  # its reader holds descriptors already
            raise
        self._observer = observer

    def _alive(self) -> bool:
        observer = self._observer
        return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters)
