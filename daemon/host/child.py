"""One engine's process and the line to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from daemon import wire

_GOODBYE_TIMEOUT = 5


class ChildGone(Exception):
    """The process is of no use any more; the message says why."""


class Child:
    """A process of `daemon.engines.process`, started with this; it belongs to one thread, which must outlive it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        command = [sys.executable, "-m", "daemon.engines.process", str(theirs.fileno()), str(os.getpid())]
        with theirs:
            # A session of its own: a Ctrl-C in the terminal reaches the daemon only, which stops in good order.
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def call(self, message: dict[str, Any], timeout: float) -> tuple[dict[str, Any], bytes]:
        """Its answer, which must come within `timeout` seconds.

        Raises:
            ChildGone
        """
        try:
            self._line.settimeout(timeout)  # a hung engine does not even read
            wire.send(self._line, message)
            answer, blob = wire.receive(self._line, timeout)
        except (TimeoutError, wire.WireBroken, OSError) as error:
            raise ChildGone(self._epitaph(error, timeout)) from None
        if "gave_up" in answer:
            raise ChildGone(f"the engine's process gave up: {answer['gave_up']}")
        return answer, blob

    def alive(self) -> bool:
        """Whether the process is still there: it may have died while nobody spoke, which is no speech's fault."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once, whatever it does; safe from any thread."""
        self._process.kill()

    def end(self, *, at_once: bool) -> None:
        """Close the line, at which it leaves, and wait for that, or for its death."""
        self._line.close()
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GOODBYE_TIMEOUT)
        self._process.kill()
        self._process.wait()

    def _epitaph(self, error: Exception, timeout: float) -> str:
        if isinstance(error, TimeoutError):
            return f"the engine did not answer within {timeout:g} s"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_GOODBYE_TIMEOUT)
            if status < 0:
                return f"the engine's process was killed by {signal.Signals(-status).name}"
            return f"the engine's process ended with status {status}"
        return f"the engine's process broke off: {error}"
