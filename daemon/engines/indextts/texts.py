"""From a text to segments, with the tokenizer of IndexTTS 1.5 and 2, and segments handed back to upstream's `infer`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from daemon.engines.base import Segment
from daemon.engines.indextts.options import Sampling
from daemon.errors import SpeechFailed

_NEEDLESS_BLANK = re.compile(r"(?<=[\u3400-\u9fff]) | (?=[\u3400-\u9fff.,!?…])")


#: Letters in a row beyond which upstream's normaliser, whose patterns look at them again from each one, takes minutes.
_LONGEST_RUN = 20_000


def check_limits(asked: Sampling, text_tokens: int, mel_tokens: int) -> None:
    """What the model has no positions for must not reach it: on a GPU that would end the process.

    Args:
        text_tokens, mel_tokens: the most that the weights' own configuration allows.

    Raises:
        SpeechFailed: an option asks for more; names it.
    """
    chosen = {**asked.DEFAULTS, **asked.given()}
    for key, value, most in (
        ("max_text_tokens_per_segment", asked.max_text_tokens_per_segment, text_tokens),
        ("max_mel_tokens", chosen["max_mel_tokens"], mel_tokens),
    ):
        if value > most:
            raise SpeechFailed(f"the option '{key}' is {value}, but these weights allow at most {most}")


def check_speakable(text: str) -> None:
    """Refuse what has no letter and no digit, of which the model makes noises, or nothing else for pages.

    Raises:
        SpeechFailed: it is such a text.
    """
    if not any(map(str.isalnum, text)):
        raise SpeechFailed("the text holds nothing to speak: neither letters nor digits")
    if (longest := max(map(len, re.findall(r"\w+", text)))) > _LONGEST_RUN:
        raise SpeechFailed(
            f"the text goes on for {longest} letters without a blank or a punctuation mark, and {_LONGEST_RUN} are the "
            "most; put marks where a speaker would breathe"
        )


def cut(tokenizer: Any, text: str, most: int, limit: int) -> list[Segment]:
    """Upstream's own segments of a text, each with its tokens as payload and their number as size.

    Args:
        tokenizer: upstream's TextTokenizer, which normalises the text first.
        most: tokens of a segment; upstream leaves a closing quotation mark with it all the same.
        limit: tokens that the model has positions for.

    Raises:
        SpeechFailed: the text, or one segment of it, holds nothing that the model can read, or is too long for it.
    """
    check_speakable(text)
    pieces = tokenizer.split_segments(tokenizer.tokenize(text), max_text_tokens_per_segment=most)
    if not pieces:
        raise SpeechFailed("nothing of the text is left to speak once numbers and signs are written out as words")
    if (longest := max(map(len, pieces))) > limit:
        raise SpeechFailed(
            f"a segment came out {longest} tokens long, and these weights allow {limit};"
            " make 'max_text_tokens_per_segment' smaller"
        )
    return [_segment(tokenizer, tokens) for tokens in pieces]


def _segment(tokenizer: Any, tokens: list[str]) -> Segment:
    known = [
        token for token, code in zip(tokens, ids(tokenizer, tokens), strict=True) if code != tokenizer.unk_token_id
    ]
    if len(known) < len(tokens) and not any(map(str.isalnum, "".join(known))):
        raise SpeechFailed(f"the model can read nothing of '{readable(tokens)[:40]}': it knows Chinese and English")
    return Segment(readable(tokens), payload=tokens, size=len(tokens))


def readable(tokens: Sequence[str]) -> str:
    """The tokens as people would write them; around a Chinese character there is no blank."""
    return _NEEDLESS_BLANK.sub("", "".join(tokens).replace("▁", " ")).strip()


def ids(tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    """The tokens' numbers."""
    numbers: list[int] = tokenizer.convert_tokens_to_ids(list(tokens))
    return numbers


class GivenTokens:
    """Stands in for upstream's tokenizer: whatever text `infer` is given, these tokens are its one segment."""

    def __init__(self, tokenizer: Any, tokens: Sequence[str]) -> None:
        self._tokenizer, self._tokens = tokenizer, list(tokens)

    def tokenize(self, _text: str) -> list[str]:
        """The tokens; nothing is normalised a second time."""
        return self._tokens

    def split_segments(self, tokens: list[str], *_: object, **__: object) -> list[list[str]]:
        """One segment of all."""
        return [tokens]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)
