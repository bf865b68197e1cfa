"""How English is read: what sanotts does not know by itself is written out first, the rest it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from sanotts.nano_g2p import NanoG2P, Token, phonemize_to_string
from wetext import Normalizer

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

_NORMALIZER = Normalizer(lang="en", operator="tn")


@lru_cache(maxsize=4096)
def _by_library(span: str) -> str:
    """A date, time or measure written out by wetext."""
    return str(_NORMALIZER.normalize(span))


def _digits(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in groups)


def _library(match: re.Match[str]) -> str:
    return _by_library(match.group())


def _address(match: re.Match[str]) -> str:
    """A web or mail address, word by word."""
    bare = re.sub(r"^https?://(?:www\.)?", "", match.group()).rstrip("/")
    names = {".": " dot ", "/": " slash ", "@": " at ", "-": " dash ", "_": " underscore ", ":": " colon "}
    return re.sub(r"[./@_:-]", lambda sign: names[sign.group()], bare)


def _money(match: re.Match[str]) -> str:
    units = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yuan"}
    return f"{match[2]}{match[3] or ''} {units[match[1]]}"


def _roman(match: re.Match[str]) -> str:
    values = {"I": 1, "V": 5, "X": 10}
    numbers = [values[letter] for letter in match[2]]
    signed = [-n if n < max(numbers[i:]) else n for i, n in enumerate(numbers)]
    return f"{match[1]} {sum(signed)}"


def _plain(text: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match.expand(text)


_UNITS = "°C|°F|km/h|m/s|mph|kmh|km|cm|mm|nm|kg|mg|lbs?|oz|ft|ml|kWh|kW|MW|GHz|MHz|kHz|Hz|GB|MB|KB|TB|kB"
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"

#: In order; each mends what the readers behind it get wrong.
_RULES: list[_Rule] = [
    (
        re.compile(r"https?://[^\s,;!?\"()<>]*[^\s,;!?\"()<>.]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\bwww\.[\w./-]*\w"),
        _address,
    ),
    # (800) 555-0199, +1 212 555 0187, 555-123-4567, 555-0199: digit by digit
    (re.compile(r"(?<![\d.$-])(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -])\d{3}[ -]\d{4}(?![\d-])"), _digits),
    (re.compile(r"\+\d{7,}|(?<![\d.$-])\d{3}-\d{4}(?![\d-])|(?<![\d.,])\d{10,}(?![\d.,])"), _digits),
    (re.compile(r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}/\d{1,2}/\d{4}\b"), _library),
    (re.compile(r"\b(?:[01]?\d|2[0-4]):[0-5]\d(?: ?[AaPp](?:\.[Mm]\.|[Mm]\b))?"), _library),
    (re.compile(r"\d+(?:\.\d+){2,}"), lambda match: " point ".join(match.group().split("."))),
    (re.compile(rf"([$£€¥])({_NUMBER})( (?:hundred|thousand|million|billion|trillion)\b)"), _money),
    (re.compile(rf"(¥)({_NUMBER})()"), _money),
    (re.compile(rf"(?<![\w.]){_NUMBER}(?=-{_NUMBER}(?![\w-]))-(?={_NUMBER})"), lambda m: m.group()[:-1] + " to "),
    (re.compile(r"(?<![\w.)])-(?=\.?\d)"), _plain("minus ")),
    (re.compile(rf"(?<![\w.,]){_NUMBER} ?(?:{_UNITS})(?![\w/])"), _library),
    (re.compile(rf"({_NUMBER}) ?m(?=[ ,.;!?)]|$)"), _plain(r"\1 meters")),
    (re.compile(r"(?<![\w/.])(?:\d+ )?[1-9]/[1-9]\d?(?![\w/])"), _library),
    (re.compile(r"\b(Chapter|Part|Volume|Book|Section|Act|Scene|War|Appendix) ([IVX]+)\b"), _roman),
    (re.compile(r"\be\.g\.,?"), _plain("for example,")),
    (re.compile(r"\bi\.e\.,?"), _plain("that is,")),
    (re.compile(r"\bvs\.?(?=\s)"), _plain("versus")),
    (re.compile(r"\b[Aa]pprox\."), _plain("approximately")),
    (re.compile(r"\bNo\. ?(?=\d)|#(?=\d)"), _plain("number ")),
    (re.compile(r"\bFig\. ?(?=\d)"), _plain("figure ")),
    (re.compile(r"\bAve\."), _plain("Avenue")),
    (re.compile(r"°"), _plain(" degrees ")),
    (re.compile(r"~(?=\d)"), _plain("about ")),
    (re.compile(r" ?= ?"), _plain(" equals ")),
    (re.compile(r" ?× ?"), _plain(" times ")),
    (re.compile(r" ?÷ ?"), _plain(" divided by ")),
    (re.compile(r"±"), _plain("plus or minus ")),
    (re.compile(r"[\[{]"), _plain("(")),
    (re.compile(r"[\]}]"), _plain(")")),
    (re.compile(r"[<>|\\^*_~]"), _plain(" ")),
]


class EnglishReader:
    """Loads the dictionaries once; not for several threads."""

    def __init__(self) -> None:
        self._g2p = NanoG2P()
        guess = self._g2p.fallback

        # A word outside the dictionaries costs some 30 ms; the names of a story come again and again.
        @lru_cache(maxsize=16_384)
        def guess_once(text: str) -> tuple[str | None, int | None]:
            return guess(Token(text, "NN", ""))  # type: ignore[no-any-return]

        self._g2p.fallback = lambda token: guess_once(token.text)

    def normalise(self, text: str) -> str:
        """Times, dates, units, phone numbers and signs in words; sanotts reads other numbers itself."""
        for pattern, reading in _RULES:
            text = pattern.sub(reading, text)
        return text

    def phonemes(self, text: str) -> str:
        """Kokoro's symbols for a text."""
        return str(phonemize_to_string(text, g2p=self._g2p)) if text.strip() else ""
