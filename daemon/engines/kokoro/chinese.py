"""How Chinese is read: numbers and signs to Han characters, Han characters to phonemes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jieba
from misaki.zh import ZHG2P
from pypinyin import Style, lazy_pinyin
from wetext import Normalizer

from daemon.engines.kokoro.clean import HAN

_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
_PHONE_DIGITS = str.maketrans("0123456789", "零幺二三四五六七八九")

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _phone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match.group())
    plus = "加" if match.group().startswith("+") else ""
    return plus + ",".join(group.translate(_PHONE_DIGITS) for group in groups)


def _dotted(match: re.Match[str]) -> str:
    return match.group().translate(_DIGITS).replace(".", "点")


_POWERS = {"2": "平方", "3": "立方"}
_LENGTHS = {"": "米", "k": "公里", "c": "厘米", "m": "毫米"}
_UNITS = "km|cm|mm|kg|mg|km/h|m/s|ml|kW|kWh|GHz|MHz|Hz|GB|MB|KB|TB|m|g"


def _plain(text: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match.expand(text)


#: What wetext reads wrong, mended before it sees the text.
_RULES: list[_Rule] = [
    (re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))"), _plain("，")),
    # wetext takes even this comma for one that parts thousands
    (re.compile(r"，(?=\d)"), _plain("， ")),
    # +86 138 1234 5678, 138-1234-5678, 13812345678, 400-800-1234, (010)8888-9999: digit by digit, 1 as yao
    (re.compile(r"(?<![\d.])(?:\+\d{1,3}[ -]?)?1\d{2}([ -]?)\d{4}\1\d{4}(?![\d.]*\d)"), _phone),
    (re.compile(r"(?<![\d.])(?:\(0\d{2,3}\) ?|(?:400|800|0\d{2,3})-)\d{3,4}-?\d{4}(?!\d)"), _phone),
    (re.compile(r"(?<![\d.])((?:19|20)\d\d)\.(\d\d?)\.(\d\d?)(?![\d.])"), _plain(r"\1年\2月\3日")),
    # 2.0.1, 192.168.1.1
    (re.compile(r"\d+(?:\.\d+){2,}"), _dotted),
    (re.compile(r"US\$(?=\d)"), _plain("$")),
    (re.compile(r"(\d)¥(?!\d)"), _plain(r"\1元")),
    (re.compile(r"±(?=\d)"), _plain("正负")),
    (re.compile(r"(\d) (\d)/([2-9])(?!\d)"), lambda m: f"{m[1]}又{m[3].translate(_DIGITS)}分之{m[2]}"),
    (re.compile(r"(?<![\d.%])(\d+(?:\.\d+)?)[-~](\d+(?:\.\d+)?)%"), _plain(r"\1%~\2%")),
    (re.compile(r"(\d) ?([kcm]?)m([23])(?![\da-zA-Z])"), lambda m: m[1] + _POWERS[m[3]] + _LENGTHS[m[2]]),
    (re.compile(rf"(\d) (?=(?:{_UNITS})(?![a-zA-Z/]))"), _plain(r"\1")),
]
_LONE_DIGIT = re.compile(r"\d")


class ChineseReader:
    """Loads jieba's dictionary and wetext's grammars once; not for several threads.

    Args:
        cache_dir: where jieba may keep its dictionary in a form that loads faster.
    """

    def __init__(self, cache_dir: Path) -> None:
        jieba.setLogLevel(logging.ERROR)
        cache_dir.mkdir(parents=True, exist_ok=True)
        jieba.dt.tmp_dir = str(cache_dir)
        jieba.initialize()
        self._normalizer = Normalizer(lang="zh", operator="tn", traditional_to_simple=True)

    def normalise(self, text: str) -> str:
        """Numbers, dates, units and signs in Han characters; Latin words are left as they are."""
        for pattern, reading in _RULES:
            text = pattern.sub(reading, text)
        text = self._normalizer.normalize(text).replace("\\", "")  # it escapes quotes
        return _LONE_DIGIT.sub(lambda match: match.group().translate(_DIGITS), text)

    def phonemes(self, text: str) -> str:
        """Kokoro's symbols for Han characters; all else stays as it is."""
        return re.sub(f"[{HAN}]+", lambda match: self._words(match.group()), text)

    def _words(self, han: str) -> str:
        return " ".join(map(_word, jieba.cut(han)))


def _word(word: str) -> str:
    readings = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
    return "".join(map(_syllable, readings))


# There are some 1,600; looking each up once makes reading a text several times faster.
@cache
def _syllable(pinyin: str) -> str:
    """Kokoro's symbols of one syllable such as hao3; a dialect's syllable that misaki does not know is skipped."""
    try:
        return str(ZHG2P.py2ipa(pinyin)).replace("\u032f", "")
    except ValueError:
        return ""
