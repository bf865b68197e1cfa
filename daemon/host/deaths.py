"""How long an engine that dies again and again is left alone."""

from __future__ import annotations

import time

#: So many deaths in a row are without a pause: one poisonous text dies as often as `worker.max_attempts` says, of
#: which this is the default. With several in a row the next good text waits for the pauses between them: an engine
#: that dies of everything must not burn the whole queue.
_FREE = 3
#: The pause after the next one, doubled with each further one, and the longest. Seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Deaths:
    """Counts the deaths of a process in a row, without anything spoken between them."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._why = ""
        self._since = 0.0

    def count(self, why: str) -> None:
        """It died now."""
        self.in_a_row += 1
        self._why = why
        self._since = time.monotonic()

    def forget(self) -> None:
        """It spoke."""
        self.in_a_row = 0

    def owed(self) -> float:
        """How long it is to be left alone after the last death. Seconds."""
        if self.in_a_row <= _FREE:
            return 0.0
        return min(_FIRST_PAUSE * 2.0 ** min(self.in_a_row - _FREE - 1, 10), _LONGEST_PAUSE)

    def pause(self) -> float:
        """What is left of that. Seconds."""
        return max(self._since + self.owed() - time.monotonic(), 0.0)

    def sentence(self) -> str:
        """Why it is left alone."""
        what = f"the engine died {self.in_a_row} times in a row and is loaded again after {self.owed():g} s"
        return f"{what}; the last time {self._why}"
