"""An engine of IndexTTS 2 or 2.5 on its tiny checkpoint, beside an upstream object of the same weights."""

from __future__ import annotations

import array
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.audio import Audio
from daemon.engines.base import Clip, Engine, EngineSettings, EngineSpec, SegmentError, Utterance
from tests.tiny import common, sides


def clip_of(file: Path) -> Clip:
    """The recording with the hash of its content."""
    return Clip(file, hashlib.sha256(file.read_bytes()).hexdigest())


def samples(audio: Audio | SegmentError) -> array.array[int]:
    """What was spoken; fails if nothing was."""
    assert isinstance(audio, Audio), audio
    return array.array("h", audio.pcm)


def spoken(engine: Engine, *utterances: Utterance) -> list[array.array[int]]:
    """The samples of utterances in one call."""
    return [samples(audio) for audio in engine.speak(utterances)]


@dataclass
class Room2:
    """What a test of 2 or 2.5 needs."""

    model_dir: Path
    engine: Engine
    upstream: Any
    clips: list[Clip]

    def say(self, text: str, voice: int = 0, seed: int = 1, batched: bool = False, **options: Any) -> Utterance:
        """An utterance of a text's first segment: `say("hi", voice=1, seed=3, batched=True, num_beams=1)`."""
        segment = self.engine.split(text, options)[0]
        return Utterance(segment, self.clips[voice], options, {}, seed, batched)


def opened(
    factory: pytest.TempPathFactory, spec: EngineSpec, model_dir: Path, upstream_of: Callable[[Path], Any]
) -> Room2:
    """A room. Args: upstream_of: makes upstream's own object; it imports what the engine has prepared by then."""
    import torch

    torch.set_num_threads(1)  # several test workers share the cores
    folder = factory.mktemp(spec.name)
    engine = spec.load(EngineSettings(model_dir, "cpu", {"max_batch": 8}, sides.share_compiled(folder / "cache")))
    clips = [clip_of(common.write_voice(folder / f"voice_{pitch}.wav", pitch, seconds=1.0)) for pitch in (220, 330)]
    return Room2(model_dir, engine, upstream_of(model_dir), clips)
