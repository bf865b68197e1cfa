"""One bell for everybody who waits: ringing says "look again", never what happened."""

from __future__ import annotations

import threading


class Bell:
    """A counter of rings that threads can wait on. A ring between two waits is never missed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it rang."""
        return self._rings

    def ring(self) -> None:
        """Wake all who wait."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout: float | None = None) -> int:
        """Wait until it has rung more than `heard` times, at most `timeout` seconds; returns `rings`."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings > heard, timeout)
            return self._rings
