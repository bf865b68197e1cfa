"""What libraries print goes to the log at debug level, a line each: progress bars, warnings, leftovers of debugging.

They print the texts they speak, too: so it is shown only where texts may be.
"""

from __future__ import annotations

import io
import logging
import re
import sys

from daemon import logs

log = logging.getLogger("indexttsd.engine.noise")

#: A line that never ends is shown in pieces of this many bytes.
_LONGEST = 4096


def to_log() -> None:
    """Send what Python code prints in this process, to either stream, to the log.

    Call it after the log was set up, which holds on to the true standard error.
    """
    _hush_libraries()
    # A log that cannot be written complains on standard error, which is the log now.
    logging.raiseExceptions = False
    # Not through a buffer: what was printed before a crash is what one wants to read.
    sys.stdout = sys.stderr = io.TextIOWrapper(_Noise(), "utf-8", "backslashreplace", write_through=True)


def _hush_libraries() -> None:
    """Their news is debugging to us, and what they log for their own authors fills gigabytes: a compiler among them
    tells every step."""
    root = logging.getLogger()
    logging.getLogger("indexttsd").setLevel(root.level)
    news = root.level <= logging.DEBUG and logs.texts_are_shown()
    root.setLevel(logging.INFO if news else max(root.level, logging.WARNING))


class _Noise(io.RawIOBase):
    """Bytes in, lines out; a carriage return ends one too, as progress bars use it."""

    def __init__(self) -> None:
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if logs.texts_are_shown() and log.isEnabledFor(logging.DEBUG):
            *lines, self._rest = re.split(rb"[\r\n]", self._rest + bytes(data))
            if len(self._rest) > _LONGEST:
                lines, self._rest = [*lines, self._rest], b""
            for line in lines:
                if line.strip():
                    log.debug("%s", line.decode(errors="replace").rstrip())
        return len(data)
