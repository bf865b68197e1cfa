"""Reading a prompt's recording: any format libsndfile knows, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from daemon.engines.kokoro.model import Floats
from daemon.engines.kokoro.speaker import ENCODER_RATE

#: Seconds of a clip that are listened to; more does not tell the voice better.
CLIP_SECONDS = 15.0
#: Seconds of a clip below which a voice cannot be told.
SHORTEST_SECONDS = 0.5

_SILENCE = 1e-4  # peak, -80 dBFS
_MOST_CHANNELS = 8
_MOST_HERTZ = 192_000


class BadClip(Exception):
    """The clip cannot serve as a prompt; the message is one sentence for the client."""


def read_clip(path: Path) -> Floats:
    """The first CLIP_SECONDS of a recording as mono samples at ENCODER_RATE.

    Raises:
        BadClip: it cannot be read, is too short, or holds no sound.
    """
    samples, rate = _decode(path)
    if len(samples) < SHORTEST_SECONDS * rate:
        raise BadClip(
            f"The prompt {path.name} is {len(samples) / rate:.2f} s long: give at least {SHORTEST_SECONDS} s of speech."
        )
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all() or np.abs(mono).max() < _SILENCE:
        raise BadClip(
            f"The prompt {path.name} holds no sound in its first {CLIP_SECONDS:.0f} s: give a recording of a voice."
        )
    resampled: Floats = soxr.resample(mono, rate, ENCODER_RATE)
    return resampled


def _decode(path: Path) -> tuple[Floats, int]:
    """Samples (frames, channels) and their rate in Hz."""
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels > _MOST_CHANNELS or file.samplerate > _MOST_HERTZ:
                raise BadClip(f"The prompt {path.name} has more channels or a higher rate than a recording of a voice.")
            samples = file.read(int(CLIP_SECONDS * file.samplerate), dtype="float32", always_2d=True)
            return samples, file.samplerate
    except (OSError, TypeError, soundfile.LibsndfileError) as error:  # TypeError: headerless, by its name
        raise BadClip(f"The prompt {path.name} cannot be read as audio ({_reason(error)}): give a WAV file.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "unreadable"
    return str(error).rpartition(": ")[2].strip().rstrip(".")
