"""An engine of IndexTTS 1.5 on the tiny checkpoint, with voices, beside an upstream object of the same weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.audio import Audio
from daemon.engines.base import Clip, Engine, EngineSettings, Segment, SegmentError, Utterance
from daemon.engines.indextts import SPECS
from tests.tiny import common, v15

SPEC = next(spec for spec in SPECS if spec.name == "indextts-1.5")
HERTZ = (180, 310, 240)


@dataclass
class Room15:
    """What a test of 1.5 needs."""

    model_dir: Path
    cache_dir: Path
    engine: Engine
    upstream: Any
    voices: list[Path]

    def split(self, text: str, **options: Any) -> list[Segment]:
        """The engine's segments of a text."""
        return self.engine.split(text, options)

    def utterance(
        self, text: str | Segment, voice: int | Path = 0, seed: int = 1, batched: bool = False, **options: Any
    ) -> Utterance:
        """A segment, or a text that is one, to be spoken."""
        if isinstance(text, str):
            [text] = self.split(text)
        file = self.voices[voice] if isinstance(voice, int) else voice
        return Utterance(text, clip(file), options, {}, seed, batched)

    def speak(self, text: str | Segment, voice: int | Path = 0, seed: int = 1, **options: Any) -> np.ndarray:
        """Samples of one segment, spoken alone."""
        return samples(self.engine.speak([self.utterance(text, voice, seed, **options)])[0])


@contextmanager
def opened(factory: pytest.TempPathFactory, **options: Any) -> Iterator[Room15]:
    """A room; the process gets its environment back in the end."""
    model_dir = v15.folder(factory)
    place = factory.mktemp("indextts-1.5")
    before = dict(os.environ)
    try:
        engine = load(model_dir, place / "cache", **options)
        from tests.tiny.upstream15 import Upstream15  # it imports torch, which the engine has prepared by now

        voices = [common.write_voice(place / f"{hertz}.wav", hertz) for hertz in HERTZ]
        yield Room15(model_dir, place / "cache", engine, Upstream15(model_dir), voices)
    finally:
        os.environ.clear()
        os.environ.update(before)


def load(model_dir: Path, cache_dir: Path, device: str = "cpu", **options: Any) -> Engine:
    """The engine of a folder."""
    return SPEC.load(EngineSettings(model_dir, device, options, cache_dir))


def clip(file: Path) -> Clip:
    """A recording as it is now."""
    return Clip(file, hashlib.sha256(file.read_bytes()).hexdigest())


def samples(result: Audio | SegmentError) -> np.ndarray:
    """As numbers, int16."""
    assert isinstance(result, Audio), result
    assert result.sample_rate == 24_000
    return np.frombuffer(result.pcm, "<i2")


def message(result: Audio | SegmentError) -> str:
    """Why there is no audio."""
    assert isinstance(result, SegmentError), result
    return result.message
