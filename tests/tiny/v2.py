"""A tiny random checkpoint of IndexTTS 2: every file of a release, 450 MB, most of it the widths its code fixes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import common, sides

CONFIG: dict[str, Any] = {
    "dataset": {"bpe_model": "bpe.model", "sample_rate": 24000},
    "gpt": {
        **common.CODES,
        "use_mel_codes_as_input": True,
        "mel_length_compression": 1024,
        "train_solo_embeddings": False,
        "condition_type": "conformer_perceiver",
        "condition_module": common.CONDITION,
        "emo_condition_module": common.CONDITION,
        "max_mel_tokens": 1815,
        "max_text_tokens": 600,
        "number_text_tokens": 210,
        "model_dim": 1280,
        "heads": 20,
        "layers": 1,
    },
    "semantic_codec": sides.SEMANTIC_CODEC,
    "s2mel": sides.S2MEL,
    "vocoder": {"type": "bigvgan", "name": "nvidia/bigvgan_v2_22khz_80band_256x"},
    "gpt_checkpoint": "gpt.pth",
    "s2mel_checkpoint": "s2mel.pth",
    "w2v_stat": "wav2vec2bert_stats.pt",
    "emo_matrix": "feat2.pt",
    "spk_matrix": "feat1.pt",
    "emo_num": sides.EMO_NUM,
    "qwen_emo_path": "qwen0.6bemo4-merge/",
    "version": 2.0,
}


def folder(factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder, made once for a test run."""
    return common.built(factory, "v2", build)


def build(target: Path) -> None:
    """Write the checkpoint."""
    import torch

    from daemon.engines.indextts.v2 import leave_out_codec

    leave_out_codec()
    from indextts.gpt.model_v2 import UnifiedVoice
    from indextts.s2mel.modules.bigvgan.bigvgan import BigVGAN
    from indextts.s2mel.modules.bigvgan.env import AttrDict
    from indextts.s2mel.modules.campplus.DTDNN import CAMPPlus
    from indextts.s2mel.modules.commons import MyModel
    from indextts.utils.maskgct_utils import build_semantic_codec
    from omegaconf import OmegaConf
    from safetensors.torch import save_model

    config = OmegaConf.create(CONFIG)
    OmegaConf.save(config, target / "config.yaml")
    common.write_bpe(target / "bpe.model", 200)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        sides.write(target, CAMPPlus(feat_dim=80, embedding_size=192), BigVGAN(AttrDict(sides.VOCODER)))
        sides.write_matrices(target, config.gpt.model_dim)
        gpt = UnifiedVoice(**config.gpt)
        sides.steer(gpt, ends=12)
        codec = build_semantic_codec(config.semantic_codec)
        nets = {name: net.state_dict() for name, net in MyModel(config.s2mel, use_gpt_latent=True).models.items()}
    torch.save({"model": gpt.state_dict()}, target / "gpt.pth")
    torch.save({"net": nets}, target / "s2mel.pth")
    save_model(codec, str(target / "hf_cache" / "semantic_codec_model.safetensors"))
