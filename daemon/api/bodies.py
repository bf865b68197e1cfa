"""Requests' bodies while they come in: how much of them is kept, of one and of all together."""

from __future__ import annotations

import io
import threading

#: This much of any body is kept, whatever others hold: a short task is read even while somebody floods us.
_ALWAYS = 16 * 1024


class Larder:
    """What may be kept of all bodies together, in bytes.

    Args:
        largest: of one body; the routes refuse what is longer, so there is no need to keep it.

    Attributes:
        held: how much is kept now.
    """

    def __init__(self, room: int, largest: int) -> None:
        self.largest = largest
        self._room = room
        self.held = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Ask for room; whether there is."""
        with self._lock:
            if self.held + count > self._room:
                return False
            self.held += count
            return True

    def give_back(self, count: int) -> None:
        """Have room again."""
        with self._lock:
            self.held -= count


class Body:
    """One body. What is too long, or finds no room, is counted to its end and dropped, so that it gets an answer.

    It takes the place of waitress's own buffer, which would write to temporary files as much as anybody sends.

    Attributes:
        crowded_out: whether it was dropped for want of room.
    """

    def __init__(self, larder: Larder) -> None:
        self.crowded_out = False
        self._larder = larder
        self._size = self._held = 0
        self._dropped = False
        self._file = io.BytesIO()

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size += len(data)
        if self._size > self._larder.largest:
            self.close()
        if self._dropped:
            return
        if self._size > _ALWAYS:
            if not self._larder.take(self._size - self._held):
                self.crowded_out = True
                self.close()
                return
            self._held = self._size
        self._file.write(data)

    def getfile(self) -> io.BytesIO:
        """What was kept, from its first byte."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Forget it, and take no more."""
        self._dropped = True
        self._file = io.BytesIO()
        self._larder.give_back(self._held)
        self._held = 0
