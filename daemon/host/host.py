"""The engine's process as the daemon sees it: start it, let it speak, watch it, replace it."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from daemon.audio import Audio
from daemon.engines.base import EngineSettings, EngineSpec, Segment, SegmentError, Utterance
from daemon.engines.clips import Verdict
from daemon.errors import EngineDied, EngineUnavailable, SpeechFailed
from daemon.host.child import Child, ChildGone

log = logging.getLogger("indexttsd.host")

#: A model of gigabytes on a slow disk takes minutes to load; longer than this it hangs. Seconds.
_LOAD_TIMEOUT = 900


class HostState(StrEnum):
    """Whether the engine can speak. STOPPED: no process. UNAVAILABLE: it could not be loaded. UNLOADED: on purpose."""

    STOPPED = "stopped"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"
    UNLOADED = "unloaded"


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


@dataclass(frozen=True, slots=True)
class Limits:
    """How much memory the engine's process may hold before it is replaced between tasks, in MB; None: any."""

    rss_mb: int | None = None
    gpu_mb: int | None = None


class Host:
    """One engine process at a time. Its methods belong to one thread, which must outlive the process.

    Args:
        spec, settings: which engine, and how.
        segment_timeout: seconds after which a silent call counts as hung.
        limits: see `overweight`.
    """

    def __init__(
        self,
        spec: EngineSpec,
        settings: EngineSettings,
        segment_timeout: float,
        log_level: str,
        limits: Limits | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._timeout = segment_timeout
        self._log_level = log_level
        self._limits = limits or Limits()
        self._memory: dict[str, int] = {}
        self._child: Child | None = None
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
        return self._child.pid if self._child else None

    def load(self) -> Facts:
        """The loaded engine's facts; starts and loads it first when there is none.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        if self._facts is not None and self._child is not None and self._child.alive():
            return self._facts
        if self._facts is not None:
            log.error("the engine's process died while it was idle; it is replaced", extra={"action": "engine_died"})
        self._remove()
        if self.state is not HostState.UNAVAILABLE:  # else its reason says more while it is tried again
            self.reason = "the engine is loading"
        self.state = HostState.LOADING
        log.info("engine %s is being loaded", self.name, extra={"action": "engine_loading"})
        try:
            self._facts = self._start()
        except EngineUnavailable as error:
            self._remove()
            self.state, self.reason = HostState.UNAVAILABLE, str(error)
            raise
        self.state = HostState.READY
        log.info("engine %s is ready in process %s", self.name, self.pid, extra={"action": "engine_ready"})
        if reason := self.overweight():
            log.error("%s: it needs more already when it is loaded, so no limit is heeded; raise it", reason)
            self._limits = Limits()
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

    def inspect(self, file: Path) -> Verdict:
        """What the engine says of a recording; one that takes the process down twice is at fault.

        Raises:
            EngineUnavailable
        """
        try:
            return self._inspect(file)
        except EngineDied:
            try:
                return self._inspect(file)
            except EngineDied as error:
                return Verdict(f"the engine does not survive listening to it ({error}); save it again as a WAV file")

    def overweight(self) -> str | None:
        """Why the process should be replaced before it speaks on: it holds too much memory; None if it does not."""
        limits = {"rss": self._limits.rss_mb, "gpu": self._limits.gpu_mb}
        for kind, limit in limits.items():
            held = self._memory.get(kind, 0) >> 20
            if limit is not None and held > limit:
                return f"the engine's process holds {held} MB, and engine.recycle_{kind}_mb allows {limit}"
        return None

    def recycle(self) -> None:
        """End the process; the next call starts another."""
        reason = self.overweight() or "the engine's process was asked to leave"
        log.info("%s; it is replaced", reason, extra={"action": "engine_recycled"})
        self._end(HostState.STOPPED, "the engine's process is being replaced")

    def unload(self) -> None:
        """End the process because nobody needs it; the next call loads the engine again."""
        log.info("nobody spoke for a while: engine %s is unloaded", self.name, extra={"action": "engine_unloaded"})
        self._end(HostState.UNLOADED, "the engine is unloaded until there is something to speak")

    def abandon_load(self) -> None:
        """Make a `load` that is under way fail at once, and every later one; safe from any thread."""
        self._abandoned = True
        child = self._child
        if self.state is HostState.LOADING and child:
            child.kill()

    def close(self) -> None:
        """End the engine's process for good."""
        self._end(HostState.STOPPED, "the engine was stopped")

    def _end(self, state: HostState, reason: str) -> None:
        self._remove(at_once=False)
        self.state, self.reason = state, reason

    def _inspect(self, file: Path) -> Verdict:
        answer, _ = self._call({"do": "inspect", "file": str(file)})
        return Verdict(answer["fault"], tuple(answer["advice"]))

    def _start(self) -> Facts:
        settings = dataclasses.asdict(self._settings)
        settings |= {key: str(value) for key, value in settings.items() if isinstance(value, os.PathLike)}
        try:
            self._child = Child()
            if self._abandoned:
                raise EngineUnavailable("the daemon is being stopped")
            answer, _ = self._child.call({"name": self.name, "log_level": self._log_level} | settings, _LOAD_TIMEOUT)
        except ChildGone as error:
            raise EngineUnavailable(f"the engine could not be loaded: {error}") from None
        except OSError as error:
            raise EngineUnavailable(f"the engine's process could not be started: {error}") from None
        if "unavailable" in answer:
            raise EngineUnavailable(answer["unavailable"])
        self._memory = answer["memory"]
        return Facts(**answer["facts"])

    def _call(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self.load()
        if self._child is None:
            raise EngineDied("the engine's process is gone")
        try:
            answer, blob = self._child.call(message, self._timeout)
        except ChildGone as error:
            self._remove()
            self.state, self.reason = HostState.STOPPED, str(error)
            log.error("%s; it will be replaced", error, extra={"action": "engine_died"})
            raise EngineDied(str(error)) from None
        self._memory = answer["memory"]
        return answer, blob

    def _remove(self, *, at_once: bool = True) -> None:
        if self._child:
            self._child.end(at_once=at_once)
        self._child = self._facts = None
        self._memory = {}


def _packed(utterance: Utterance) -> dict[str, Any]:
    """As JSON can carry it; `daemon.engines.process` unpacks it."""
    packed = dataclasses.asdict(utterance)
    for clip in (packed["prompt"], *packed["clips"].values()):
        clip["file"] = str(clip["file"])
    return packed
