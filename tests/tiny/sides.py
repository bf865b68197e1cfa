"""The small nets that IndexTTS 2 and 2.5 lean on, random and as small as the widths fixed in the models' code allow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SEMANTIC_CODEC = {
    "codebook_size": 130,
    "hidden_size": 1024,
    "codebook_dim": 8,
    "vocos_dim": 16,
    "vocos_intermediate_dim": 16,
    "vocos_num_layers": 1,
}
S2MEL = {
    "preprocess_params": {
        "sr": 22050,
        "spect_params": {"n_fft": 1024, "win_length": 1024, "hop_length": 256, "n_mels": 80, "fmin": 0, "fmax": "None"},
    },
    "dit_type": "DiT",
    "reg_loss_type": "l1",
    "style_encoder": {"dim": 192},
    "length_regulator": {
        "channels": 32,
        "in_channels": 1024,
        "content_codebook_size": 16,
        "sampling_ratios": [1, 1, 1, 1],
        "is_discrete": False,
    },
    "DiT": {
        "hidden_dim": 32,
        "num_heads": 2,
        "depth": 3,
        "class_dropout_prob": 0.1,
        "block_size": 8192,
        "in_channels": 80,
        "content_dim": 32,
        "content_codebook_size": 16,
        "content_type": "discrete",
        "final_layer_type": "wavenet",
        "style_condition": True,
        "long_skip_connection": True,
        "uvit_skip_connection": True,
        "is_causal": False,
        "zero_prompt_speech_token": False,
        "time_as_token": False,
        "style_as_token": False,
    },
    "wavenet": {
        "hidden_dim": 32,
        "num_layers": 2,
        "kernel_size": 5,
        "dilation_rate": 1,
        "p_dropout": 0.2,
        "style_condition": True,
    },
}
#: Of the eight feelings, how many rows of the emotion matrix are each one's.
EMO_NUM = [3, 17, 2, 8, 4, 5, 10, 24]
VOCODER = {
    "num_mels": 80,
    "upsample_rates": [16, 16],
    "upsample_kernel_sizes": [32, 32],
    "upsample_initial_channel": 16,
    "resblock": "1",
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "activation": "snakebeta",
    "snake_logscale": True,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "sampling_rate": 22050,
}


def write(model_dir: Path, campplus: Any, vocoder: Any) -> None:
    """Put `hf_cache/` with w2v-bert, CAMPPlus and the vocoder into `model_dir`."""
    import torch

    cache = model_dir / "hf_cache"
    _w2v_bert(cache / "w2v-bert-2.0")
    torch.save(campplus.state_dict(), cache / "campplus_cn_common.bin")
    (cache / "bigvgan").mkdir()
    (cache / "bigvgan" / "config.json").write_text(json.dumps(VOCODER))
    torch.save({"generator": vocoder.state_dict()}, cache / "bigvgan" / "bigvgan_generator.pt")


def share_compiled(cache_dir: Path) -> Path:
    """Let an engine's cache hold what librosa compiles for 20 s where other tests find it; returns the cache."""
    compiled = Path(sys.prefix) / "tests" / "numba"
    compiled.mkdir(parents=True, exist_ok=True)
    cache_dir.mkdir(parents=True)
    (cache_dir / "numba").symlink_to(compiled)
    return cache_dir


def write_matrices(model_dir: Path, model_dim: int) -> None:
    """Put the statistics of w2v-bert and the two matrices of feelings into `model_dir`."""
    import torch

    torch.save({"mean": torch.zeros(1024), "var": torch.ones(1024)}, model_dir / "wav2vec2bert_stats.pt")
    torch.save(torch.randn(sum(EMO_NUM), 192), model_dir / "feat1.pt")
    torch.save(10 * torch.randn(sum(EMO_NUM), model_dim), model_dir / "feat2.pt")


def steer(gpt: Any, ends: int, hearing: float = 60.0, ramp: int = 6, push: float = 3.0) -> None:
    """Let a random GPT stop after about `ends` codes, give or take what it says, and let text and voice matter to it.

    One direction of its hidden state is kept for the place alone: below `ends` it forbids to stop, above it demands it.
    """
    import torch

    width = gpt.mel_head.weight.shape[1]
    scale = (width / 32) ** 0.5
    place = torch.randn(width)
    place = torch.nn.functional.normalize(place - place.mean(), dim=0)
    with torch.no_grad():
        for name, weight in gpt.named_parameters():
            if name.startswith("gpt.h.") and weight.dim() == 2:
                weight.mul_(hearing if "attn.c_proj" in name else 12)
            if name.startswith("gpt.h.") and "c_proj.weight" in name:
                weight.sub_((weight @ place)[:, None] * place)
        for table in (gpt.text_embedding, gpt.mel_embedding, gpt.text_pos_embedding.emb):
            table.weight.mul_(30)
        gpt.emo_layer.weight.mul_(3)
        said, places = gpt.mel_embedding.weight, gpt.mel_pos_embedding.emb.weight
        said.sub_((said @ place)[:, None] * place)
        distance = (torch.arange(len(places)) - ends).div(ramp).clamp(-1, 1)
        places.mul_(0.6).sub_((places @ place)[:, None] * place).add_(scale * push * distance[:, None] * place)
        gpt.mel_head.weight.mul_(3)
        gpt.mel_head.weight[gpt.stop_mel_token] = 80 / scale * place


def _w2v_bert(folder: Path) -> None:
    """17 layers of width 1024 are fixed in the models' code: 250 MB. All but the first do nothing: they are zeros."""
    import torch
    from safetensors.torch import save_file
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    config = Wav2Vec2BertConfig(
        hidden_size=1024,
        num_hidden_layers=17,
        num_attention_heads=2,
        intermediate_size=8,
        feature_projection_input_dim=160,
        conv_depthwise_kernel_size=3,
        left_max_position_embeddings=8,
        right_max_position_embeddings=8,
    )
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = Wav2Vec2BertModel(config).state_dict()
    save_file(
        {name: _weight(name, like) for name, like in shapes.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    features = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2, sampling_rate=16_000)
    features.save_pretrained(folder)


def _weight(name: str, like: Any) -> Any:
    import torch

    if name.startswith("encoder.layers.") and not name.startswith("encoder.layers.0."):
        return torch.zeros(like.shape, dtype=torch.float16)
    if like.dim() == 1:
        return torch.full(like.shape, float(name.endswith("weight")), dtype=torch.float16)
    return torch.randn(like.shape).mul_(0.03).half()
