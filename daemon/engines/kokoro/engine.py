"""The engine itself: texts to segments, segments to audio."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from daemon.audio import Audio
from daemon.engines.base import EngineSettings, Json, Segment, SegmentError, Utterance
from daemon.engines.clips import BadClip
from daemon.engines.kokoro.files import MODEL_SHA256, REWRITE_VERSION, model_file, rewritten_model_file
from daemon.engines.kokoro.loudness import level, to_pcm, trim
from daemon.engines.kokoro.model import SAMPLE_RATE, Model
from daemon.engines.kokoro.phonemes import Phonemizer
from daemon.engines.kokoro.split import split_text
from daemon.engines.kokoro.voices import TABLE_VERSION, Match, VoiceBook
from daemon.errors import EngineUnavailable

#: Change it whenever the sound of the same request changes.
VERSION = "1"

_MOST_THREADS = 4


class KokoroEngine:
    """A loaded Kokoro.

    Segments of a batch are spoken side by side, one core each; none knows of its neighbours, so its audio is the
    same alone or in company. The model is deterministic: a seed changes nothing.

    Raises:
        EngineUnavailable: a file is missing or wrong, or another device than the CPU is asked for.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, settings: EngineSettings) -> None:
        if settings.device not in ("auto", "cpu"):
            raise EngineUnavailable(
                f"The kokoro engine runs on the CPU only, not on {settings.device}: set engine.device to auto or cpu."
            )
        threads = cast(int | None, settings.options.get("threads")) or min(_usable_cores(), _MOST_THREADS)
        self.plain_batch = self.max_batch = threads
        original = model_file(settings)
        rewritten = rewritten_model_file(original, settings.cache_dir)
        form = f"rewrite {REWRITE_VERSION}" if rewritten else "original"
        self.identity = f"kokoro {VERSION} model {MODEL_SHA256[:12]} {form} voices {TABLE_VERSION}"
        self._model = Model(rewritten or original)
        self._voices = VoiceBook()
        self._phonemizer = Phonemizer(settings.cache_dir)
        self._pool = ThreadPoolExecutor(self.max_batch, "kokoro")

    def split(self, text: str, options: Mapping[str, Json]) -> list[Segment]:  # noqa: ARG002
        """Cut a text into segments of one to a few sentences.

        Raises:
            SpeechFailed: nothing in the text can be spoken.
        """
        return split_text(text, self._phonemizer.tokens)

    def speak(self, batch: Sequence[Utterance]) -> list[Audio | SegmentError]:
        """Speak utterances side by side, answered in order."""
        # Voices first, one by one: the book is not made for several threads.
        voices = [self._voice(utterance) for utterance in batch]
        return list(self._pool.map(self._speak_one, batch, voices))

    def recover(self) -> bool:
        """It can always go on."""
        return True

    def gpu_bytes(self) -> int:
        """It needs no GPU."""
        return 0

    def closest_voice(self, clip: Path) -> tuple[str, float]:
        """Name of the voice closest to a recording and its similarity, -1 to 1.

        Raises:
            BadClip: the recording cannot serve as a prompt.
        """
        match = self._voices.listen(clip)
        return match.voice, match.similarity

    def _voice(self, utterance: Utterance) -> Match | SegmentError:
        try:
            return self._voices.match(utterance.prompt.file, utterance.prompt.sha256)
        except BadClip as error:
            return SegmentError(str(error))

    def _speak_one(self, utterance: Utterance, voice: Match | SegmentError) -> Audio | SegmentError:
        if isinstance(voice, SegmentError):
            return voice
        tokens = cast(list[int], utterance.segment.payload)
        speed = cast(float, utterance.options.get("speed", 1.0))
        samples = self._model.speak(tokens, voice.style, speed)
        return Audio(to_pcm(level(trim(samples))), SAMPLE_RATE)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; it knows of containers' and services' limits
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
