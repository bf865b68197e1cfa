"""Which language IndexTTS 2.5 takes a text for."""

from __future__ import annotations

import importlib.util

import pytest

from daemon.engines.indextts import language
from daemon.errors import SpeechFailed


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("ZH", "你好，世界。"),
        ("ZH", "IndexTTS 正式发布了 version 2.5, with more English than Mandarin"),
        ("ZH", "2024"),
        ("JA", "今日は天気がいいですね。"),
        ("JA", "東京タワー"),
        ("AR", "مرحبا بالعالم، IndexTTS"),
        ("ES", "Hola mundo"),
        ("ES", "La casa es grande"),
        ("ES", "¡Vamos!"),
        ("ES", "Mañana"),
        ("ES", "Muchas gracias por su ayuda"),
        ("EN", "Hello world"),
        ("EN", "Visit Los Angeles and the Piano solo"),
        ("EN", "GPT-5 nano"),
        ("EN", "Taco Bell"),
        ("EN", "Café"),
    ],
)
def test_the_language_is_found_from_the_text(lang, text):
    assert language.guess(text) == lang


def test_a_language_whose_front_end_is_missing_is_refused(monkeypatch):
    real = importlib.util.find_spec
    missing = {"fugashi", "nemo_text_processing"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else real(name))
    with pytest.raises(SpeechFailed, match=r"fugashi and unidic-lite, .* `sudo make install INDEXTTS=1`"):
        language.check("こんにちは", "JA")
    with pytest.raises(SpeechFailed, match="Spanish numbers and signs"):
        language.check("Son 25 euros", "ES")


def test_spanish_without_numbers_needs_nothing_more():
    language.check("Vamos al <cine|S IH1 N EH0>", "ES")
