"""Signs of life: each room says when it will be heard from again; who is late hangs."""

from __future__ import annotations

import threading
import time


class Sign:
    """One room's promise. Any thread may give it anew."""

    def __init__(self) -> None:
        self._due: float | None = None

    def within(self, seconds: float) -> None:
        """The room will be heard from again within so many seconds."""
        self._due = time.monotonic() + seconds

    def over(self) -> None:
        """The room has ended, or waits for nothing but work: nothing is due."""
        self._due = None

    @property
    def late(self) -> bool:
        """Whether the promise was broken."""
        due = self._due
        return due is not None and time.monotonic() > due


class Life:
    """The signs of all rooms that a watchdog heeds (sd_watchdog_enabled(3))."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signs: dict[str, Sign] = {}

    def of(self, room: str) -> Sign:
        """The sign of a room, made when it is first asked for."""
        with self._lock:
            return self._signs.setdefault(room, Sign())

    def late(self) -> list[str]:
        """The rooms that should have been heard from by now."""
        with self._lock:
            return [room for room, sign in self._signs.items() if sign.late]
