"""One engine's process and the line to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import Any, TypeVar

from pydantic import TypeAdapter

from daemon import wire
from daemon.host.answers import Nonsense, plain, read
from daemon.offspring import how_it_ended

T = TypeVar("T")

_GOODBYE_TIMEOUT = 5


class ChildGone(Exception):
    """The process is of no use any more; the message says why."""


class Child:
    """A process of `daemon.engines.process`, started with this; it belongs to one thread, which must outlive it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        self._calls = 0
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

    def call(
        self, message: dict[str, Any], expected: TypeAdapter[T], timeout: float, *, longest_blob: int = 0
    ) -> tuple[T, bytes]:
        """Its answer, which must come within `timeout` seconds, be as `expected`, and bring no longer a blob.

        Raises:
            ChildGone: it does not, or is not; it may still be there, and must be ended.
        """
        self._calls += 1
        try:
            self._line.settimeout(timeout)  # a hung engine does not even read
            wire.send(self._line, message | {"call": self._calls})
            answer, blob = wire.receive(self._line, timeout, longest_blob=longest_blob)
            if "gave_up" in answer:
                raise ChildGone(f"the engine's process gave up: {plain(str(answer['gave_up']))}")
            # A number, for whatever came uncalled would stand for the next answer, and each answer for the next call's.
            return read(answer, expected, self._calls), blob
        except (TimeoutError, wire.WireBroken, OSError) as error:
            raise ChildGone(self._epitaph(error, timeout)) from None
        except Nonsense as error:
            raise ChildGone(f"the engine's process answered nonsense ({plain(str(error))})") from None

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
        if isinstance(error, wire.Garbage):
            return "the engine's process sent what is no answer"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f"the engine's process {how_it_ended(self._process.wait(_GOODBYE_TIMEOUT))}"
        return f"the engine's process broke off: {error}"
