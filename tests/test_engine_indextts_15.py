"""IndexTTS 1.5 on a tiny random checkpoint: sample for sample what upstream's own `infer` makes."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from daemon.engines.base import Clip, Utterance
from daemon.engines.indextts.options import Options2, Options15, Options25, Sampling
from daemon.errors import SpeechFailed
from daemon.tasks import BATCH_MODE, PLAIN_MODE
from tests.tiny import common, room15
from tests.tiny.room15 import Room15, message

TEXT = "你好，世界。今天天气很好，我们去散步。HELLO WORLD, THIS IS A GOOD DAY. 共465篇，$12.5！"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room15]:
    with room15.opened(tmp_path_factory, voices=2) as opened:
        yield opened


# --- as upstream ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_the_segments_of_a_text_joined_are_what_infer_makes_of_it(room: Room15, beams: int) -> None:
    options = {"do_sample": False, "num_beams": beams}
    segments = room.split(TEXT, max_text_tokens_per_segment=12)
    spoken = np.concatenate([room.speak(segment, **options) for segment in segments])
    whole = room.upstream.infer(room.voices[0], TEXT, max_text_tokens_per_segment=12, **options)
    assert len(segments) > 3
    assert all(segment.pause == 0 for segment in segments)
    assert np.array_equal(spoken, whole)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_a_sampled_segment_is_what_infer_makes_under_the_same_seed(room: Room15, seed: int) -> None:
    for voice, text in enumerate(("今天天气很好，我们去散步。", "HELLO WORLD")):
        whole = room.upstream.infer(room.voices[voice], text, seed)
        assert np.array_equal(room.speak(text, voice, seed), whole)


def test_options_reach_the_model_as_they_would_reach_infer(room: Room15) -> None:
    options = {"temperature": 3.0, "top_k": 100, "top_p": 1.0, "num_beams": 2, "repetition_penalty": 1.5}
    asked = room.speak("HELLO WORLD", seed=3, **options)
    assert np.array_equal(asked, room.upstream.infer(room.voices[0], "HELLO WORLD", 3, **options))
    assert not np.array_equal(asked, room.speak("HELLO WORLD", seed=3))


def test_a_seed_gives_the_same_again_and_another_one_something_else(room: Room15) -> None:
    first, again, other = (room.speak("HELLO WORLD", seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_voice_sounds_different(room: Room15) -> None:
    assert not np.array_equal(room.speak("HELLO WORLD", 0), room.speak("HELLO WORLD", 1))


def test_speech_beyond_the_limit_is_cut_as_upstream_cuts_it_and_the_log_tells(
    room: Room15, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"do_sample": False, "max_mel_tokens": 4}
    with caplog.at_level(logging.WARNING, "indexttsd"):
        cut = room.speak("HELLO WORLD", **options)
    assert len(cut) == 4 * 1024
    assert np.array_equal(cut, room.upstream.infer(room.voices[0], "HELLO WORLD", **options))
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("indexttsd")]
    assert "after 4 codes" in line
    assert "HELLO" not in line


def test_marks_of_pronunciation_pass_the_splitter_unharmed(room: Room15) -> None:
    segments = room.split("公园zhong4，今天XUAN4。", max_text_tokens_per_segment=8)
    said = "".join(token for segment in segments for token in segment.payload).replace("▁", "")
    assert "ZHONG4" in said
    assert "XVAN4" in said  # upstream's spelling of ü after j, q and x


def test_the_identity_names_model_code_precision_and_weights(room: Room15) -> None:
    name, code, computing, weights = room.engine.identity.split(", ")
    assert (name, code, computing) == ("indextts-1.5", "indextts2-cli 1.0.2", "fp32 on cpu")
    assert len(weights) == 16


# --- voices --------------------------------------------------------------------------------------------------------


def test_a_prompt_that_was_replaced_is_heard_anew(room: Room15, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.wav"
    prompt.write_bytes(room.voices[0].read_bytes())
    first = room.speak("HELLO WORLD", prompt)
    prompt.write_bytes(room.voices[1].read_bytes())
    second = room.speak("HELLO WORLD", prompt)
    assert np.array_equal(first, room.speak("HELLO WORLD", 0))
    assert np.array_equal(second, room.speak("HELLO WORLD", 1))


def test_a_prompt_that_is_not_the_one_that_was_meant_is_refused(room: Room15) -> None:
    meant = Clip(room.voices[0], "0" * 64)
    [answer] = room.engine.speak([Utterance(room.split("HELLO")[0], meant)])
    assert message(answer) == "the prompt '180.wav' changed while it was read; try again"


def test_as_many_voices_are_kept_as_the_operator_allows(room: Room15) -> None:
    for voice in (0, 1, 2, 1):
        room.speak("HELLO", voice)
    kept = {file.stem for file in (room.cache_dir / "voices").iterdir()}
    assert kept == {room15.clip(room.voices[voice]).sha256 for voice in (1, 2)}
    assert np.array_equal(room.speak("HELLO", 0), room.upstream.infer(room.voices[0], "HELLO", 1))


@pytest.mark.parametrize("name", ["clip.mp3", "clip.flac", "clip.ogg"])
def test_a_prompt_may_be_any_of_the_formats(room: Room15, tmp_path: Path, name: str) -> None:
    prompt = common.write_voice(tmp_path / name, 200)
    assert np.array_equal(room.speak("HELLO", prompt), room.upstream.infer(prompt, "HELLO", 1))


def test_a_stereo_prompt_of_8_khz_is_heard_as_upstream_hears_it(room: Room15, tmp_path: Path) -> None:
    mono, _ = soundfile.read(common.write_voice(tmp_path / "mono.wav", 200, rate=8000))
    soundfile.write(tmp_path / "stereo.wav", np.stack([mono, mono * 0.3], axis=1), 8000)
    spoken = room.speak("HELLO", tmp_path / "stereo.wav")
    assert np.array_equal(spoken, room.upstream.infer(tmp_path / "stereo.wav", "HELLO", 1))


def test_what_is_no_recording_of_a_voice_is_refused_before_the_model_hears_it(room: Room15, tmp_path: Path) -> None:
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam, this is no recording.")
    common.write_voice(tmp_path / "blip.wav", 200, seconds=0.03)
    soundfile.write(tmp_path / "hush.wav", np.zeros(48_000), 24_000)
    common.write_voice(tmp_path / "speech.wav", 200, seconds=600, rate=8000)
    segment = room.split("HELLO")[0]
    for name, said in (
        ("letter.wav", "cannot be read"),
        ("blip.wav", "0.03 s long"),
        ("hush.wav", "no sound"),
        ("speech.wav", "600 s long"),
    ):
        [answer] = room.engine.speak([room.utterance(segment, tmp_path / name)])
        assert message(answer).startswith(f"the prompt '{name}' cannot be used: ")
        assert said in message(answer)
    [answer] = room.engine.speak([Utterance(segment, Clip(tmp_path / "gone.wav", "0" * 64))])
    assert message(answer) == "the prompt 'gone.wav' cannot be read: No such file or directory"


# --- what cannot be spoken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("。。。！？", {}, "neither letters nor digits"),
        ("😀", {}, "neither letters nor digits"),
        ("你好" * 10_001, {}, "goes on for 20002 letters without a blank or a punctuation mark"),
        ("สวัสดี", {}, "it knows Chinese and English"),
        ("你好。สวัสดีครับ สบายดีไหม。", {"max_text_tokens_per_segment": 5}, "it knows Chinese and English"),
        (
            "HELLO",
            {"max_text_tokens_per_segment": 403},
            "'max_text_tokens_per_segment' is 403, but these weights allow",
        ),
        ("HELLO", {"max_mel_tokens": 606}, "'max_mel_tokens' is 606, but these weights allow at most 605"),
    ],
)
def test_what_the_model_cannot_speak_is_refused_with_a_sentence(
    room: Room15, text: str, options: dict[str, int], said: str
) -> None:
    with pytest.raises(SpeechFailed) as refusal:
        room.split(text, **options)
    assert said in str(refusal.value)


@pytest.mark.parametrize("table", [Options15, Options2, Options25])
def test_a_temperature_too_low_for_beams_is_refused_where_there_are_beams(table: type[Sampling]) -> None:
    """Upstream's beam search divides by it until all codes but one are impossible, and breaks at the next."""
    assert table(temperature=0.05).clash(PLAIN_MODE) == (
        "'temperature' 0.05 is too low to sample with 3 beams: give at least 0.1, or set 'num_beams' to 1"
    )
    assert table(temperature=0.1).clash(PLAIN_MODE) is None
    assert table(temperature=0.01, num_beams=1).clash(PLAIN_MODE) is None
    assert table(temperature=0.01).clash(BATCH_MODE) is None


def test_the_most_extreme_options_that_the_door_lets_in_are_spoken(room: Room15) -> None:
    for options in (
        {"temperature": 0.1},
        {"temperature": 0.01, "num_beams": 1},
        {"temperature": 5.0, "top_k": 1000, "top_p": 1.0, "num_beams": 10},
        {"top_k": 1, "top_p": 0.001, "repetition_penalty": 100.0},
        {"max_mel_tokens": 1, "repetition_penalty": 0.1},
    ):
        assert len(room.speak("HELLO WORLD", **options))


@contextmanager
def inclined_to_stop(room: Room15, how_much: float) -> Iterator[None]:
    """The model says STOP at once, or never."""
    gpt = room.engine._tts.gpt
    before = gpt.mel_head.bias.detach().clone()
    gpt.mel_head.bias.data[gpt.stop_mel_token] = how_much
    yield
    gpt.mel_head.bias.data.copy_(before)


def test_the_longest_segment_and_the_longest_speech_that_the_weights_allow_fit_together(room: Room15) -> None:
    segments = room.split("今天天气很好" * 80, max_text_tokens_per_segment=402)
    assert segments[0].size == 402
    longest = room.utterance(
        segments[0], batched=True, do_sample=False, num_beams=1, max_mel_tokens=605, repetition_penalty=1.0
    )
    with inclined_to_stop(room, -1e4):
        [audio] = room.engine.speak([longest])
    assert len(room15.samples(audio)) == 605 * 1024


def test_a_segment_that_a_quotation_mark_makes_too_long_is_refused_before_the_model_has_it(room: Room15) -> None:
    text = "今天天" + "今天天气很好" * 66 + "。”好天气"
    assert room.split(text, max_text_tokens_per_segment=402)[0].size == 402
    with pytest.raises(SpeechFailed, match="403 tokens long, and these weights allow 402"):
        room.split("今" + text, max_text_tokens_per_segment=402)


@pytest.mark.parametrize("batched", [False, True])
def test_a_model_that_says_stop_at_once_fails_the_segment_with_a_sentence(room: Room15, batched: bool) -> None:
    utterance = room.utterance("HELLO", batched=batched, do_sample=False)
    with inclined_to_stop(room, 1e4):
        [answer] = room.engine.speak([utterance])
    assert message(answer).startswith("the model made no speech of this segment")
    assert room.speak("HELLO").any()


# --- its surroundings ----------------------------------------------------------------------------------------------

SPEAKS = """
import sys
from pathlib import Path
from tests.tiny import room15
model, cache, voice = map(Path, sys.argv[1:])
engine = room15.load(model, cache)
[segment] = engine.split("共465篇。", {})
[audio] = engine.speak([room15.Utterance(segment, room15.clip(voice))])
assert audio.seconds > 0
"""


def test_nothing_is_written_outside_of_its_cache(room: Room15, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    command = [sys.executable, "-c", SPEAKS, room.model_dir, tmp_path / "cache", room.voices[0]]
    places = {"HOME": str(here), "TMPDIR": str(here), "PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin"}
    before = {file: file.stat().st_mtime_ns for file in room.model_dir.rglob("*")}
    done = subprocess.run(command, cwd=here, env=places, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(here.rglob("*")) == []
    assert {file: file.stat().st_mtime_ns for file in room.model_dir.rglob("*")} == before


def test_memory_of_a_gpu_is_none_without_one_and_it_can_always_go_on(room: Room15) -> None:
    assert room.engine.gpu_bytes() == 0
    assert room.engine.recover()
