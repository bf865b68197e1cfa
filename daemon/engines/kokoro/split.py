"""From a text of any length to segments the model speaks well: whole sentences, about 120 tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from daemon.engines.base import Segment
from daemon.errors import SpeechFailed

#: Tokens a segment is filled up to with whole sentences: less is spoken with less breath, more takes more memory and,
#: once it outgrows the processor caches, more time.
GOOD_TOKENS = 120
#: Tokens above which a sentence is cut.
MOST_TOKENS = 230

#: Seconds of pause after a segment that ends a paragraph, a sentence, a clause, or was cut inside one.
PARAGRAPH_PAUSE = 0.6
SENTENCE_PAUSE = 0.3
CLAUSE_PAUSE = 0.15
CUT_PAUSE = 0.05

_BLANK_ID = 16  # of " " in the vocabulary
# Longer pieces are halved before they are read: it keeps the cost of a text without a full stop linear.
_MOST_CHARS = 400

_CLOSERS = "”’」』）】》〉)\\]\"'"
# An ASCII mark ends a sentence only before a blank or Han: not in 3.14, example.com or a?b=1.
_END = re.compile(rf"[。！？…][。！？…!?.]*[{_CLOSERS}]*|[.!?]+[{_CLOSERS}]*(?=[\s\u3400-\u9fff]|$)")
_CLAUSE = re.compile(r"[，、；：—,;:](?!\d)")
_BLANK = re.compile(r"\s")
_LINE_END = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Col|Capt|Lt|Sgt|Rev|No|Fig|vs|approx|Ave|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?"
    r"|Oct|Nov|Dec|e\.g|i\.e|cf|al)|\b[A-Z])\.\s*$"
)

_ABBREVIATION_CHARS = 12
# A line that was broken for its width, not by its writer: long, ends in the middle of an English sentence.
_WRAPPED = re.compile(r".{40,}[A-Za-z,;]$", re.DOTALL)

Tokenise = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    tokens: list[int]


def split_text(text: str, tokenise: Tokenise) -> list[Segment]:
    """Segments of a text in order.

    Raises:
        SpeechFailed: nothing in the text can be spoken.
    """
    segments: list[Segment] = []
    for paragraph in _paragraphs(text):
        pieces = [piece for sentence in _sentences(paragraph) for piece in _fit(sentence, tokenise)]
        packed = _pack(pieces)
        segments += packed[:-1] + [replace(last, pause=PARAGRAPH_PAUSE) for last in packed[-1:]]
    if not segments:
        raise SpeechFailed(
            "There is nothing in the text that can be spoken: this engine reads Chinese and English letters and digits."
        )
    return segments


def _paragraphs(text: str) -> list[str]:
    """Lines, those joined again that were only wrapped; with their line ends."""
    paragraphs: list[list[str]] = []
    previous = ""
    for line in _slices(text, (match.end() for match in _LINE_END.finditer(text))):
        if _WRAPPED.match(previous.rstrip()) and line.strip():
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
        previous = line
    return ["".join(lines) for lines in paragraphs]


def _sentences(text: str) -> list[str]:
    ends = (match.end() for match in _END.finditer(text))
    return _slices(
        text, (end for end in ends if not _ABBREVIATION.search(text[max(0, end - _ABBREVIATION_CHARS) : end]))
    )


def _slices(text: str, ends: Iterable[int]) -> list[str]:
    """The text cut behind each of the rising positions."""
    cuts = [0, *ends, len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if end > start]


def _fit(text: str, tokenise: Tokenise) -> list[_Piece]:
    """A sentence as one piece, or cut in halves until each fits."""
    if len(text) <= _MOST_CHARS:
        tokens = tokenise(text)
        if len(tokens) <= MOST_TOKENS:
            return [_Piece(text, tokens)] if tokens else []
    middle = _middle(text)
    return _fit(text[:middle], tokenise) + _fit(text[middle:], tokenise)


def _middle(text: str) -> int:
    """Where to cut: near the middle behind a clause mark, else at a blank, else between two characters."""
    low, high = len(text) // 4, len(text) * 3 // 4
    for pattern in (_CLAUSE, _BLANK):
        cuts = [match.end() for match in pattern.finditer(text, low, high)]
        if cuts:
            return min(cuts, key=lambda cut: abs(cut - len(text) // 2))
    return len(text) // 2


def _pack(pieces: list[_Piece]) -> list[Segment]:
    """Neighbouring pieces together in segments of about equal length."""
    total = sum(len(piece.tokens) for piece in pieces)
    goal = total / max(1, math.ceil(total / GOOD_TOKENS))
    groups: list[list[_Piece]] = []
    filled = math.inf
    for piece in pieces:
        size = len(piece.tokens) + 1
        if filled + size / 2 > goal or filled + size > MOST_TOKENS:
            groups.append([])
            filled = 0
        groups[-1].append(piece)
        filled += size
    return [_segment(group) for group in groups]


def _segment(pieces: list[_Piece]) -> Segment:
    text = "".join(piece.text for piece in pieces).strip()
    tokens = list(pieces[0].tokens)
    for piece in pieces[1:]:
        tokens += [_BLANK_ID, *piece.tokens]
    return Segment(text, _pause(text), tokens, len(tokens))


def _pause(text: str) -> float:
    tail = text[-_ABBREVIATION_CHARS:]
    if any(match.end() == len(tail) for match in _END.finditer(tail)):
        return SENTENCE_PAUSE
    return CLAUSE_PAUSE if _CLAUSE.match(tail[-1:]) else CUT_PAUSE
