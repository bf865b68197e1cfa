"""Clients that mean harm: connections in numbers, slow talkers, slow listeners."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.live import PATIENCE


class Crowd:
    """Open connections to a port, closed at the end of a `with`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.lines: list[socket.socket] = []
        self.hung_up = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for line in self.lines:
            line.close()

    def join(self, count: int, say: bytes = b"", *, receive: int | None = None) -> None:
        """So many connections that say this and no more, and never read."""
        for _ in range(count):
            line = socket.socket()
            if receive:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            line.settimeout(PATIENCE)
            line.connect(("127.0.0.1", self._port))
            self.lines.append(line)
            if say:
                line.sendall(say)
            line.setblocking(False)

    def drip(self, pause: float, drop: bytes = b"x") -> None:
        """From now on every connection sends one byte after each pause."""
        threading.Thread(target=self._drip, args=(list(self.lines), pause, drop), daemon=True).start()

    def _drip(self, lines: list[socket.socket], pause: float, drop: bytes) -> None:
        while lines and not self._ended.wait(pause):
            for line in list(lines):
                try:
                    line.send(drop)
                except BlockingIOError:
                    pass
                except OSError:
                    lines.remove(line)
                    self.hung_up += 1


def is_gone(line: socket.socket) -> bool:
    """Whether the server has hung up; reads what it said."""
    try:
        while line.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def open_files(pid: int) -> list[str]:
    """What a process holds open now."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long it took, for people to read."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
