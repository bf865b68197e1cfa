"""The stand-in engine of tests and benchmarks: a deterministic tone as long as the text; it misbehaves on demand."""

from __future__ import annotations

import array
import math
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence

from pydantic import Field

from daemon.audio import Audio
from daemon.engines.base import Engine, EngineSettings, EngineSpec, Json, Options, Segment, SegmentError, Utterance
from daemon.engines.clips import ClipRules

SAMPLE_RATE = 24_000
#: How long a character sounds, in seconds.
SECONDS_PER_CHARACTER = 0.05
_LONGEST_SEGMENT = 100
_PAUSE = 0.1
_AMPLITUDE = 8_000


class NoOptions(Options):
    """A request has no say in how a tone sounds."""


class ToneOptions(Options):
    """`engine.options`: how a segment misbehaves when its text holds the words.

    Attributes:
        delay_seconds: every segment takes this long. load_seconds: so does loading it.
        fail_on: the engine raises. crash_on: its process dies by SIGKILL. hang_on: it never answers.
        poison_on: the engine raises and cannot go on. print_on: it prints, and draws a progress bar.
        split_crash_on: its process dies while it cuts such a text. split_poison_on: it raises then and cannot go on.
        babble_on: it writes what follows the words, a byte per sign, where only answers belong, before the answer.
        grow_mb: every segment leaves that much memory held.
        picky: it judges recordings, as an engine would that hears them.
        plain_batch, max_batch: how many segments one call takes, of one speech and, in `批次推理`, of any speeches.
    """

    delay_seconds: float = Field(0.0, ge=0, le=86_400)
    load_seconds: float = Field(0.0, ge=0, le=86_400)
    fail_on: str | None = Field(None, min_length=1)
    crash_on: str | None = Field(None, min_length=1)
    hang_on: str | None = Field(None, min_length=1)
    poison_on: str | None = Field(None, min_length=1)
    print_on: str | None = Field(None, min_length=1)
    split_crash_on: str | None = Field(None, min_length=1)
    split_poison_on: str | None = Field(None, min_length=1)
    babble_on: str | None = Field(None, min_length=1)
    grow_mb: int = Field(0, ge=0, le=1024)
    picky: bool = False
    plain_batch: int = Field(1, ge=1, le=1024)
    max_batch: int = Field(1, ge=1, le=1024)


class ToneEngine:
    """Speaks a sine whose pitch comes from the prompt's content and the seed."""

    sample_rate = SAMPLE_RATE
    identity = "tone-1"

    def __init__(self, options: ToneOptions) -> None:
        self._options = options
        self.clip_rules = ClipRules(quietest=0) if options.picky else None
        self._poisoned = False
        self._held: list[bytes] = []
        self.plain_batch, self.max_batch = options.plain_batch, options.max_batch

    def split(self, text: str, options: Mapping[str, Json]) -> list[Segment]:  # noqa: ARG002
        """Cut after sentence ends, and anything longer every 100 characters."""
        if self._options.split_crash_on and self._options.split_crash_on in text:
            os.kill(os.getpid(), signal.SIGKILL)
        self._poison(text, self._options.split_poison_on)
        sentences = re.findall(r"[^。！？.!?\n]+[。！？.!?\n]*|[。！？.!?\n]+", text)
        pieces = [s[at : at + _LONGEST_SEGMENT] for s in sentences for at in range(0, len(s), _LONGEST_SEGMENT)]
        return [Segment(piece, pause=_PAUSE, size=len(piece)) for piece in pieces]

    def speak(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        """A tone per utterance, or the misbehaviour its text asks for."""
        return [self._speak(utterance) for utterance in batch]

    def recover(self) -> bool:
        """It can go on until it is poisoned."""
        return not self._poisoned

    def gpu_bytes(self) -> int:
        """It needs no GPU."""
        return 0

    def _speak(self, utterance: Utterance) -> Audio:
        self._misbehave(utterance.segment.text)
        self._held.append(b"x" * (self._options.grow_mb << 20))
        time.sleep(self._options.delay_seconds)
        period = 40 + (int(utterance.prompt.sha256[:8] or "0", 16) + utterance.seed) % 80
        return Audio(_tone(len(utterance.segment.text) * SECONDS_PER_CHARACTER, period), SAMPLE_RATE)

    def _misbehave(self, text: str) -> None:
        options = self._options
        if options.fail_on and options.fail_on in text:
            raise RuntimeError(f"the text holds {options.fail_on!r}")
        self._poison(text, options.poison_on)
        if options.print_on and options.print_on in text:
            _make_noise()
        if options.babble_on and options.babble_on in text:
            _babble(text.partition(options.babble_on)[2].encode("latin-1"))
        if options.crash_on and options.crash_on in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if options.hang_on and options.hang_on in text:
            threading.Event().wait()

    def _poison(self, text: str, words: str | None) -> None:
        if words and words in text:
            self._poisoned = True
            raise RuntimeError(f"the text holds {words!r}")


def _make_noise() -> None:
    print("printed, not logged")  # noqa: T201
    print("10%", "20%", sep="\r", file=sys.stderr)  # noqa: T201
    warnings.warn("this is a warning", stacklevel=1)


def _babble(garbage: bytes) -> None:
    """Write to the line, whose descriptor the process was given on its command line."""
    with open(int(sys.argv[1]), "wb", closefd=False) as line:
        line.write(garbage)


def _tone(seconds: float, period: int) -> bytes:
    """`seconds` of a sine that repeats every `period` samples, PCM16."""
    wave = array.array("h", (round(_AMPLITUDE * math.sin(2 * math.pi * at / period)) for at in range(period)))
    samples = round(seconds * SAMPLE_RATE)
    return (wave.tobytes() * (samples // period + 1))[: samples * 2]


def load(settings: EngineSettings) -> Engine:
    """The engine; there is nothing to load."""
    options = ToneOptions.model_validate(dict(settings.options))
    time.sleep(options.load_seconds)
    return ToneEngine(options)


SPEC = EngineSpec(
    name="tone",
    load=load,
    request_options=NoOptions,
    engine_options=ToneOptions,
    about="a test tone, as long as the text; the prompt gives the pitch",
    clip_rules=None,
)
