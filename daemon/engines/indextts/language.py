"""Which language IndexTTS 2.5 shall speak a text in, and whether what it needs for that is installed."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter

from daemon.engines.packages import install
from daemon.errors import SpeechFailed

#: Enough of a text to tell its language by.
_LOOKED_AT = 2000
_SPANISH_ONLY = re.compile("[ñÑ¿¡]")
_MARK = re.compile(r"<[^|>\n]+\|[^>\n]+>")


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", text.lower()))


#: The commonest words of each that the other does not have; hardly a sentence has none.
_SPANISH = _words(
    "el la los las un una unos unas de del al y o pero que qué sí es son está están era ser en con por para se su sus"
    " lo le les te yo mi tu muy más como cómo cuando donde hay hola gracias buenos buenas días todo todos este esta"
)
_ENGLISH = _words(
    "the an of and or but that this these is are was were be been to in on at by for from with as it its he she they we"
    " you i my your not yes very more how what when where there have has do does will would can all hello thanks good"
)


def guess(text: str) -> str:
    """One of `options.LANGUAGES`: by the script; Spanish from English by what only one of them has.

    Han characters are Mandarin, however much English stands among them, unless there are kana too.
    """
    text = text[:_LOOKED_AT]
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if scripts["ARABIC"] > scripts.total() / 2:
        return "AR"
    if scripts["KANA"] * 10 > scripts["CJK"] + scripts["KANA"]:
        return "JA"
    if scripts["CJK"] or not scripts.total():
        return "ZH"
    return "ES" if _looks_spanish(text) else "EN"


def check(text: str, lang: str) -> None:
    """Pass a text whose language's front end is installed.

    Raises:
        SpeechFailed: it is not; says what to do.
    """
    if lang == "JA" and not (_installed("fugashi") and _installed("unidic_lite")):
        raise SpeechFailed(
            f"Japanese needs the packages fugashi and unidic-lite, which are not installed here; {install()}"
        )
    if lang == "ES" and _has_numbers(text) and not _installed("nemo_text_processing"):
        raise SpeechFailed(
            "Spanish numbers and signs are read by nemo_text_processing, which is not installed here; write them as "
            "words, or install it beside IndexTTS"
        )


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "")
    if name.startswith(("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")):
        return "KANA"
    return name.split(" ", 1)[0]


def _looks_spanish(text: str) -> bool:
    """In doubt it is English: that reads a stray Spanish word better than the other way round."""
    if _SPANISH_ONLY.search(text):
        return True
    return len(_words(text) & _SPANISH) > len(_words(text) & _ENGLISH)


def _has_numbers(text: str) -> bool:
    plain = _MARK.sub("", text)
    return any(letter in "%&@#" or unicodedata.category(letter) in ("Nd", "No", "Sc", "Sm") for letter in plain)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
