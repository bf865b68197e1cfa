"""One speech level for all segments, and no silence at their ends but our own."""

from __future__ import annotations

import numpy as np

from daemon.engines.kokoro.model import SAMPLE_RATE, Floats

#: Level of the active speech after `level`, in dBFS (RMS; a full-scale square wave is 0).
SPEECH_DBFS = -20.0
#: No sample goes above this, in dBFS.
PEAK_DBFS = -1.0

_FRAME = SAMPLE_RATE // 50  # 20 ms
_ACTIVE_DB = 30.0  # frames this far below the loudest are pauses, not speech
_QUIET_DB = 45.0  # ends this far below the loudest frame are silence
_MARGIN = 2  # frames kept around the speech, so that no soft onset is lost
_FADE = SAMPLE_RATE // 200  # 5 ms, so that the cut does not click


def level(samples: Floats) -> Floats:
    """Bring active speech to SPEECH_DBFS; less where the peak would pass PEAK_DBFS.

    Active are the 20 ms frames within 30 dB of the loudest; so pauses in the text do not change the level.
    """
    rms = _frame_rms(samples)
    if not rms.size or rms.max() == 0:
        return samples
    active = rms[rms >= rms.max() * _ratio(-_ACTIVE_DB)]
    gain = _ratio(SPEECH_DBFS) / float(np.sqrt(np.mean(active**2)))
    limit = _ratio(PEAK_DBFS) / float(np.abs(samples).max())
    return samples * np.float32(min(gain, limit))


def trim(samples: Floats) -> Floats:
    """Cut the silence at both ends, but for 40 ms, and fade the cuts over 5 ms."""
    rms = _frame_rms(samples)
    loud = np.flatnonzero(rms > rms.max(initial=0) * _ratio(-_QUIET_DB))
    if not loud.size:
        return samples
    start = max(0, int(loud[0]) - _MARGIN) * _FRAME
    end = (int(loud[-1]) + 1 + _MARGIN) * _FRAME
    return _faded(samples[start:end])


def to_pcm(samples: Floats) -> bytes:
    """Signed 16-bit little-endian bytes of samples within -1 to 1."""
    return np.round(samples * 32767).astype("<i2").tobytes()


def _frame_rms(samples: Floats) -> Floats:
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.sqrt(np.mean(frames**2, axis=1))  # type: ignore[no-any-return]


def _faded(samples: Floats) -> Floats:
    ramp = np.linspace(0, 1, min(_FADE, len(samples) // 2), dtype=np.float32)
    faded = samples.copy()
    if ramp.size:
        faded[: ramp.size] *= ramp
        faded[-ramp.size :] *= ramp[::-1]
    return faded


def _ratio(decibel: float) -> float:
    return float(10 ** (decibel / 20))
