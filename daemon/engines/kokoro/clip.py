"""Reading a prompt's recording: any format libsndfile knows, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import soundfile
import soxr

from daemon.engines.clips import judged
from daemon.engines.kokoro import CLIP_RULES
from daemon.engines.kokoro.model import Floats
from daemon.engines.kokoro.speaker import ENCODER_RATE


def read_clip(path: Path) -> Floats:
    """What is heard of a recording, as mono samples at ENCODER_RATE.

    Raises:
        BadClip: it cannot serve as a prompt.
    """
    judged(path, CLIP_RULES)
    with soundfile.SoundFile(path) as file:
        samples = file.read(int(CLIP_RULES.heard * file.samplerate), dtype="float32", always_2d=True)
    resampled: Floats = soxr.resample(samples.mean(axis=1), file.samplerate, ENCODER_RATE)
    return resampled
