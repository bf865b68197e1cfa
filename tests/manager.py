"""A socket in systemd's place: what a daemon tells the manager that started it (sd_notify(3))."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live import PATIENCE


class Manager:
    """Listens until the end of a `with`; a daemon that is started with NOTIFY_SOCKET=`place` is heard."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.place))
        self._socket.settimeout(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def hears(self, words: str) -> str:
        """Wait for a message that holds the words."""
        deadline = time.monotonic() + PATIENCE
        while words not in (said := self._socket.recv(10_000).decode()):
            assert time.monotonic() < deadline, f"{words!r} was not said within {PATIENCE} s"
        return said

    def hears_nothing_for(self, seconds: float) -> bool:
        """Whether no message comes for so long."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(10_000)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
