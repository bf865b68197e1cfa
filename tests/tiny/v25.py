"""A tiny random checkpoint of IndexTTS 2.5: every file of a release, 310 MB, most of it the widths its code fixes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import common, sides

CONFIG: dict[str, Any] = {
    "gpt": {
        **common.CODES,
        "max_mel_tokens": 1815,
        "max_text_tokens": 600,
        "number_text_tokens": 2100,
        "model_dim": 32,
        "heads": 2,
        "layers": 2,
        "emo_condition_module": common.CONDITION,
    },
    "semantic_codec": sides.SEMANTIC_CODEC,
    "s2mel": sides.S2MEL,
    "gpt_checkpoint": "gpt.pth",
    "s2mel_checkpoint": "s2mel.pth",
    "w2v_stat": "wav2vec2bert_stats.pt",
    "emo_matrix": "feat2.pt",
    "spk_matrix": "feat1.pt",
    "emo_num": sides.EMO_NUM,
    "qwen_emo_path": "qwen0.6bemo4-merge/",
    "version": 2.5,
}


def folder(factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder, made once for a test run."""
    return common.built(factory, "v25", build)


def build(target: Path) -> None:
    """Write the checkpoint."""
    import torch
    from indextts25.codec.models import EnhancedCodec
    from indextts25.gpt.model_v2 import UnifiedVoice
    from indextts25.s2mel.modules.bigvgan.bigvgan import BigVGAN
    from indextts25.s2mel.modules.bigvgan.env import AttrDict
    from indextts25.s2mel.modules.campplus.DTDNN import CAMPPlus
    from indextts25.s2mel.modules.commons import MyModel
    from omegaconf import OmegaConf

    config = OmegaConf.create(CONFIG)
    OmegaConf.save(config, target / "config.yaml")
    with torch.random.fork_rng():
        torch.manual_seed(25)
        sides.write(target, CAMPPlus(feat_dim=80, embedding_size=192), BigVGAN(AttrDict(sides.VOCODER)))
        sides.write_matrices(target, config.gpt.model_dim)
        gpt = UnifiedVoice(**config.gpt)
        sides.steer(gpt, ends=12, hearing=180.0)  # one place of many has voice and feeling
        codec = EnhancedCodec(**config.semantic_codec)
        nets = {name: net.state_dict() for name, net in MyModel(config.s2mel).models.items()}
    torch.save({"model": gpt.state_dict()}, target / "gpt.pth")
    torch.save({"model": codec.state_dict()}, target / "codec.pth")
    torch.save({"net": nets}, target / "s2mel.pth")
    ranks = [f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256)]
    (target / "multilingual_zh_ja_yue_char_del.tiktoken").write_text("".join(ranks))
