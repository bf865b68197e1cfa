"""The neural model: token ids and a voice in, samples out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

Floats = npt.NDArray[np.float32]

SAMPLE_RATE = 24_000
#: The model has 512 positions; the start and the end mark take two.
MAX_TOKENS = 510


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A CPU session on the file at `path` that uses `threads` threads per run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Sleeping between operators instead of spinning leaves the other core to a neighbour's run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Model:
    """Kokoro-82M v1.0, int8. Safe to call from several threads at once; the same input gives the same samples."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads)

    def speak(self, tokens: list[int], voice: Floats, speed: float) -> Floats:
        """Samples of one segment.

        Args:
            tokens: 1 to MAX_TOKENS ids of the vocabulary.
            voice: (510, 256), one style per token count.
            speed: tempo, 1.0 is the voice's own.

        Returns:
            Mono samples at SAMPLE_RATE; the peak may exceed 1.0.
        """
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": voice[len(tokens) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        samples: Floats = self._session.run(None, inputs)[0].ravel()
        if not math.isfinite(float(np.abs(samples).sum())):
            raise FloatingPointError("the model made samples that are not numbers")
        return samples
