"""IndexTTS 2.5, of the package indextts25. Imported in the engine's process only, after `upstream.prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from daemon.engines.base import Engine, EngineSettings, Json
from daemon.engines.indextts import gpu, language, texts, upstream
from daemon.engines.indextts.decode import Tensor
from daemon.engines.indextts.emotional import EmotionalEngine, Heard
from daemon.engines.indextts.feelings import Feelings
from daemon.engines.indextts.files import WEIGHTS_25
from daemon.engines.indextts.options import Options25, Settings25
from daemon.engines.indextts.relay import Question
from daemon.engines.indextts.voices import Voice
from daemon.errors import SpeechFailed


class Engine25(EmotionalEngine):
    """IndexTTS 2.5. Its segments' payload: `text` as upstream prepared it, `lang`, `duration_factor` if asked for."""

    def __init__(self, tts: Any, *args: Any) -> None:
        """Args: tts: upstream's object; the others are `EmotionalEngine`'s."""
        super().__init__(tts, *args)
        self._prepare, self._split = tts._prepare_text, tts.split_text_by_tokens
        # Segments were normalised and cut when their text was; upstream's `infer` takes them as they are.
        tts._prepare_text = lambda text, *_: text
        tts.split_text_by_tokens = lambda text, *_: [text]

    def _options(self, options: Mapping[str, Json]) -> Options25:
        return Options25.model_validate(dict(options))

    def _cut(self, text: str, asked: Options25) -> list[tuple[str, dict[str, Json], int]]:
        """Marks of pronunciation stay whole."""
        limits = self._tts.cfg.gpt
        texts.check_limits(asked, limits.max_text_tokens, limits.max_mel_tokens)
        texts.check_speakable(text)
        lang = asked.lang or language.guess(text)
        language.check(text, lang)
        prefix = f"<|{lang.lower()}|> "
        pieces = self._split(self._prepare(text, lang), asked.max_text_tokens_per_segment, prefix)
        sized = [(piece, self._tts._token_len(prefix + piece)) for piece in pieces if _speakable(piece)]
        for piece, size in sized:
            self._check_size(piece, size)
        common: dict[str, Json] = {"lang": lang, "duration_factor": asked.duration_factor}
        return [(piece.strip(), {"text": piece, **common}, size) for piece, size in sized]

    def _infer(
        self, payload: Mapping[str, Any], voice: Voice[Heard], feeling: Voice[Heard], given: dict[str, Any]
    ) -> Any:
        if payload["duration_factor"] is not None:
            given["duration_factor"] = payload["duration_factor"]
        # Upstream's caches of a recording live as long as its `Voice`.
        self._tts._spk_cache = voice.heard.setdefault("voice", {})
        self._tts._emo_cache = feeling.heard.setdefault("feeling", {})
        self._tts._emovec_cache = voice.heard.setdefault("mixed", {})
        return self._tts.infer(str(voice.file), payload["text"], None, payload["lang"], **given)

    def _heard(self, question: Question) -> tuple[Tensor, Tensor, int | None]:
        """The style of the voice with the feeling, and the two places that 2.5 leaves empty."""
        tokens, lang, feeling, style = question.given
        mixed = self._tts.gpt.spk_emb_proj(style)[None] + feeling[:, None]
        return torch.nn.functional.pad(mixed, (0, 0, 0, 2)), tokens, int(lang)

    def _answer(self, codes: Tensor, question: Question) -> Tensor:  # noqa: ARG002
        return codes

    def _check_size(self, piece: str, size: int) -> None:
        if size > (most := self._tts.gpt.text_pos_embedding.emb.num_embeddings - 2):
            raise SpeechFailed(f"a segment has {size} text tokens, but the model takes at most {most}: '{piece[:60]}'")


def _speakable(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def load(settings: EngineSettings, model_dir: Path) -> Engine:
    """IndexTTS 2.5 from the folder `engine.model_dir`.

    Args:
        model_dir: its weights, found whole as far as a glance can tell.

    Raises:
        EngineUnavailable: the weights or the device are not what it needs.
    """
    options = Settings25.model_validate(dict(settings.options))
    device = gpu.choose_device(settings.device)
    precision = gpu.choose_precision(options.precision, device, auto="fp32")
    upstream.read_texts_with_wetext(upstream.module("indextts25.utils.front"), "_load_zh_en")
    package = upstream.module("indextts25.infer_v2_5")
    with upstream.loading(WEIGHTS_25, model_dir):
        tts = package.IndexTTS2(str(model_dir / "config.yaml"), str(model_dir), precision == "bf16", device)
    feelings = Feelings(model_dir, tts.cfg.qwen_emo_path, WEIGHTS_25, device)
    computing = f"{precision} on {device.partition(':')[0]}"
    identity = upstream.identity("indextts25-inference", WEIGHTS_25, model_dir, computing)
    return Engine25(tts, options, settings.cache_dir, feelings, identity)
