"""A second upstream object to compare with: untouched, but for its KV cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from daemon.engines.indextts import upstream


class Upstream15:
    """Upstream's `IndexTTS` on a checkpoint; the process must be prepared.

    Attributes:
        said: the codes of the last text's segments, each without its STOP.
    """

    def __init__(self, folder: Path) -> None:
        upstream.read_texts_with_wetext(upstream.module("indextts.utils.front"))
        package = upstream.module("indextts.infer")
        with upstream.quiet():
            self.tts = package.IndexTTS(str(folder / "config.yaml"), str(folder), device="cpu")
            self.tts.gpt.post_init_gpt2_config(use_deepspeed=False, kv_cache=True, half=False)
        self.said: list[list[int]] = []
        self._speech = self.tts.gpt.inference_speech
        self.tts.gpt.inference_speech = self._recorded

    def infer(self, voice: Path, text: str, seed: int = 0, **options: Any) -> np.ndarray:
        """Samples of a whole text, int16."""
        torch.manual_seed(seed)
        self.said = []
        self.tts.cache_cond_mel = None  # it goes by the path, where a test may write another voice
        with upstream.quiet():
            _, samples = self.tts.infer(str(voice), text, None, **options)
        return samples[:, 0]

    def conditioning(self, voice: Path) -> torch.Tensor:
        """What the GPT hears of a voice, (1, 32, dim)."""
        self.infer(voice, "HELLO", max_mel_tokens=2)
        mel = self.tts.cache_cond_mel
        with torch.no_grad():
            return self.tts.gpt.get_conditioning(mel, torch.tensor([mel.shape[-1]]))

    def ids(self, text: str) -> list[int]:
        """The numbers of a text's tokens."""
        return self.tts.tokenizer.convert_tokens_to_ids(self.tts.tokenizer.tokenize(text))

    def _recorded(self, *args: Any, **options: Any) -> torch.Tensor:
        codes = self._speech(*args, **options)
        said = codes[0].tolist()
        self.said.append(said[: said.index(self.tts.stop_mel_token)] if self.tts.stop_mel_token in said else said)
        return codes
