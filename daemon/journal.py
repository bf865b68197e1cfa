"""journald's own protocol: a record of fields, by which `journalctl INDEXTTSD_TASK=...` finds all that befell a task.

Source: systemd's JOURNAL_NATIVE_PROTOCOL, systemd.journal-fields(7).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

#: Where journald listens.
SOCKET = Path("/run/systemd/journal/socket")
#: One field's value, and all of a record, are cut at so many bytes: a datagram holds about 200,000.
_LONGEST_VALUE, _LONGEST_RECORD = 48 << 10, 128 << 10


def is_our_stderr() -> bool:
    """Whether what is written to standard error goes to the journal (JOURNAL_STREAM in systemd.exec(5))."""
    try:
        found = os.fstat(2)
    except OSError:  # it was closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """A line to journald. Safe from any thread."""

    def __init__(self, place: Path = SOCKET) -> None:
        self._place = str(place)
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def send(self, fields: Iterable[tuple[str, str]]) -> None:
        """Hand over one record. A name may come more than once.

        Raises:
            OSError: nobody takes it.
        """
        self._line.sendto(encoded(fields), self._place)

    def close(self) -> None:
        """Give the descriptor back."""
        self._line.close()


def encoded(fields: Iterable[tuple[str, str]]) -> bytes:
    """The record's bytes; what comes after the longest record's end is left out."""
    record = b""
    for name, value in fields:
        # Always the form with a length in front: it holds line breaks, and no value can be taken for a next field.
        data = _cut(value.encode(errors="backslashreplace"))
        field = name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
        if len(record) + len(field) > _LONGEST_RECORD:
            break
        record += field
    return record


def _cut(data: bytes) -> bytes:
    """No half character: a value that is not UTF-8 is shown as numbers."""
    return data if len(data) <= _LONGEST_VALUE else data[:_LONGEST_VALUE].decode(errors="ignore").encode()
