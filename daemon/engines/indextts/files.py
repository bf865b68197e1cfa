"""The files of each version's weights: what upstream's own code reads, at the places where it looks for them."""

from __future__ import annotations

from daemon.engines.weights import WeightFile, Weights

_TIKTOKEN = "multilingual_zh_ja_yue_char_del.tiktoken"
#: The files that tell whose a folder is: no other version has all of them.
_MARKS = {
    "indextts-1.5": ("bigvgan_generator.pth", "bpe.model"),
    "indextts-2": ("s2mel.pth", "bpe.model"),
    "indextts-2.5": ("codec.pth", _TIKTOKEN),
}
_BILIBILI = (
    "the bilibili Model Use License: above 100 million monthly users or RMB 1 billion of yearly revenue only with a"
    " licence of its own, not to improve other AI models unless they are non-commercial, not for high-risk uses, and to"
    " be passed on with every copy"
)
_LICENCE_15 = (
    "the weights were published for non-commercial use; for commercial use bilibili wants to be asked first. The"
    f" model's page says what holds now. The installed code is under {_BILIBILI}."
)
_LICENCE_2 = f"weights and code are under {_BILIBILI}. The side nets have licences of their own."


def _of_model(repo: str, *names: str, serves: str = "") -> tuple[WeightFile, ...]:
    return tuple(WeightFile(name, repo, name, serves) for name in names)


def _side_net(repo: str, folder: str, *names: str) -> tuple[WeightFile, ...]:
    return tuple(WeightFile(f"hf_cache/{folder}/{name}", repo, name) for name in names)


def _emotion_reader(repo: str) -> tuple[WeightFile, ...]:
    """The language model that turns a described feeling into weights; 1.2 GB."""
    names = (
        "config.json",
        "generation_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "tokenizer_config.json",
        "merges.txt",
        "vocab.json",
        "tokenizer.json",
        "model.safetensors",
    )
    return _of_model(repo, *(f"qwen0.6bemo4-merge/{name}" for name in names), serves="the option 'emo_text'")


_GLOSSARY = WeightFile("glossary.yaml", "", "", "your own pronunciations, if you write it")
_VOICE_NETS = (
    *_side_net("facebook/w2v-bert-2.0", "w2v-bert-2.0", "config.json", "preprocessor_config.json", "model.safetensors"),
    WeightFile("hf_cache/campplus_cn_common.bin", "funasr/campplus", "campplus_cn_common.bin"),
    *_side_net("nvidia/bigvgan_v2_22khz_80band_256x", "bigvgan", "config.json", "bigvgan_generator.pt"),
)
_REPO_15, _REPO_2, _REPO_25 = "IndexTeam/IndexTTS-1.5", "IndexTeam/IndexTTS-2", "IndexTeam/IndexTTS-2.5"
_COMMON = ("config.yaml", "feat1.pt", "feat2.pt", "wav2vec2bert_stats.pt", "s2mel.pth", "gpt.pth")

WEIGHTS_15 = Weights(
    engine="indextts-1.5",
    title="IndexTTS 1.5",
    repo=_REPO_15,
    files=_of_model(_REPO_15, "config.yaml", "bpe.model", "bigvgan_generator.pth", "gpt.pth"),
    licence=_LICENCE_15,
    marks=_MARKS,
)
WEIGHTS_2 = Weights(
    engine="indextts-2",
    title="IndexTTS 2",
    repo=_REPO_2,
    files=(
        *_of_model(_REPO_2, "bpe.model", *_COMMON),
        *_VOICE_NETS,
        WeightFile("hf_cache/semantic_codec_model.safetensors", "amphion/MaskGCT", "semantic_codec/model.safetensors"),
        *_emotion_reader(_REPO_2),
        _GLOSSARY,
    ),
    licence=_LICENCE_2,
    marks=_MARKS,
)
WEIGHTS_25 = Weights(
    engine="indextts-2.5",
    title="IndexTTS 2.5",
    repo=_REPO_25,
    files=(
        *_of_model(_REPO_25, _TIKTOKEN, *_COMMON, "codec.pth"),
        *_VOICE_NETS,
        *_emotion_reader(_REPO_25),
        _GLOSSARY,
    ),
    licence=_LICENCE_2,
    marks=_MARKS,
)
