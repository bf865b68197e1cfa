"""IndexTTS 2. Imported in the engine's process only, after `upstream.prepare`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from daemon.engines.base import Engine, EngineSettings, Json
from daemon.engines.indextts import gpu, texts, upstream
from daemon.engines.indextts.decode import Tensor
from daemon.engines.indextts.emotional import EmotionalEngine, Heard
from daemon.engines.indextts.feelings import Feelings
from daemon.engines.indextts.files import WEIGHTS_2
from daemon.engines.indextts.options import IndexSettings, Options2
from daemon.engines.indextts.relay import Question
from daemon.engines.indextts.voices import Voice
from daemon.errors import EngineUnavailable

#: Where upstream keeps what it computed from the last recording, of the voice and of the feeling.
_OF_VOICE = ("cache_spk_cond", "cache_s2mel_style", "cache_s2mel_prompt", "cache_spk_audio_prompt", "cache_mel")
_OF_FEELING = ("cache_emo_cond", "cache_emo_audio_prompt")


class Engine2(EmotionalEngine):
    """IndexTTS 2. Its segments' payload: `tokens`, upstream's own."""

    def __init__(self, tts: Any, *args: Any) -> None:
        """Args: tts: upstream's object; the others are `EmotionalEngine`'s."""
        super().__init__(tts, *args)
        self._tokenizer = tts.tokenizer

    def _options(self, options: Mapping[str, Json]) -> Options2:
        return Options2.model_validate(dict(options))

    def _cut(self, text: str, asked: Options2) -> list[tuple[str, dict[str, Json], int]]:
        limits = self._tts.cfg.gpt
        texts.check_limits(asked, limits.max_text_tokens, limits.max_mel_tokens)
        pieces = texts.cut(self._tokenizer, text, asked.max_text_tokens_per_segment, limits.max_text_tokens)
        return [(piece.text, {"tokens": piece.payload}, piece.size) for piece in pieces]

    def _infer(
        self, payload: Mapping[str, Any], voice: Voice[Heard], feeling: Voice[Heard], given: dict[str, Any]
    ) -> Any:
        self._tts.tokenizer = texts.GivenTokens(self._tokenizer, payload["tokens"])
        with self._remembering(voice, _OF_VOICE), self._remembering(feeling, _OF_FEELING):
            return self._tts.infer(str(voice.file), "", None, **given)

    @contextlib.contextmanager
    def _remembering(self, voice: Voice[Heard], names: tuple[str, ...]) -> Iterator[None]:
        """Upstream remembers one recording; here each has its own memory, which lives as long as its `Voice`."""
        for name in names:
            setattr(self._tts, name, voice.heard.get(name))
        try:
            yield
        finally:
            voice.heard.update({name: getattr(self._tts, name) for name in names})

    def _heard(self, question: Question) -> tuple[Tensor, Tensor, int | None]:
        """The voice with the feeling, and the two embeddings of the speed that upstream always asks for."""
        tokens, named = question.given[1], question.named
        gpt = self._tts.gpt
        speeds = gpt.speed_emb(torch.tensor([[1, 0]], device=tokens.device))
        return torch.cat((self._latent(question) + named["emo_vec"][:, None], speeds), 1), tokens, None

    def _answer(self, codes: Tensor, question: Question) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), self._autocast():
            return codes, self._latent(question)

    def _latent(self, question: Question) -> Tensor:
        return self._tts.gpt.get_conditioning(question.given[0].transpose(1, 2), question.named["cond_lengths"])


def load(settings: EngineSettings, model_dir: Path) -> Engine:
    """IndexTTS 2 from the folder `engine.model_dir`.

    Args:
        model_dir: its weights, found whole as far as a glance can tell.

    Raises:
        EngineUnavailable: packages, weights or the device are missing or wrong.
    """
    options = IndexSettings.model_validate(dict(settings.options))
    device = gpu.choose_device(settings.device)
    precision = gpu.choose_precision(options.precision, device, auto="fp32")
    upstream.read_texts_with_wetext(upstream.module("indextts.utils.front"))
    leave_out_codec()
    infer = upstream.module("indextts.infer_v2")
    with upstream.loading(WEIGHTS_2, model_dir), from_files(infer, model_dir / "hf_cache"):
        tts = infer.IndexTTS2(
            str(model_dir / "config.yaml"), str(model_dir), precision == "fp16", device, use_cuda_kernel=False
        )
    feelings = Feelings(model_dir, tts.cfg.qwen_emo_path, WEIGHTS_2, device)
    computing = f"{precision} on {device.partition(':')[0]}"
    identity = upstream.identity("indextts2-cli", WEIGHTS_2, model_dir, computing)
    return Engine2(tts, options, settings.cache_dir, feelings, identity)


def leave_out_codec() -> None:
    """Upstream imports an audio codec, and dozens of packages with it, for a class that no release of 2 uses."""
    codec = ModuleType("indextts.s2mel.dac.nn.quantize")
    codec.VectorQuantize = None  # type: ignore[attr-defined]
    sys.modules.setdefault(codec.__name__, codec)


@contextlib.contextmanager
def from_files(infer: Any, folder: Path) -> Iterator[None]:
    """Let upstream's constructor take from `folder` what it would fetch from a hub by name.

    Nor does it load the language model that reads `emo_text`: most requests do without its 1.2 GB.
    """
    hub = upstream.module("indextts.utils.maskgct_utils")
    files = {"amphion/MaskGCT": "semantic_codec_model.safetensors", "funasr/campplus": "campplus_cn_common.bin"}
    with (
        _replaced(infer, "QwenEmotion", lambda _: None),
        _replaced(infer, "hf_hub_download", lambda repo, **_: str(folder / files[repo])),
        _replaced(
            infer, "SeamlessM4TFeatureExtractor", _local(infer.SeamlessM4TFeatureExtractor, folder / "w2v-bert-2.0")
        ),
        _replaced(hub, "Wav2Vec2BertModel", _Whole(hub.Wav2Vec2BertModel, folder / "w2v-bert-2.0")),
        _replaced(infer, "bigvgan", SimpleNamespace(BigVGAN=_local(infer.bigvgan.BigVGAN, folder / "bigvgan"))),
        _replaced(infer, "load_checkpoint2", _whole(infer.load_checkpoint2)),
    ):
        yield


def _local(net: Any, folder: Path) -> Any:
    return SimpleNamespace(from_pretrained=lambda _, **named: net.from_pretrained(str(folder), **named))


class _Whole:
    """A model of transformers that is refused if its file lacks weights: it would speak with random ones."""

    def __init__(self, net: Any, folder: Path) -> None:
        self._net, self._folder = net, folder

    def from_pretrained(self, _: str) -> Any:
        net, found = self._net.from_pretrained(str(self._folder), output_loading_info=True)
        _refuse_missing(self._folder / "model.safetensors", found["missing_keys"])
        return net


def _whole(load_checkpoint: Any) -> Any:
    """Upstream's loader of s2mel.pth leaves random what does not fit; here that is refused."""

    def load(model: Any, optimizer: Any, path: str, **named: Any) -> Any:
        nets = torch.load(path, map_location="cpu", mmap=True, weights_only=True)["net"]
        for name, net in model.models.items():
            held = {key.removeprefix("module."): weight.shape for key, weight in nets[name].items()}
            lacking = [key for key, weight in net.named_parameters() if held.get(key) != weight.shape]
            _refuse_missing(Path(path), [f"{name}.{key}" for key in lacking])
        return load_checkpoint(model, optimizer, path, **named)

    return load


def _refuse_missing(file: Path, missing: list[str]) -> None:
    if missing:
        raise EngineUnavailable(
            f"{file} does not fit this engine, as if it were of another version: it lacks {len(missing)} weights, "
            f"{missing[0]} among them; fetch it again if it differs from the hub's: {WEIGHTS_2.command} --verify"
        )


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, kept)
