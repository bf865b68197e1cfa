"""The stand-in engine: as long as the text, the same each time, another for another voice or seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.engines.base import Clip, EngineSettings, Segment, Utterance
from daemon.engines.tone import SPEC


def load(**options):
    return SPEC.load(EngineSettings(model_dir=None, device="auto", options=options, cache_dir=Path()))


def speak(text="A text.", sha="00" * 32, seed=0, **options):
    [audio] = load(**options).speak([Utterance(Segment(text), Clip(Path("alice.wav"), sha), seed=seed)])
    return audio


def test_it_is_as_long_as_the_text():
    assert speak("x" * 40).seconds == pytest.approx(2 * speak("x" * 20).seconds)
    assert speak("你好").seconds == pytest.approx(0.1)


def test_the_same_is_the_same_and_another_voice_or_seed_is_another():
    assert speak().pcm == speak().pcm
    assert len({speak().pcm, speak(sha="01" * 32).pcm, speak(seed=1).pcm}) == 3


def test_it_is_no_silence_and_never_clips():
    samples = memoryview(speak().pcm).cast("h")
    assert max(samples) == 8_000
    assert min(samples) == -8_000


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("你好。世界！", ["你好。", "世界！"]),
        ("no end", ["no end"]),
        ("...", ["..."]),
        ("line\nline", ["line\n", "line"]),
        ("x" * 250, ["x" * 100, "x" * 100, "x" * 50]),
    ],
)
def test_a_text_is_cut_after_sentences_and_nothing_is_lost(text, pieces):
    segments = load().split(text, {})
    assert [segment.text for segment in segments] == pieces
    assert "".join(pieces) == text


def test_it_fails_when_it_is_asked_to():
    with pytest.raises(RuntimeError, match="'bad'"):
        speak("a bad word", fail_on="bad")
    assert speak("a good word", fail_on="bad").seconds > 0


@pytest.mark.parametrize(
    "options",
    [{"delay_seconds": -1}, {"delay_seconds": "1"}, {"delay_seconds": float("inf")}, {"fail_on": ""}, {"sleep": 1}],
    ids=str,
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValidationError):
        SPEC.engine_options.model_validate(options)


def test_a_request_has_no_options():
    with pytest.raises(ValidationError):
        SPEC.request_options.model_validate({"delay_seconds": 1})


def test_any_file_is_a_voice_unless_it_is_told_to_be_picky():
    assert load().clip_rules is None
    assert load(picky=True).clip_rules
