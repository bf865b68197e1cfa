"""Whether a recording can serve as a prompt: listened to in bounded memory, before a model touches it.

Importing this imports nothing heavy; `inspect` and `judged` belong in the engine's process.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from daemon.audio import LARGEST_RECORDING
from daemon.files import at_once
from daemon.space import trouble

_MOST_CHANNELS = 8
_HERTZ = (4_000, 192_000)
#: Below this much of a second's audio is lost, in Hz.
_GOOD_HERTZ = 16_000
#: The recordings that clone best, in seconds.
_GOOD_SECONDS = (3, 15)
_CUT = "cut it to 3 to 15 s of clean speech"
_FULL_SCALE = 0.999
#: Share of full-scale samples from which a recording sounds distorted.
_CLIPPED = 0.001
#: A compressed file's header may be this much off without being wrong, in seconds.
_HEADER_SLACK = 1.0
_T = TypeVar("_T")


class BadClip(Exception):
    """The recording cannot serve as a prompt; the message is one sentence for the client."""


@dataclass(frozen=True, slots=True)
class ClipRules:
    """What an engine asks of a prompt's recording.

    Attributes:
        shortest: seconds below which a voice cannot be told.
        longest: seconds above which it is refused, because all of it would be loaded; None if there is no such limit.
        heard: seconds of it that are listened to.
        quietest: peak below which it counts as silent, 1.0 is full scale.
    """

    shortest: float = 0.5
    longest: float | None = None
    heard: float = 15.0
    quietest: float = 1e-4  # -80 dBFS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a recording.

    Attributes:
        fault: why it cannot be a prompt, to follow "cannot be used: "; None if it can.
        advice: what would make it a better one, to follow the recording's name and a colon.
        unread: why the disk did not give it, which says nothing of the recording; None if it did.
    """

    fault: str | None = None
    advice: tuple[str, ...] = ()
    unread: str | None = None


class _Fault(Exception):
    """Says what the recording is that it must not be."""


class _Unread(Exception):
    """Says why the disk did not give it."""


@dataclass(slots=True)
class _Sound:
    """What listening told: how long it says it is and how much was found, the loudest sample, how many clip."""

    rate: int
    channels: int
    promised: float
    frames: int = 0
    peak: float = 0.0
    full: int = 0

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def inspect(file: Path, rules: ClipRules | None) -> Verdict:
    """Listen to a recording; raises nothing for what is wrong with it. Without rules anything will do."""
    if rules is None:
        return Verdict()
    try:
        sound = _listened(file, rules)
        _judge(sound, rules)
    except _Fault as fault:
        return Verdict(str(fault))
    except _Unread as why:
        return Verdict(unread=str(why))
    return Verdict(None, tuple(_advice(sound, rules)))


def judged(file: Path, rules: ClipRules, name: str = "") -> None:
    """Pass a recording that can be used.

    Args:
        name: what people call it, if the file itself is a copy under another name.

    Raises:
        BadClip: it cannot; the sentence names it.
    """
    verdict = inspect(file, rules)
    if fault := verdict.fault or verdict.unread:
        raise BadClip(f"the prompt '{name or file.name}' cannot be used: {fault}")


class _Given:
    """A file that libsndfile reads through us: to itself, what a disk does not give is where the recording ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self.name = file.name

    def read(self, size: int) -> bytes:
        return self._kept(lambda: self._file.read(size), b"")

    def seek(self, offset: int, whence: int) -> int:
        return self._kept(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        return self._file.tell()

    def _kept(self, call: Callable[[], _T], instead: _T) -> _T:
        try:
            return call()
        except OSError as error:  # of which libsndfile's callbacks would print a traceback
            self._error = self._error or error
            return instead

    def check(self) -> None:
        """Pass if the disk gave all that was asked for.

        Raises:
            OSError: it did not; a broken header that leads nowhere is no such thing.
        """
        if self._error and trouble(self._error, ""):
            raise self._error


def _listened(file: Path, rules: ClipRules) -> _Sound:
    try:
        _check_size(file)
        with open(file, "rb", opener=at_once) as opened:
            given = _Given(opened)
            try:
                return _heard(given, rules)
            finally:
                given.check()  # before any verdict: nobody heard the whole
    except OSError as error:
        sentence = f"it cannot be read: {error.strerror or type(error).__name__}"
        raise (_Unread if trouble(error, "") else _Fault)(sentence) from error


def _heard(given: _Given, rules: ClipRules) -> _Sound:
    """At most as much as the rules need is read, a second at a time: a header may promise anything."""
    import soundfile  # noqa: PLC0415 (numpy comes with it, which the daemon itself does without)

    try:
        with soundfile.SoundFile(given) as source:
            _check_kind(source)
            sound = _Sound(source.samplerate, source.channels, source.frames / source.samplerate)
            for block in _blocks(source, rules):
                if sound.seconds < rules.heard:
                    _listen(sound, block)
                sound.frames += len(block)
    except (TypeError, soundfile.LibsndfileError) as error:  # TypeError: headerless, by its name
        raise _Fault(_no_audio(error)) from error
    return sound


def _check_size(file: Path) -> None:
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _Fault("it is not a file")
    if found.st_size > LARGEST_RECORDING:
        raise _Fault(f"it is {found.st_size / 1e9:.1f} GB big; {_CUT}")


def _check_kind(source: Any) -> None:
    lowest, highest = _HERTZ
    if source.channels > _MOST_CHANNELS or not lowest <= source.samplerate <= highest:
        raise _Fault(
            f"it has {source.channels} channels at {source.samplerate} Hz; give a recording of a voice with at most"
            f" {_MOST_CHANNELS} channels and {lowest} to {highest} Hz"
        )


def _blocks(source: Any, rules: ClipRules) -> Iterator[Any]:
    """Float samples (frames, channels), until it ends or there is no need to read on."""
    left = round((rules.longest or rules.heard) * source.samplerate) + 1
    while left > 0 and len(block := source.read(min(left, source.samplerate), dtype="float32", always_2d=True)):
        left -= len(block)
        yield block


def _listen(sound: _Sound, block: Any) -> None:
    import numpy as np  # noqa: PLC0415

    if not np.isfinite(block).all():
        raise _Fault("it holds samples that are not numbers; save it again as a 16-bit WAV file")
    sound.full += int((np.abs(block).max(axis=1) >= _FULL_SCALE).sum())
    sound.peak = max(sound.peak, float(np.abs(block.mean(axis=1)).max()))


def _judge(sound: _Sound, rules: ClipRules) -> None:
    """Raise what makes it useless."""
    enough = rules.longest or rules.heard
    if sound.seconds < min(sound.promised - _HEADER_SLACK, enough):
        held = f"it holds {sound.seconds:.1f} s"
        raise _Fault(f"its header promises {sound.promised:.0f} s and {held}; save it again as a WAV file")
    if rules.longest is not None and sound.seconds > rules.longest:
        raise _Fault(f"it is {sound.promised:.0f} s long; {_CUT}")
    if not sound.frames or sound.seconds < rules.shortest:
        raise _Fault(f"it is {sound.seconds:.2f} s long; give at least {rules.shortest:g} s of speech")
    if sound.peak < rules.quietest:
        raise _Fault(f"it holds no sound in its first {rules.heard:g} s; give a recording of a voice")


def _advice(sound: _Sound, rules: ClipRules) -> Iterator[str]:
    shortest, longest = _GOOD_SECONDS
    if sound.full > _CLIPPED * min(sound.frames, rules.heard * sound.rate):
        yield "it is clipped: record it at a lower level"
    if sound.rate < _GOOD_HERTZ:
        yield f"it has {sound.rate} Hz only: {_GOOD_HERTZ} Hz and more sound better"
    if sound.channels > 1:
        yield f"its {sound.channels} channels are mixed into one"
    if sound.seconds < shortest:
        yield f"it is {sound.seconds:.1f} s long: {shortest} to {longest} s of clean speech are best"
    if sound.promised > longest:
        heard = f"only its first {rules.heard:g} s are heard" if sound.promised > rules.heard else "all of it is heard"
        yield f"it is {sound.promised:.0f} s long and {heard}: {shortest} to {longest} s of clean speech are best"


def _no_audio(error: Exception) -> str:
    reason = str(error).rpartition(": ")[2].strip().rstrip(".")
    return f"it cannot be read as audio ({reason}); give a WAV file"
