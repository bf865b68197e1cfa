"""From a sentence to the model's token ids: each run of it read in its own language."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from daemon.engines.kokoro.chinese import ChineseReader
from daemon.engines.kokoro.clean import HAN, clean
from daemon.engines.kokoro.english import EnglishReader
from daemon.engines.kokoro.files import own_data

#: The model's symbols that are no sounds.
SILENT = frozenset(';:,.!?—…"()“” ')

_HAN = re.compile(f"[{HAN}]")
_WORD = r"[A-Za-z][\w'.@/:+&-]*"
# Three Latin words or more in a row, or an address, are English with their numbers; a lone name is not.
_ENGLISH = re.compile(
    rf"https?://[!-~]+|[\w.+-]+@[\w-]+\.[\w.-]+|{_WORD}(?:[ ,;:()\"“”$£€#0-9%.!?-]+{_WORD}){{2,}}(?: \d[\d,.:%]*)?",
    re.ASCII,
)
_LATIN = re.compile(r"[A-Za-z][A-Za-z'.& -]*")
_BEFORE_SIGN = re.compile(r"\s+(?=[,.;:!?…)”])")
_AFTER_SIGN = re.compile(r"(?<=[,.;:!?…])(?=[^\s,.;:!?…)”\"])")


class Phonemizer:
    """Reads Chinese, English and both in one sentence.

    Numbers and signs beside Han characters are read in Chinese; a sentence without Han is English.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._chinese = ChineseReader(cache_dir)
        self._english = EnglishReader()

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text; empty when nothing in it can be spoken."""
        symbols = self.phonemes(text)
        if all(symbol in SILENT for symbol in symbols):
            return []
        table = vocabulary()
        return [table[symbol] for symbol in symbols if symbol in table]

    def phonemes(self, text: str) -> str:
        """Kokoro's symbols of a text."""
        parts = [
            self._english.phonemes(run) if english else self._chinese.phonemes(run) for english, run in self.runs(text)
        ]
        symbols = " ".join(part.strip() for part in parts if part.strip()).replace("，", ",")
        symbols = _AFTER_SIGN.sub(" ", _BEFORE_SIGN.sub("", symbols))
        return re.sub(r"\s+", " ", symbols).strip()

    def reading(self, text: str) -> str:
        """A text as it is read, in words: for people and tests."""
        return re.sub(r"\s+", " ", " ".join(run for _, run in self.runs(text))).strip()

    def runs(self, text: str) -> list[tuple[bool, str]]:
        """Normalised pieces of a text in order, each with whether it is English."""
        text = clean(text)
        if not _HAN.search(text):
            return [(True, self._english.normalise(text))]
        runs: list[tuple[bool, str]] = []
        for english, piece in _cut(_ENGLISH, text):
            if english:
                runs.append((True, self._english.normalise(piece)))
            else:
                runs += _cut(_LATIN, self._chinese.normalise(piece))
        return runs


def _cut(pattern: re.Pattern[str], text: str) -> list[tuple[bool, str]]:
    """The text in pieces, each with whether the pattern matched it."""
    pieces: list[tuple[bool, str]] = []
    start = 0
    for match in pattern.finditer(text):
        pieces += [(False, text[start : match.start()]), (True, match.group())]
        start = match.end()
    pieces.append((False, text[start:]))
    return [(matched, piece) for matched, piece in pieces if piece.strip()]


@cache
def vocabulary() -> dict[str, int]:
    """Id by symbol, of Kokoro v1.0."""
    table: dict[str, int] = json.loads(own_data("vocab.json").read_text(encoding="utf-8"))
    return table
