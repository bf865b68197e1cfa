"""The language model among the weights that reads a described feeling (`emo_text`); loaded when first asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from daemon.engines import weights
from daemon.engines.indextts import upstream
from daemon.engines.weights import Weights
from daemon.errors import EngineUnavailable, SpeechFailed

#: The model draws its words; the same words must give the same feeling.
_SEED = 0


class Feelings:
    """Texts to the eight weights of `emo_vector`."""

    def __init__(self, model_dir: Path, folder: str, listed: Weights, device: str) -> None:
        """Args: folder: of the language model, below `model_dir`; device: `cpu` or `cuda:N`."""
        self._folder, self._model_dir, self._weights, self._device = folder.strip("/"), model_dir, listed, device
        self._reader: Any = None

    def weights_of(self, text: str) -> list[float]:
        """Weights in the order of `emo_vector`, the same for the same text.

        Raises:
            SpeechFailed: the language model is not there or cannot be loaded.
        """
        reader = self._loaded()
        with upstream.quiet(), torch.random.fork_rng():
            torch.manual_seed(_SEED)
            return [float(weight) for weight in reader.inference(text).values()]

    def _loaded(self) -> Any:
        if self._reader is None:
            self._check_files()
            try:
                self._reader = self._load()
            except EngineUnavailable as error:
                raise SpeechFailed(f"'emo_text' cannot be read: {error}") from error
        return self._reader

    def _check_files(self) -> None:
        """Of the files a release has, these are needed in any case; what else is missing, loading tells."""
        needed = {f"{self._folder}/{name}" for name in ("config.json", "tokenizer_config.json", "model.safetensors")}
        states = weights.inspect(self._weights, self._model_dir)
        bad = [f"{s.file.path} ({s.fault})" for s in states if s.fault and s.file.path in needed]
        if bad:
            raise SpeechFailed(
                f"'emo_text' cannot be read: the language model that reads it is not (all) in {self._model_dir}: "
                f"{bad[0]}; run: {self._weights.command} --all, or give 'emo_vector' instead"
            )

    def _load(self) -> Any:
        infer = upstream.module("indextts.infer_v2")
        with upstream.loading(self._weights, self._model_dir):
            reader = infer.QwenEmotion(str(self._model_dir / self._folder))
            reader.model.to(self._device)
        return reader
