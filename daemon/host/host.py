"""The engine's process as the daemon sees it: start it, let it speak, watch it, replace it."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from daemon.engines.base import EngineSettings, EngineSpec, Segment, Utterance
from daemon.engines.clips import Verdict
from daemon.errors import EngineDied, EngineRefused, EngineUnavailable
from daemon.host import answers
from daemon.host.answers import Facts, Spoken
from daemon.host.child import Child, ChildGone
from daemon.host.deaths import Deaths
from daemon.life import Sign

A = TypeVar("A", bound=answers.Answer)

log = logging.getLogger("indexttsd.host")

#: A model of gigabytes on a slow disk takes minutes to load; longer than this it hangs. Seconds.
_LOAD_TIMEOUT = 900
#: Listening to a recording takes a fraction of a second; tasks wait meanwhile. Seconds.
_HEAR_TIMEOUT = 30


class HostState(StrEnum):
    """Whether the engine can speak.

    STOPPED: no process. UNAVAILABLE: it could not be loaded. UNLOADED: on purpose. BACKOFF: it died again and again and
    is left alone for a while.
    """

    STOPPED = "stopped"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"
    UNLOADED = "unloaded"
    BACKOFF = "backoff"


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
        log_level, log_texts: what the process logs, and whether texts too.
        sign: told how long a call may be silent.
    """

    def __init__(
        self,
        spec: EngineSpec,
        settings: EngineSettings,
        segment_timeout: float,
        log_level: str,
        limits: Limits | None = None,
        *,
        log_texts: bool = False,
        sign: Sign | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._timeout = segment_timeout
        self._sign = sign or Sign()
        self.log_as(log_level, texts=log_texts)
        self._limits = limits or Limits()
        self._memory: dict[str, int] = {}
        self._child: Child | None = None
        self._facts: Facts | None = None
        self._deaths = Deaths()
        self._abandoned = threading.Event()
        self._cut_off = False
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

    def log_as(self, level: str, *, texts: bool) -> None:
        """What each process that is started from now on is to log; safe from any thread."""
        self._log = {"log_level": level, "log_texts": texts}

    def load(self) -> Facts:
        """The loaded engine's facts; starts and loads it first when there is none, after a pause if it dies every time.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        if self._facts is not None and self._child is not None and self._child.alive():
            return self._facts
        if self._facts is not None and not self._cut_off:
            self._died("the engine's process died while it was idle")
        self._remove()
        self._back_off()
        if self.state not in (HostState.UNAVAILABLE, HostState.BACKOFF):  # else its reason says more
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
            EngineRefused: nothing in it can be spoken.
            EngineDied, EngineUnavailable
        """
        answer, _ = self._call({"do": "split", "text": text, "options": options}, answers.SPLIT)
        if isinstance(answer, answers.Failed):
            raise EngineRefused(answer.failed)
        return answer.pieces()

    def speak(self, batch: Sequence[Utterance]) -> Spoken:
        """Speak at most `plain_batch` utterances, or `max_batch` batched ones.

        Raises:
            EngineDied, EngineUnavailable
        """
        facts = self.load()
        items = [_packed(utterance) for utterance in batch]
        longest = len(batch) * answers.LONGEST_AUDIO
        answer, blob = self._call({"do": "speak", "batch": items}, answers.SPEECH, longest_blob=longest)
        try:
            spoken = answer.spoken(len(batch), blob, facts.sample_rate)
        except answers.Nonsense as error:
            raise self._lost(f"the engine's process answered nonsense ({error})") from None
        self._deaths.forget()
        return spoken

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
        self._abandoned.set()
        child = self._child
        if self.state is HostState.LOADING and child:
            child.kill()

    def cut_off(self) -> None:
        """End the process whatever it does: the call under way, and every later one, is EngineUnavailable, for it is
        nobody's fault; safe from any thread.
        """
        self._cut_off = True
        self._abandoned.set()
        if child := self._child:
            log.warning("the engine's process is ended within a call", extra={"action": "engine_cut_off"})
            child.kill()

    def close(self) -> None:
        """End the engine's process for good."""
        self._end(HostState.STOPPED, "the engine was stopped")

    def _end(self, state: HostState, reason: str) -> None:
        self._remove(at_once=False)
        self.state, self.reason = state, reason

    def _inspect(self, file: Path) -> Verdict:
        answer, _ = self._call(
            {"do": "inspect", "file": str(file)}, answers.HEARD, timeout=min(self._timeout, _HEAR_TIMEOUT)
        )
        return Verdict(answer.fault, tuple(answer.advice), answer.unread)

    def _back_off(self) -> None:
        """Wait out the pause that an engine is due which dies every time."""
        if pause := self._deaths.pause():
            self.reason = self._deaths.sentence()
            self.state = HostState.BACKOFF
            log.error("%s", self.reason, extra={"action": "engine_backoff"})
            self._sign.within(pause)
            self._abandoned.wait(pause)

    def _start(self) -> Facts:
        settings = dataclasses.asdict(self._settings)
        settings |= {key: str(value) for key, value in settings.items() if isinstance(value, os.PathLike)}
        try:
            self._child = Child()
            if self._abandoned.is_set():
                raise EngineUnavailable("the daemon is being stopped")
            self._sign.within(2 * _LOAD_TIMEOUT)  # one to be heard, one to be answered
            answer, _ = self._child.call({"name": self.name} | self._log | settings, answers.LOADED, _LOAD_TIMEOUT)
            self._sign.within()
        except ChildGone as error:
            raise EngineUnavailable(f"the engine could not be loaded: {error}") from None
        except OSError as error:
            raise EngineUnavailable(f"the engine's process could not be started: {error}") from None
        if isinstance(answer, answers.Unavailable):
            raise EngineUnavailable(answer.unavailable)
        self._memory = answer.memory
        return answer.facts

    def _call(
        self, message: dict[str, Any], expected: TypeAdapter[A], *, timeout: float | None = None, longest_blob: int = 0
    ) -> tuple[A, bytes]:
        self.load()
        if self._child is None:
            raise EngineDied("the engine's process is gone")
        try:
            self._sign.within(2 * self._timeout)
            answer, blob = self._child.call(message, expected, timeout or self._timeout, longest_blob=longest_blob)
            self._sign.within()
        except ChildGone as error:
            self._sign.within()
            raise self._lost(str(error)) from None
        self._memory = answer.memory
        return answer, blob

    def _lost(self, why: str) -> EngineDied | EngineUnavailable:
        """The process is of no use any more; the error that says so."""
        self._remove()
        if self._cut_off:
            return EngineUnavailable("the daemon is being stopped")
        self.state, self.reason = HostState.STOPPED, why
        self._died(why)
        return EngineDied(why)

    def _died(self, why: str) -> None:
        self._deaths.count(why)
        log.error("%s; it will be replaced", why, extra={"action": "engine_died"})

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
