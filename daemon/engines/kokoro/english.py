"""How English is read: what sanotts does not know by itself is written out first, the rest it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from sanotts.nano_g2p import NanoG2P, NumberError, Token, phonemize_to_string
from wetext import Normalizer

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

_NORMALIZER = Normalizer(lang="en", operator="tn")

# sign: one, several, one hundredth, several hundredths
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yuan", "yuan", "fen", "fen"),
}
_ABBREVIATIONS = {
    "Jan.": "January", "Feb.": "February", "Mar.": "March", "Apr.": "April", "Jun.": "June", "Jul.": "July",
    "Aug.": "August", "Sep.": "September", "Sept.": "September", "Oct.": "October", "Nov.": "November",
    "Dec.": "December", "No.": "number", "Fig.": "figure", "approx.": "approximately", "Ave.": "Avenue",
    "apt.": "apartment", "Apt.": "apartment", "dept.": "department", "Dept.": "department", "vs.": "versus",
}  # fmt: skip
_ADDRESS_SIGNS = {".": " dot ", "/": " slash ", "@": " at ", "-": " dash ", "_": " underscore ", ":": " colon "}
_ROMAN = {"I": 1, "V": 5, "X": 10}


@lru_cache(maxsize=4096)
def _by_library(span: str) -> str:
    """A date, time, fraction or measure written out by wetext."""
    return str(_NORMALIZER.normalize(span))


def _library(match: re.Match[str]) -> str:
    return _by_library(match.group())


def _time(match: re.Match[str]) -> str:
    # AM without points would be read as the verb.
    return _by_library(match.group()).replace(" AM", " a.m.").replace(" PM", " p.m.")


def _digits(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in groups)


def _address(match: re.Match[str]) -> str:
    """A web or mail address, word by word."""
    bare = re.sub(r"^https?://(?:www\.)?", "", match.group()).rstrip("/")
    return re.sub(r"[./@_:-]", lambda sign: _ADDRESS_SIGNS[sign.group()], bare)


def _money(match: re.Match[str]) -> str:
    """Amount and currency, in full: $2.50 is 2 dollars and 50 cents, $2.5 million is 2.5 million dollars."""
    sign, whole, part, scale = match.groups(default="")
    one, many, cent, cents = _CURRENCIES[sign]
    if scale or len(part) not in (0, 3):
        return f"{whole}{part}{scale} {many}"
    hundredths = int(part[1:] or 0)
    words = [f"{whole} {one if whole == '1' else many}"] if whole != "0" or not hundredths else []
    if hundredths:
        words.append(f"{hundredths} {cent if hundredths == 1 else cents}")
    return " and ".join(words)


def _roman(match: re.Match[str]) -> str:
    numbers = [_ROMAN[letter] for letter in match[2]]
    signed = [-number if number < max(numbers[place:]) else number for place, number in enumerate(numbers)]
    return f"{match[1]} {sum(signed)}"


def _plain(text: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match.expand(text)


_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
# What wetext knows; it takes m for minutes.
_UNITS = "°C|°F|km/h|m/s|mph|km|cm|mm|nm|kg|mg|lbs?|oz|ft|ml|kWh|kW|MW|GHz|MHz|kHz|Hz|GB|MB|KB|TB|kB"
_ABBREVIATED = "|".join(re.escape(short) for short in _ABBREVIATIONS)

#: In order; each mends what the readers behind it get wrong.
_RULES: list[_Rule] = [
    (re.compile(r"https?://[^\s,;!?\"()<>]*[^\s,;!?\"()<>.]|\bwww\.[\w./-]*\w"), _address),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), _address),
    # (800) 555-0199, +1 212 555 0187, 555-123-4567, 555-0199, +4930123456: digit by digit
    (re.compile(r"(?<![\d.$-])(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -])\d{3}[ -]\d{4}(?![\d-])"), _digits),
    (re.compile(r"\+\d{7,}|(?<![\d.$-])\d{3}-\d{4}(?![\d-])|(?<![\d.,])\d{10,}(?!\d|[.,]\d)"), _digits),
    (re.compile(r"(?<=\d),(?=\d)(?!\d{3}(?!\d))"), _plain(", ")),
    (re.compile(r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}/\d{1,2}/\d{4}\b"), _library),
    (re.compile(r"\b(?:[01]?\d|2[0-4]):[0-5]\d(?: ?[AaPp](?:\.[Mm]\.|[Mm]\b))?"), _time),
    (re.compile(r"(?<=\d):(?=\d)"), _plain(" to ")),
    (re.compile(r"\d+(?:\.\d+){2,}"), lambda match: " point ".join(match.group().split("."))),
    (re.compile(r"([$£€¥])(\d+(?:,\d{3})*)(\.\d+)?( (?:hundred|thousand|million|billion|trillion)\b)?"), _money),
    (re.compile(rf"(?<![\w.])({_NUMBER})-(?={_NUMBER}(?![\w-]))"), _plain(r"\1 to ")),
    (re.compile(r"(?<![\w.)])-(?=\.?\d)"), _plain("minus ")),
    (re.compile(rf"(?<![\w.,]){_NUMBER} ?(?:{_UNITS})(?![\w/])"), _library),
    (re.compile(rf"({_NUMBER}) ?m(?=[ ,.;!?)]|$)"), _plain(r"\1 meters")),
    (re.compile(r"(\d)'(\d\d?)\""), _plain(r"\1 feet \2")),
    (re.compile(r"(?<![\w/.])(?:\d+ )?[1-9]/(?:[2-9]|10)(?![\w/])"), _library),
    (re.compile(r"\b(Chapter|Part|Volume|Book|Section|Act|Scene|War|Appendix) ([IVX]+)\b"), _roman),
    (re.compile(r"\be\.g\.,?"), _plain("for example,")),
    (re.compile(r"\bi\.e\.,?"), _plain("that is,")),
    (re.compile(r"\bSt\.(?= [A-Z])"), _plain("Saint")),
    (re.compile(r"\bSt\."), _plain("Street")),
    (re.compile(rf"\b(?:{_ABBREVIATED})(?= ?\d| [a-z])"), lambda match: _ABBREVIATIONS[match.group()] + " "),
    (re.compile(r"#(?=\d)"), _plain("number ")),
    (re.compile(r"°"), _plain(" degrees ")),
    (re.compile(r"~(?=\d)"), _plain("about ")),
    (re.compile(r"="), _plain(" equals ")),
    (re.compile(r"×"), _plain(" times ")),
    (re.compile(r"÷"), _plain(" divided by ")),
    (re.compile(r"±"), _plain("plus or minus ")),
    (re.compile(r"，"), _plain(", ")),
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
        """Times, dates, units, money, phone numbers and signs in words; sanotts reads other numbers itself."""
        for pattern, reading in _RULES:
            text = pattern.sub(reading, text)
        return text

    def phonemes(self, text: str) -> str:
        """Kokoro's symbols for a text; numbers beyond any name are read digit by digit."""
        if not text.strip():
            return ""
        try:
            return str(phonemize_to_string(text, g2p=self._g2p))
        except NumberError:
            return str(phonemize_to_string(re.sub(r"\d", r" \g<0> ", text), g2p=self._g2p))
