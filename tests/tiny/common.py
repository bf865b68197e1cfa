"""Pieces of tiny random checkpoints: upstream's real code on weights that are made in seconds.

Random weights would say STOP anywhere and hardly hear text or voice, so the ones that decide it are shaped: where
speech ends is set by the positions, and what text, voice and earlier codes do to it is made louder.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

#: Tiny nets gain nothing from threads, and threads of several test workers on few cores wait for each other. Read when
#: torch is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

NEEDED = ("torch", "torchaudio", "transformers", "indextts", "indextts25", "sentencepiece", "omegaconf")
CONDITION = {
    "output_size": 32,
    "linear_units": 32,
    "attention_heads": 2,
    "num_blocks": 1,
    "input_layer": "conv2d2",
    "perceiver_mult": 1,
}
CODES = {
    "start_text_token": 0,
    "stop_text_token": 1,
    "number_mel_codes": 130,
    "start_mel_token": 128,
    "stop_mel_token": 129,
}
CHINESE = "你好世界，今天天气很好。我们一起去公园散步，晚上再回家吃饭！共四百六十五篇文章，你读过吗？"
ENGLISH = (
    "HELLO WORLD, THIS IS A GOOD DAY. WE SPEAK AND YOU LISTEN - DON'T YOU? TWELVE POINT FIVE DOLLARS! XUAN4 ZHONG4"
)


def built(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that `build` filled, once for all workers of a test run."""
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        pytest.fail(f"no Python package {', '.join(missing)}; run: make setup-indextts TORCH=cpu", pytrace=False)
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"tiny-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # upstream's modules warn of their own dependencies
                build(making)
            making.rename(folder)
    return folder


def write_bpe(file: Path, vocabulary: int, extra: Iterable[str] = ()) -> None:
    """A SentencePiece model of Chinese characters, English capitals and upstream's punctuation."""
    import sentencepiece

    lines = [" ".join(CHINESE), ENGLISH, *extra] * 8
    with file.open("wb") as model:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            bos_id=0,
            eos_id=1,
            unk_id=2,
            pad_id=-1,
            hard_vocab_limit=False,
            user_defined_symbols=list(".,!?-'…"),
            minloglevel=2,
        )


def shape_gpt(gpt: Any, ends: int, ramp: float, strength: float = 5.0, stop_weight: float = 10.0) -> None:
    """Let speech end about `ends` codes from its start, and let text, voice and the codes so far decide the codes.

    Args:
        ends: position around which STOP becomes likely.
        ramp: over how many positions; the wider, the more lengths differ.
        strength, stop_weight: how strongly; the product of both must stay below the overflow of beam search.
    """
    import torch

    with torch.no_grad():
        for name, weight in gpt.named_parameters():
            if name.startswith("gpt.h.") and weight.dim() == 2:
                weight.mul_(12)
            elif "perceiver_encoder.norm" in name:
                weight.mul_(2)
        for embedding, factor in ((gpt.text_embedding, 30), (gpt.mel_embedding, 30), (gpt.text_pos_embedding.emb, 30)):
            embedding.weight.mul_(factor)
        gpt.mel_pos_embedding.emb.weight.mul_(0.6)
    set_end(gpt, ends, ramp, strength, stop_weight)


def set_end(gpt: Any, ends: int, ramp: float, strength: float, stop_weight: float) -> None:
    """Let speech end about `ends` codes from its start; the arguments are `shape_gpt`'s."""
    import torch

    with torch.no_grad():
        positions = gpt.mel_pos_embedding.emb.weight
        end = torch.randn(positions.shape[1])
        end = (end - end.mean()) / (end - end.mean()).norm()
        at = (torch.arange(len(positions)) - ends) / ramp
        positions.add_(at.clamp(-1, 1)[:, None] * strength * end)
        gpt.mel_head.weight[gpt.stop_mel_token] = stop_weight * end


def write_brief(source: Path, target: Path, seconds: float = 2.0) -> Path:
    """The beginning of a recording: what 2 and 2.5 compute of it takes as many seconds of work as it lasts."""
    samples, rate = soundfile.read(source, stop=int(seconds * soundfile.info(source).samplerate))
    soundfile.write(target, samples, rate)
    return target


def write_voice(file: Path, hertz: float, seconds: float = 3.0, rate: int = 22_050) -> Path:
    """A recording of something voice-like: a tone with overtones that rises and falls, 16-bit."""
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * hertz * (time + 0.02 * np.sin(2 * np.pi * 2 * time))
    sound = sum(np.sin(phase * n) / n for n in range(1, 6)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    soundfile.write(file, 0.25 * sound, rate, subtype="PCM_16" if file.suffix in (".wav", ".flac") else None)
    return file
