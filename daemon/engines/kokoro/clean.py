"""From any Unicode text to the letters, digits and signs that can be read aloud; the rest is skipped."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Han characters of which readings are known: the two large blocks of the basic plane.
HAN = "\u3400-\u4dbf\u4e00-\u9fff"

#: Signs beyond ASCII that mean something to the readers.
_SIGNS = frozenset("“”…—，°¥£€×÷±")

# NFKC would turn these into ASCII that means something else: three dots, a thousands separator.
_KEPT = str.maketrans({"…": "\ue000", "⋯": "\ue000", "，": "\ue001", "、": "\ue001"})
_KEPT_BACK = str.maketrans({"\ue000": "…", "\ue001": "，"})

# What NFKC would make worse, or what has a plainer twin.
_BEFORE = str.maketrans(
    {
        "™": "", "®": "", "©": "",
        "〇": "零", "・": " ", "·": " ", "‧": " ", "•": " ",
        "〜": "~", "～": "~", "−": "-", "‐": "-", "‑": "-", "–": "-", "―": "—", "─": "—",
        "‘": "'", "’": "'", "ʼ": "'", "′": "'", "`": "'",
        "„": "“", "«": "“", "»": "”", "「": "“", "」": "”", "『": "“", "』": "”",
        "《": "“", "》": "”", "〈": "“", "〉": "”", "【": "(", "】": ")", "〔": "(", "〕": ")",
        "。": ". ", "⁄": "/", "∶": ":", "＂": '"',
    }
)  # fmt: skip
# Letters that Unicode does not take apart into a base and an accent.
_LETTERS = {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ð": "d", "Ð": "D",
            "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "ħ": "h", "Ħ": "H"}  # fmt: skip

_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_SPACES = re.compile(r"\s+")
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]|“\s*”|\{\s*\}")


def clean(text: str) -> str:
    """Only what can be read: ASCII, Han and a few signs; blanks are single.

    Full-width forms become plain ones, Latin letters lose their accents, Chinese punctuation becomes its ASCII twin,
    but for the comma: `,` parts thousands. Emoji, unknown signs and letters of other scripts become a blank, marks
    and invisible characters nothing.
    """
    text = _VULGAR.sub(" ", text).translate(_BEFORE)
    text = unicodedata.normalize("NFKC", text.translate(_KEPT)).translate(_BEFORE).translate(_KEPT_BACK)
    text = "".join(map(_readable, unicodedata.normalize("NFC", text)))
    text = re.sub(r"\.{2,}|…+", "…", text)
    text = re.sub(r"—+|-{2,}", "—", text)
    return _SPACES.sub(" ", _EMPTY_BRACKETS.sub(" ", text)).strip()


@lru_cache(maxsize=8192)
def _readable(char: str) -> str:
    """What stands for one character in a clean text."""
    if char.isascii():
        return char if char.isprintable() else " "
    if char in _SIGNS or re.match(f"[{HAN}]", char):
        return char
    if char in _LETTERS:
        return _LETTERS[char]
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return ""
    base = unicodedata.normalize("NFD", char)[0]
    return base if base.isascii() and base.isalpha() else " "
