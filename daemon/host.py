"""The engine's process as the daemon sees it: start it, let it speak, watch it, replace it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daemon import wire
from daemon.audio import Audio
from daemon.engines.base import EngineSettings, EngineSpec, Segment, SegmentError, Utterance
from daemon.errors import EngineDied, EngineUnavailable, SpeechFailed

log = logging.getLogger("indexttsd.host")

#: A model of gigabytes on a slow disk takes minutes to load; longer than this it hangs. Seconds.
_LOAD_TIMEOUT = 900
_GOODBYE_TIMEOUT = 5


class HostState(StrEnum):
    """Whether the engine can speak. STOPPED: no process. UNAVAILABLE: it could not be loaded."""

    STOPPED = "stopped"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a loaded engine says of itself; see `daemon.engines.base.Engine`."""

    sample_rate: int
    plain_batch: int
    max_batch: int
    identity: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The answer to one call: a result per utterance, in order, and the engine's seconds for all."""

    results: tuple[Audio | SegmentError, ...]
    took: float


class Host:
    """One engine process at a time. Its methods belong to one thread, which must outlive the process.

    Args:
        spec, settings: which engine, and how.
        segment_timeout: seconds after which a silent call counts as hung.
    """

    def __init__(self, spec: EngineSpec, settings: EngineSettings, segment_timeout: float, log_level: str) -> None:
        self._spec = spec
        self._settings = settings
        self._timeout = segment_timeout
        self._log_level = log_level
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._facts: Facts | None = None
        self._abandoned = False
        self.state = HostState.STOPPED
        self.reason = "the engine has not been loaded yet"

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._spec.name

    @property
    def clip_options(self) -> tuple[str, ...]:
        """The options whose value is a prompt's name."""
        return self._spec.clip_options

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        return self._process.pid if self._process else None

    def load(self) -> Facts:
        """The loaded engine's facts; starts and loads it first when there is none.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        if self._facts is not None and self._alive():
            return self._facts
        if self._facts is not None:
            log.error("the engine's process died while it was idle; it is replaced", extra={"action": "engine_died"})
        self._remove()
        if self.state is not HostState.UNAVAILABLE:  # else its reason says more while it is tried again
            self.reason = "the engine is loading"
        self.state = HostState.LOADING
        try:
            self._facts = self._start()
        except EngineUnavailable as error:
            self._remove()
            self.state, self.reason = HostState.UNAVAILABLE, str(error)
            raise
        self.state = HostState.READY
        log.info("engine %s is ready in process %s", self.name, self.pid, extra={"action": "engine_ready"})
        return self._facts

    def split(self, text: str, options: dict[str, Any]) -> list[Segment]:
        """Cut a text into segments.

        Raises:
            SpeechFailed: nothing in it can be spoken.
            EngineDied, EngineUnavailable
        """
        answer, _ = self._call({"do": "split", "text": text, "options": options})
        if "failed" in answer:
            raise SpeechFailed(answer["failed"])
        return [Segment(**segment) for segment in answer["segments"]]

    def speak(self, batch: Sequence[Utterance]) -> Spoken:
        """Speak at most `plain_batch` utterances, or `max_batch` batched ones.

        Raises:
            EngineDied, EngineUnavailable
        """
        facts = self.load()
        items = [_packed(utterance) for utterance in batch]
        answer, blob = self._call({"do": "speak", "batch": items})
        results: list[Audio | SegmentError] = []
        at = 0
        for row in answer["results"]:
            if "error" in row:
                results.append(SegmentError(row["error"]))
            else:
                results.append(Audio(blob[at : at + row["bytes"]], facts.sample_rate))
                at += row["bytes"]
        return Spoken(tuple(results), answer["took"])

    def abandon_load(self) -> None:
        """Make a `load` that is under way fail at once, and every later one; safe from any thread."""
        self._abandoned = True
        process = self._process
        if self.state is HostState.LOADING and process:
            process.kill()

    def close(self) -> None:
        """End the engine's process: it leaves when its line closes, or is killed."""
        if self._line:
            self._line.close()
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GOODBYE_TIMEOUT)
        self._remove()
        self.state, self.reason = HostState.STOPPED, "the engine was stopped"

    def _alive(self) -> bool:
        """Whether the process is still there: it may have died while nobody spoke, which is no speech's fault."""
        return self._process is not None and self._process.poll() is None

    def _start(self) -> Facts:
        settings = dataclasses.asdict(self._settings)
        settings |= {key: str(value) for key, value in settings.items() if isinstance(value, os.PathLike)}
        try:
            line = self._spawn()
            if self._abandoned:
                raise EngineUnavailable("the daemon is being stopped")
            wire.send(line, {"name": self.name, "log_level": self._log_level} | settings)
            answer, _ = wire.receive(line, _LOAD_TIMEOUT)
        except (TimeoutError, wire.WireBroken, OSError) as error:
            reason = self._epitaph(error, _LOAD_TIMEOUT)
            raise EngineUnavailable(f"the engine could not be loaded: {reason}") from None
        if "unavailable" in answer:
            raise EngineUnavailable(answer["unavailable"])
        return Facts(**answer)

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._line = ours
        ours.settimeout(self._timeout)  # a hung engine does not even read
        command = [sys.executable, "-m", "daemon.engines.process", str(theirs.fileno()), str(os.getpid())]
        with theirs:
            # A session of its own: a Ctrl-C in the terminal reaches the daemon only, which stops in good order.
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        return ours

    def _call(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self.load()
        if self._line is None:
            raise EngineDied("the engine's process is gone")
        try:
            wire.send(self._line, message)
            return wire.receive(self._line, self._timeout)
        except (TimeoutError, wire.WireBroken, OSError) as error:
            reason = self._epitaph(error, self._timeout)
            self._remove()
            self.state, self.reason = HostState.STOPPED, reason
            log.error("%s; it will be replaced", reason, extra={"action": "engine_died"})
            raise EngineDied(reason) from None

    def _epitaph(self, error: Exception, patience: float) -> str:
        """Why the process is no use any more, in words; it had `patience` seconds to answer."""
        if isinstance(error, TimeoutError):
            return f"the engine did not answer within {patience:g} s"
        if self._process is None:
            return f"the engine's process could not be started: {error}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_GOODBYE_TIMEOUT)
            if status < 0:
                return f"the engine's process was killed by {signal.Signals(-status).name}"
            return f"the engine's process ended with status {status}"
        return f"the engine's process broke off: {error}"

    def _remove(self) -> None:
        if self._line:
            self._line.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._line = self._process = self._facts = None


def _packed(utterance: Utterance) -> dict[str, Any]:
    """As JSON can carry it; `daemon.engines.process` unpacks it."""
    packed = dataclasses.asdict(utterance)
    for clip in (packed["prompt"], *packed["clips"].values()):
        clip["file"] = str(clip["file"])
    return packed
