"""What keeps the daemon from working for now: told by whoever meets it, shown by `/ready` and `stats`."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("indexttsd")


class Troubles:
    """One sentence per subject. Any thread may tell and ask; the log hears of a change, not of every repetition."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[str, str] = {}

    def tell(self, subject: str, sentence: str) -> None:
        """`subject` (such as `worker`) cannot go on, for this reason."""
        with self._lock:
            news = self._sentences.get(subject) != sentence
            self._sentences[subject] = sentence
        if news:
            log.error("the %s waits: %s", subject, sentence, extra={"action": "trouble"})

    def over(self, subject: str) -> None:
        """`subject` goes on."""
        with self._lock:
            known = self._sentences.pop(subject, None)
        if known is not None:
            log.info("the %s goes on", subject, extra={"action": "trouble_over"})

    def sentences(self) -> list[str]:
        """What is wrong now, each reason once."""
        with self._lock:
            return list(dict.fromkeys(self._sentences.values()))
