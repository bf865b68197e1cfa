"""What IndexTTS 2 and 2.5 have in common: upstream's `infer` segment by segment, or around codes decoded together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from daemon.audio import Audio
from daemon.engines.base import Json, Segment, SegmentError, Utterance
from daemon.engines.clips import BadClip
from daemon.engines.indextts import gpu, upstream
from daemon.engines.indextts.decode import Groups, Row, Tensor, decode
from daemon.engines.indextts.feelings import Feelings
from daemon.engines.indextts.options import Emotional, IndexSettings
from daemon.engines.indextts.relay import NoCodes, Question, Relay
from daemon.engines.indextts.voices import RULES, Voice, Voices

SAMPLE_RATE = 22_050
#: Upstream's silence between segments, in seconds.
PAUSE = 0.2
#: Makes the seed of a row's diffusion noise another one than that of its codes.
_DIFFUSION = 0x5EED

#: What upstream computed from a recording, as it keeps it: names of its own and values.
Heard = dict[str, Any]


class EmotionalEngine(ABC):
    """Speaks with one upstream `IndexTTS2` object of either version, which it alone uses."""

    sample_rate = SAMPLE_RATE
    plain_batch = 1

    def __init__(self, tts: Any, settings: IndexSettings, cache_dir: Path, feelings: Feelings, identity: str) -> None:
        """Args: tts: upstream's object; cache_dir: for copies of recordings; feelings: reads `emo_text`."""
        self.identity = identity
        self.max_batch = settings.max_batch
        self._tts, self._feelings = tts, feelings
        self._relay = Relay(tts.gpt)
        self._groups = Groups(settings.max_batch)
        # Two at least: a segment may need one for the voice and one for the feeling.
        self._voices: Voices[Heard] = Voices(cache_dir / "voices", max(2, settings.voices), RULES, lambda _: {})

    @abstractmethod
    def _options(self, options: Mapping[str, Json]) -> Any:
        """The request's options, of this version's table."""

    @abstractmethod
    def _cut(self, text: str, asked: Any) -> list[tuple[str, dict[str, Json], int]]:
        """The segments of a text: words for people, what `_infer` needs to say them, number of tokens.

        Raises:
            SpeechFailed: it cannot be spoken, said in one sentence.
        """

    @abstractmethod
    def _infer(
        self, payload: Mapping[str, Any], voice: Voice[Heard], feeling: Voice[Heard], given: dict[str, Any]
    ) -> Any:
        """Upstream's `infer` of one segment: (sample rate, int16 samples (n, 1)), or None if it failed."""

    @abstractmethod
    def _heard(self, question: Question) -> tuple[Tensor, Tensor, int | None]:
        """What the GPT shall go by: conditioning (1, n, dim), tokens (1, length), id of the language if any."""

    @abstractmethod
    def _answer(self, codes: Tensor, question: Question) -> Any:
        """What upstream's `inference_speech` would have returned with codes (1, n)."""

    def split(self, text: str, options: Mapping[str, Json]) -> list[Segment]:
        """Upstream's own cuts. What the text is normalised to, and the feeling that `emo_text` tells, are kept."""
        asked = self._options(options)
        with upstream.quiet():
            pieces = self._cut(text, asked)
        felt = {} if asked.emo_text is None else {"emo_vector": self._feelings.weights_of(asked.emo_text)}
        return [Segment(words, PAUSE, payload | felt, size) for words, payload, size in pieces]

    def speak(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        """Alone, each as upstream's `infer`; those of `批次推理` with their codes decoded together."""
        with upstream.quiet():
            rest = iter(self._together([utterance for utterance in batch if utterance.batched]))
            return [next(rest) if utterance.batched else self._alone(utterance) for utterance in batch]

    def recover(self) -> bool:
        """See `gpu.recover`."""
        return gpu.recover(self._tts.device)

    def gpu_bytes(self) -> int:
        """See `gpu.gpu_bytes`."""
        return gpu.gpu_bytes(self._tts.device)

    def _alone(self, utterance: Utterance) -> Audio | SegmentError:
        return self._audio(utterance, lambda: self._relay.heard(self._inference(utterance), utterance.seed))

    def _together(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        asked = [self._asked(utterance) for utterance in batch]
        rows = [found.row for found in asked if isinstance(found, _Asked)]
        decoded = iter(self._groups.each(rows, self._decode))
        return [
            self._around(utterance, found, next(decoded)) if isinstance(found, _Asked) else found
            for utterance, found in zip(batch, asked, strict=True)
        ]

    def _asked(self, utterance: Utterance) -> _Asked | SegmentError:
        """What upstream would ask its GPT for this segment."""
        try:
            question = self._relay.question(self._inference(utterance))
        except BadClip as error:
            return SegmentError(str(error))
        with torch.no_grad(), self._autocast():
            conditioning, tokens, lang = self._heard(question)
        sampling = self._options(utterance.options).batched()
        return _Asked(question, Row(conditioning, tokens[0].tolist(), sampling, utterance.seed, lang))

    def _decode(self, rows: list[Row]) -> list[Tensor]:
        with self._autocast():
            return decode(self._tts.gpt, rows)

    def _around(self, utterance: Utterance, asked: _Asked, codes: Tensor) -> Audio | SegmentError:
        """The audio of these codes. Its random numbers are the row's own, so that its company is not heard."""
        cut_off = len(codes) == asked.row.sampling["max_mel_tokens"]
        if not cut_off:  # upstream expects the STOP that ended them
            codes = torch.nn.functional.pad(codes, (0, 1), value=self._tts.stop_mel_token)
        answer = self._answer(codes[None], asked.question)
        seed, infer = utterance.seed ^ _DIFFUSION, self._inference(utterance)
        return self._audio(utterance, lambda: self._relay.answered(answer, infer, seed))

    def _audio(self, utterance: Utterance, infer: Callable[[], Any]) -> Audio | SegmentError:
        try:
            result = infer()
        except BadClip as error:
            return SegmentError(str(error))
        except NoCodes:
            result = None
        if result is None or not len(result[1]):
            words = utterance.segment.text[:60]
            return SegmentError(f"the model found nothing to say for '{words}'; word it otherwise, or try another seed")
        return Audio(result[1].tobytes(), SAMPLE_RATE)

    def _inference(self, utterance: Utterance) -> Callable[[], Any]:
        """Upstream's `infer` of this segment, ready to be called."""
        asked, payload = self._options(utterance.options), _payload(utterance)
        felt = utterance.clips.get("emo_audio")

        def infer() -> Any:
            voice = self._voices.of(utterance.prompt)
            feeling = self._voices.of(felt) if felt else voice
            given = asked.given() | _feeling(asked, payload)
            if felt:
                given["emo_audio_prompt"] = str(feeling.file)
            return self._infer(payload, voice, feeling, given)

        return infer

    def _autocast(self) -> Any:
        dtype = self._tts.dtype
        return torch.amp.autocast(torch.device(self._tts.device).type, enabled=dtype is not None, dtype=dtype)


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    row: Row


def _feeling(asked: Emotional, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of upstream's `infer`, but for a recording."""
    vector = payload.get("emo_vector") or asked.emo_vector
    given = {"emo_alpha": asked.emo_alpha, "emo_vector": vector}
    return {key: value for key, value in given.items() if value is not None}


def _payload(utterance: Utterance) -> Mapping[str, Any]:
    payload = utterance.segment.payload
    if not isinstance(payload, Mapping):
        raise TypeError(f"a segment's payload must be an object, not {payload!r}")
    return payload
