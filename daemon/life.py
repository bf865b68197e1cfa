"""Signs of life: each room says when it will be heard from again; who is late hangs."""

from __future__ import annotations

import threading
import time

#: How late a room may be before it counts as hanging, in seconds. A false alarm ends what a healthy daemon does, a late
#: one costs a little more of a time that is lost anyway: so it is long. A change waits for the ledger up to a minute,
#: and a network disk whose server starts anew is silent for a few.
GRACE = 300.0


class Sign:
    """One room's promise. Any thread may give it anew."""

    def __init__(self) -> None:
        self._due: float | None = None

    def within(self, seconds: float = 0) -> None:
        """The room lives, and knows that it may now be silent for so many seconds; GRACE comes on top."""
        self._due = time.monotonic() + seconds + GRACE

    def over(self) -> None:
        """The room has ended: nothing is due."""
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
