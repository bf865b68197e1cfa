"""Is what was spoken understood, and is it the voice that was asked for? And does the judge notice when not?"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="the listening tests need faster-whisper and its model packages")

from tests.listening.judge import AVERAGE, SAME_VOICE, WORST, Judge, samples_of
from tests.listening.sentences import ALL, CHINESE, ENGLISH, MIXED, Sentence
from tests.live import LiveDaemon

pytestmark = [pytest.mark.listening, pytest.mark.timeout(600)]

PROMPTS = Path(__file__).parents[2] / "prompts"
VOICES = {"female_zh.wav": "zf_xiaoxiao", "male_zh.wav": "zm_yunxi", "female_en.wav": "af_heart"}


def speak_all(sentences: list[Sentence], folder: Path) -> dict[str, Path]:
    """Let a daemon speak every sentence with its prompt, the first through the drop folder; WAV file by name."""
    shutil.copytree(PROMPTS, folder / "prompts")
    live = LiveDaemon(folder, engine={"name": "kokoro"}).start()
    try:
        dropped, *posted = sentences
        live.drop("first.json", {"prompt_path": dropped.prompt, "speeches": {f"{dropped.name}.wav": dropped.text}})
        batches = [
            live.submit_batch(
                {f"{sentence.name}.wav": sentence.text for sentence in posted if sentence.prompt == prompt},
                prompt_path=prompt,
                output_directory="first",
            )
            for prompt in VOICES
        ]
        views = [live.ended(batch, patience=500) for batch in batches] + live.note("done/first.json.result.json")
        assert [view.get("errors") for view in views] == [None] * len(views)
    finally:
        live.stop()
    return {sentence.name: live.outputs / "first" / f"{sentence.name}.wav" for sentence in sentences}


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return speak_all(ALL, tmp_path_factory.mktemp("spoken"))


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("whisper"))


@pytest.mark.parametrize(("language", "sentences"), [("zh", CHINESE), ("en", ENGLISH), ("mixed", MIXED)])
def test_what_was_spoken_is_understood(
    language: str, sentences: list[Sentence], spoken: dict[str, Path], judge: Judge, scores: list[str]
) -> None:
    errors = {}
    for sentence in sentences:
        error, heard = judge.error(samples_of(spoken[sentence.name]), language, sentence.references)
        errors[sentence.name] = error
        scores.append(f"{sentence.name:16} {error:5.3f}  {heard}")
    average = sum(errors.values()) / len(errors)
    scores.append(f"{language + ' average':16} {average:5.3f}  worst {max(errors.values()):5.3f}")
    assert average <= AVERAGE[language], errors
    assert max(errors.values()) <= WORST, errors


@pytest.mark.parametrize("prompt", VOICES)
def test_the_prompts_voice_is_heard(prompt: str, spoken: dict[str, Path], judge: Judge, scores: list[str]) -> None:
    for sentence in (one for one in CHINESE + ENGLISH if one.prompt == prompt):
        voice, _ = judge.closest_voice(spoken[sentence.name])
        similarity = judge.similarity(PROMPTS / prompt, spoken[sentence.name])
        scores.append(f"{sentence.name:16} {similarity:5.3f}  like {prompt}, nearest {voice}")
        assert voice == VOICES[prompt]
        assert similarity >= SAME_VOICE


# The judge must notice; else the tests above prove nothing.

CONTROLS = [CHINESE[0], ENGLISH[0]]


def is_understood(judge: Judge, samples: np.ndarray, sentence: Sentence) -> bool:
    return judge.error(samples, sentence.language, sentence.references)[0] <= WORST


@pytest.mark.parametrize("sentence", CONTROLS, ids=lambda sentence: sentence.language)
def test_noise_is_not_understood(judge: Judge, sentence: Sentence) -> None:
    noise = np.random.default_rng(5).normal(0, 0.1, 80_000).astype(np.float32)
    assert not is_understood(judge, noise, sentence)


@pytest.mark.parametrize("sentence", CONTROLS, ids=lambda sentence: sentence.language)
def test_silence_is_not_understood(judge: Judge, sentence: Sentence) -> None:
    assert not is_understood(judge, np.zeros(80_000, np.float32), sentence)


@pytest.mark.parametrize("sentence", CONTROLS, ids=lambda sentence: sentence.language)
def test_speech_played_backwards_is_not_understood(judge: Judge, spoken: dict[str, Path], sentence: Sentence) -> None:
    backwards = samples_of(spoken[sentence.name])[::-1].copy()
    assert not is_understood(judge, backwards, sentence)


@pytest.mark.parametrize(("said", "meant"), [(CHINESE[1], CHINESE[0]), (ENGLISH[1], ENGLISH[0])], ids=["zh", "en"])
def test_another_text_is_not_taken_for_the_right_one(
    judge: Judge, spoken: dict[str, Path], said: Sentence, meant: Sentence
) -> None:
    assert not is_understood(judge, samples_of(spoken[said.name]), meant)


def test_half_a_sentence_is_not_taken_for_the_whole(judge: Judge, spoken: dict[str, Path]) -> None:
    samples = samples_of(spoken[CHINESE[0].name])
    assert not is_understood(judge, samples[: len(samples) // 2], CHINESE[0])


def test_another_voice_is_not_taken_for_the_prompts(judge: Judge, spoken: dict[str, Path]) -> None:
    other = spoken["zh-phone"]  # spoken by male_zh.wav's voice
    assert judge.closest_voice(other)[0] != VOICES["female_zh.wav"]
    assert judge.similarity(PROMPTS / "female_zh.wav", other) < SAME_VOICE
