"""A tiny random checkpoint of IndexTTS 1.5; 1 code is 1024 samples, as in the true one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import common

CONFIG: dict[str, Any] = {
    "dataset": {"bpe_model": "bpe.model", "sample_rate": 24000},
    "gpt": {
        **common.CODES,
        "use_mel_codes_as_input": True,
        "mel_length_compression": 1024,
        "train_solo_embeddings": False,
        "condition_type": "conformer_perceiver",
        "condition_module": common.CONDITION,
        "model_dim": 32,
        "layers": 2,
        "heads": 2,
        "max_mel_tokens": 605,
        "max_text_tokens": 402,
        "number_text_tokens": 200,
    },
    "bigvgan": {
        "resblock": "1",
        "upsample_rates": [32, 32],
        "upsample_kernel_sizes": [64, 64],
        "upsample_initial_channel": 16,
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
        "activation": "snakebeta",
        "snake_logscale": True,
        "feat_upsample": False,
        "speaker_embedding_dim": 16,
        "cond_d_vector_in_each_upsampling_layer": True,
        "gpt_dim": 32,
        "num_mels": 100,
    },
    "gpt_checkpoint": "gpt.pth",
    "bigvgan_checkpoint": "bigvgan_generator.pth",
    "version": 1.5,
}


def folder(factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder, made once for a test run."""
    return common.built(factory, "v15", build)


def _shape(gpt: Any) -> None:
    common.shape_gpt(gpt, ends=12, ramp=6)


def build(target: Path, sizes: dict[str, Any] = CONFIG, shape: Callable[[Any], None] = _shape) -> None:
    """Write the checkpoint. Args: sizes: its configuration; shape: what is done to the GPT's random weights."""
    import torch
    from indextts.BigVGAN.models import BigVGAN
    from indextts.gpt.model import UnifiedVoice
    from omegaconf import OmegaConf

    config = OmegaConf.create(sizes)
    OmegaConf.save(config, target / "config.yaml")
    common.write_bpe(target / "bpe.model", 200)
    with torch.random.fork_rng():
        torch.manual_seed(15)
        gpt = UnifiedVoice(**config.gpt)
        shape(gpt)
        vocoder = BigVGAN(config.bigvgan)
    torch.save({"model": gpt.state_dict()}, target / "gpt.pth")
    torch.save({"generator": vocoder.state_dict()}, target / "bigvgan_generator.pth")
