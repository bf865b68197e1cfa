"""Stands between upstream's `infer` and its GPT: hears what codes are asked for, answers with ours.

So in `批次推理` all that comes before and after the codes stays upstream's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from daemon.engines.indextts.decode import warn_of_cut


class NoCodes(Exception):
    """The model had nothing to say."""


@dataclass(frozen=True, slots=True)
class Question:
    """What `infer` handed to `inference_speech`."""

    given: tuple[Any, ...]
    named: dict[str, Any]


class _Asked(Exception):
    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question


class Relay:
    """Takes the place of `inference_speech` of one GPT."""

    def __init__(self, gpt: Any) -> None:
        """Args: gpt: a `UnifiedVoice` of IndexTTS 2 or 2.5."""
        self._real, self._stop = gpt.inference_speech, gpt.stop_mel_token
        self._reply: Callable[[Question], Any] = self._of_the_model
        gpt.inference_speech = lambda *given, **named: self._reply(Question(given, named))

    def heard(self, infer: Callable[[], Any], seed: int) -> Any:
        """What `infer` returns if the GPT answers itself. Raises NoCodes.

        The seed counts from the question on: hearing a new recording draws random numbers too, a known one does not.
        """
        return self._with(_seeded(seed, self._of_the_model), infer)

    def question(self, infer: Callable[[], Any]) -> Question:
        """What `infer` asks; it goes no further."""
        try:
            self._with(_raise_asked, infer)
        except _Asked as asked:
            return asked.question
        raise RuntimeError("upstream's infer ended without asking its GPT")

    def answered(self, answer: Any, infer: Callable[[], Any], seed: int) -> Any:
        """What `infer` returns if the GPT answers so. Raises NoCodes. For the seed see `heard`."""
        return self._with(_seeded(seed, lambda _: self._some(answer)), infer)

    def _with(self, reply: Callable[[Question], Any], infer: Callable[[], Any]) -> Any:
        self._reply = reply
        try:
            return infer()
        finally:
            self._reply = self._of_the_model

    def _of_the_model(self, question: Question) -> Any:
        return self._some(self._real(*question.given, **question.named))

    def _some(self, answer: Any) -> Any:
        codes = answer[0] if isinstance(answer, tuple) else answer  # 2 returns its conditioning too
        if not codes.shape[1] or int(codes[0, 0]) == self._stop:
            raise NoCodes
        if int(codes[0, -1]) != self._stop:
            warn_of_cut(codes.shape[1])
        return answer


def _seeded(seed: int, reply: Callable[[Question], Any]) -> Callable[[Question], Any]:
    def seeded(question: Question) -> Any:
        torch.manual_seed(seed)
        return reply(question)

    return seeded


def _raise_asked(question: Question) -> Any:
    raise _Asked(question)
