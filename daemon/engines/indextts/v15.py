"""IndexTTS 1.5. Imported in the engine's process only, after `upstream.prepare`.

`普通推理` goes through upstream's own `infer`, which is given the segment's tokens, and the voice's features instead of
computing them anew for each segment. `批次推理` decodes many segments at once and vocodes them row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from daemon.audio import Audio
from daemon.engines.base import Engine, EngineSettings, Json, Segment, SegmentError, Utterance
from daemon.engines.clips import BadClip
from daemon.engines.indextts import gpu, texts, upstream
from daemon.engines.indextts.decode import Groups, Row, Tensor, decode, warn_of_cut
from daemon.engines.indextts.files import WEIGHTS_15
from daemon.engines.indextts.options import IndexSettings, Options15
from daemon.engines.indextts.voices import RULES_15, Voice, Voices

_MUTE = "the model made no speech of this segment; another seed, or other words, may help"


@dataclass(frozen=True, slots=True)
class Heard:
    """What the model keeps of a recording.

    Attributes:
        mel: spectrogram (1, 100, frames).
        conditioning: for the GPT, (1, 32, dim).
        speaker: for the vocoder, (1, 1, 512).
    """

    mel: Tensor
    conditioning: Tensor
    speaker: Tensor


class _Mute(Exception):
    """The model said STOP at once."""


class _HeardEnough(Exception):
    """Ends upstream's `infer` after the recording, where it would begin with the text."""


class _NoText:
    """Stands in for upstream's tokenizer when only the recording matters."""

    def tokenize(self, _text: str) -> list[str]:
        raise _HeardEnough


class Engine15:
    """Speaks with one upstream `IndexTTS` object, which is its own."""

    sample_rate = 24_000
    plain_batch = 1

    def __init__(self, tts: Any, settings: IndexSettings, cache_dir: Path, identity: str) -> None:
        """Args: tts: with its KV cache on; cache_dir: for copies of recordings."""
        self.identity = identity
        self.max_batch = settings.max_batch
        self._tts = tts
        self._tokenizer = tts.tokenizer
        self._groups = Groups(settings.max_batch)
        self._voices: Voices[Heard] = Voices(cache_dir / "voices", settings.voices, RULES_15, self._hear)
        self._voice: Heard
        # Upstream computes these anew for every segment, twice the first; here they are looked up.
        self._condition = tts.gpt.get_conditioning
        self._encode_speaker = tts.bigvgan.speaker_encoder.forward
        tts.gpt.get_conditioning = lambda *_: self._voice.conditioning
        tts.bigvgan.speaker_encoder.forward = lambda *_: self._voice.speaker
        self._shrink = tts.remove_long_silence
        tts.remove_long_silence = self._checked

    def split(self, text: str, options: Mapping[str, Json]) -> list[Segment]:
        """As upstream cuts it; nothing belongs between the segments."""
        asked, limits = Options15.model_validate(dict(options)), self._tts.cfg.gpt
        texts.check_limits(asked, limits.max_text_tokens, limits.max_mel_tokens)
        with upstream.quiet():
            return texts.cut(self._tokenizer, text, asked.max_text_tokens_per_segment, limits.max_text_tokens)

    def speak(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        """Those of `普通推理` one by one, those of `批次推理` together."""
        with upstream.quiet():
            return self._spoken(batch)

    def _spoken(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        voices = [self._voice_of(utterance) for utterance in batch]
        results: dict[int, Audio | SegmentError] = {}
        together: list[int] = []
        for index, (utterance, voice) in enumerate(zip(batch, voices, strict=True)):
            if isinstance(voice, SegmentError):
                results[index] = voice
            elif utterance.batched:
                together.append(index)
            else:
                results[index] = self._infer(utterance, voice)
        heard = [voice.heard for index in together if isinstance(voice := voices[index], Voice)]
        results.update(zip(together, self._together([batch[index] for index in together], heard), strict=True))
        return [results[index] for index in range(len(batch))]

    def recover(self) -> bool:
        """See `gpu.recover`."""
        return gpu.recover(self._tts.device)

    def gpu_bytes(self) -> int:
        """See `gpu.gpu_bytes`."""
        return gpu.gpu_bytes(self._tts.device)

    # --- voices ----------------------------------------------------------------------------------------------------

    def _voice_of(self, utterance: Utterance) -> Voice[Heard] | SegmentError:
        try:
            return self._voices.of(utterance.prompt)
        except BadClip as error:
            return SegmentError(str(error))

    def _hear(self, file: Path) -> Heard:
        """Upstream reads the recording, so that it is resampled and mixed down as upstream does it."""
        tts = self._tts
        tts.cache_cond_mel, tts.tokenizer = None, _NoText()
        with suppress(_HeardEnough):
            tts.infer(str(file), "", None)
        mel = tts.cache_cond_mel
        with self._computing():
            conditioning = self._condition(mel, torch.tensor([mel.shape[-1]], device=mel.device))
            return Heard(mel, conditioning, self._encode_speaker(mel.transpose(1, 2), None))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """In the precision that upstream's `infer` computes in."""
        tts = self._tts
        kind = torch.device(tts.device).type
        with torch.no_grad(), torch.amp.autocast(kind, enabled=tts.dtype is not None, dtype=tts.dtype):
            yield

    # --- 普通推理 --------------------------------------------------------------------------------------------------

    def _infer(self, utterance: Utterance, voice: Voice[Heard]) -> Audio | SegmentError:
        tts, file = self._tts, str(voice.file)
        self._voice = voice.heard
        tts.cache_audio_prompt, tts.cache_cond_mel = file, voice.heard.mel
        tts.tokenizer = texts.GivenTokens(self._tokenizer, _tokens(utterance))
        torch.manual_seed(utterance.seed)
        try:
            rate, samples = tts.infer(file, utterance.segment.text, None, **_asked(utterance).given())
        except _Mute:
            return SegmentError(_MUTE)
        return Audio(samples.tobytes(), rate)

    def _checked(self, codes: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """Upstream's `remove_long_silence` on what one segment's `infer` decoded."""
        if not (codes == self._tts.stop_mel_token).any():
            warn_of_cut(codes.shape[-1])
        shrunk, lengths = self._shrink(codes, **options)
        if not shrunk.shape[-1]:
            raise _Mute
        return shrunk, lengths

    # --- 批次推理 --------------------------------------------------------------------------------------------------

    def _together(self, batch: Sequence[Utterance], voices: Sequence[Heard]) -> list[Audio | SegmentError]:
        rows = [self._row(utterance, voice) for utterance, voice in zip(batch, voices, strict=True)]
        found = self._groups.each(rows, self._latents)
        return [
            SegmentError(_MUTE) if latents is None else self._vocode(latents, voice)
            for latents, voice in zip(found, voices, strict=True)
        ]

    def _row(self, utterance: Utterance, voice: Heard) -> Row:
        tokens = texts.ids(self._tokenizer, _tokens(utterance))
        return Row(voice.conditioning, tokens, _asked(utterance).batched(), utterance.seed)

    def _latents(self, rows: list[Row]) -> list[Tensor | None]:
        """What the vocoder needs of each row, (1, codes, dim); None of one without codes."""
        with self._computing():
            codes = decode(self._tts.gpt, rows)
            for row, said in zip(rows, codes, strict=True):
                if len(said) == row.sampling["max_mel_tokens"]:
                    warn_of_cut(len(said))
            codes = [self._shrink(said[None])[0][0] for said in codes]
            return [latents if latents.shape[1] else None for latents in _latents(self._tts.gpt, rows, codes)]

    def _vocode(self, latents: Tensor, voice: Heard) -> Audio:
        """Row by row: padding would be heard in the last codes of shorter rows."""
        self._voice = voice
        with self._computing():
            wave, _ = self._tts.bigvgan(latents, voice.mel.transpose(1, 2))
        samples = torch.clamp(32767 * wave.flatten(), -32767.0, 32767.0).cpu().type(torch.int16)
        return Audio(samples.numpy().tobytes(), self.sample_rate)


def _latents(gpt: Any, rows: Sequence[Row], codes: Sequence[Tensor]) -> list[Tensor]:
    """The GPT's last hidden states at the codes, of all rows in one pass.

    Padded on the right: attention is causal, so that no row sees its padding and a mask would change nothing.
    """
    sequences, starts = [], []
    for row, said in zip(rows, codes, strict=True):
        text = torch.tensor([[gpt.start_text_token, *row.tokens, gpt.stop_text_token]], device=said.device)
        speech = torch.nn.functional.pad(said, (1, 0), value=gpt.start_mel_token)[None]
        embedded = (
            gpt.text_embedding(text) + gpt.text_pos_embedding(text),
            gpt.mel_embedding(speech) + gpt.mel_pos_embedding(speech),
        )
        sequences.append(torch.cat([row.conditioning, *embedded], dim=1)[0])
        starts.append(row.conditioning.shape[1] + text.shape[1])
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    hidden = gpt.final_norm(gpt.gpt(inputs_embeds=padded, return_dict=True).last_hidden_state)
    return [
        hidden[index : index + 1, start : start + len(said)]
        for index, (start, said) in enumerate(zip(starts, codes, strict=True))
    ]


def _asked(utterance: Utterance) -> Options15:
    return Options15.model_validate(dict(utterance.options))


def _tokens(utterance: Utterance) -> list[str]:
    tokens = utterance.segment.payload
    assert isinstance(tokens, list)
    return tokens


def load(settings: EngineSettings, model_dir: Path) -> Engine:
    """The engine, in some seconds.

    Args:
        model_dir: its weights, found whole as far as a glance can tell.

    Raises:
        EngineUnavailable: packages, weights or the device are missing or wrong.
    """
    options = IndexSettings.model_validate(dict(settings.options))
    device = gpu.choose_device(settings.device)
    precision = gpu.choose_precision(options.precision, device, auto="fp16")
    upstream.read_texts_with_wetext(upstream.module("indextts.utils.front"))
    infer = upstream.module("indextts.infer")
    half = precision == "fp16"
    with upstream.loading(WEIGHTS_15, model_dir):
        tts = infer.IndexTTS(str(model_dir / "config.yaml"), str(model_dir), half, device, use_cuda_kernel=False)
        # Without it every code is computed from all codes before it; upstream has it on in fp16 only.
        tts.gpt.post_init_gpt2_config(use_deepspeed=False, kv_cache=True, half=half)
    computing = f"{precision} on {device.partition(':')[0]}"
    identity = upstream.identity("indextts2-cli", WEIGHTS_15, model_dir, computing)
    return Engine15(tts, options, settings.cache_dir, identity)
