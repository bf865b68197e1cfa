"""What makes a recording useless as a prompt, and what would make it a better one: real files of every kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from daemon.engines import SPECS
from daemon.engines.clips import BadClip, ClipRules, Verdict, inspect, judged
from tests.disks import no_more_files, with_fault

RATE = 24_000
#: What an engine asks that loads whole recordings and hears their first 15 s.
CLONING = SPECS["indextts-2"].clip_rules
#: What one asks that reads no further than it hears.
READING = SPECS["kokoro"].clip_rules


def sound(seconds: float, rate: int = RATE, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def write(tmp_path):
    """Writes these samples; a name without an ending is a WAV."""

    def write(samples: np.ndarray, rate: int = RATE, name: str = "clip.wav", **more: str) -> Path:
        soundfile.write(tmp_path / name, samples, rate, **more)
        return tmp_path / name

    return write


def fault(file: Path, rules: ClipRules = CLONING) -> str | None:
    return inspect(file, rules).fault


# What is fine


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac", "clip.ogg", "clip.mp3"])
def test_eight_seconds_of_sound_are_fine_in_any_format(write, name):
    assert inspect(write(sound(8), name=name), CLONING) == Verdict()


def test_a_format_is_known_by_its_content_not_by_its_name(write, tmp_path):
    assert inspect(write(sound(8), name="clip.flac").rename(tmp_path / "clip.wav"), CLONING) == Verdict()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW"])
def test_any_kind_of_sample_is_fine(write, subtype):
    assert inspect(write(sound(4), subtype=subtype), CLONING) == Verdict()


@pytest.mark.parametrize("name", ["female_zh.wav", "male_zh.wav", "female_en.wav"])
@pytest.mark.parametrize("engine", sorted(SPECS))
def test_the_shipped_prompts_are_fine(name, engine):
    assert inspect(Path("prompts", name), SPECS[engine].clip_rules) == Verdict()


# What is useless


def test_a_text_file_named_wav_is_no_recording(tmp_path):
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam, this is no recording.")
    assert fault(tmp_path / "letter.wav") == "it cannot be read as audio (Format not recognised); give a WAV file"


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"fLaC" + b"\xff" * 64, b"\0" * 4096]
)
def test_a_broken_header_is_no_recording(tmp_path, content):
    (tmp_path / "clip.wav").write_bytes(content)
    assert "it cannot be read as audio" in fault(tmp_path / "clip.wav")


def test_samples_without_a_header_are_no_recording(tmp_path):
    (tmp_path / "clip.raw").write_bytes(bytes(range(256)) * 400)
    assert "it cannot be read as audio" in fault(tmp_path / "clip.raw")


def test_what_is_gone_or_no_file_is_told(tmp_path):
    assert fault(tmp_path / "gone.wav") == "it cannot be read: No such file or directory"
    assert fault(tmp_path) == "it is not a file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert fault(tmp_path / "pipe.wav") == "it is not a file"


def test_what_the_disk_does_not_give_for_now_says_nothing_of_the_recording(write):
    clip = write(sound(4))
    with no_more_files():
        assert inspect(clip, CLONING) == Verdict(unread="it cannot be read: Too many open files")
        with pytest.raises(BadClip, match=r"^the prompt 'clip\.wav' cannot be used: it cannot be read: Too many"):
            judged(clip, CLONING)
    assert inspect(clip, CLONING) == Verdict()


LISTEN = """
import sys
from pathlib import Path
from daemon.engines import SPECS
from daemon.engines.clips import inspect
verdict = inspect(Path(sys.argv[1]), SPECS["indextts-2"].clip_rules)
print(verdict.fault, verdict.unread, sep="|")
"""


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac", "clip.ogg", "clip.mp3"])
@pytest.mark.parametrize(
    "call", ["openat:error=EIO", "read:error=EIO", "read:error=EIO:when=1", "read:error=EIO:when=4"]
)
def test_a_disk_that_fails_under_a_recording_says_nothing_of_it(write, name, call):
    clip = write(np.random.default_rng(0).uniform(-0.5, 0.5, RATE * 8), name=name)
    assert with_fault(call, [clip], LISTEN, clip) == "None|it cannot be read: Input/output error\n"


@pytest.mark.parametrize(("seconds", "length"), [(0, "0.00"), (0.025, "0.03"), (0.49, "0.49")])
def test_less_than_half_a_second_is_too_short(write, seconds, length):
    assert fault(write(sound(seconds))) == f"it is {length} s long; give at least 0.5 s of speech"


def test_ten_minutes_are_too_long_for_an_engine_that_loads_them(write):
    clip = write(sound(600, 8000), 8000)
    assert fault(clip) == "it is 600 s long; cut it to 3 to 15 s of clean speech"
    assert fault(clip, READING) is None


def test_just_the_longest_is_not_too_long(write):
    assert fault(write(sound(60))) is None
    assert fault(write(sound(60.1))) is not None


@pytest.mark.parametrize("name", ["hush.wav", "hush.mp3"])
def test_silence_is_no_voice(write, name):
    assert "it holds no sound in its first 15 s; give a" in fault(write(np.zeros(4 * RATE), name=name))


def test_sound_that_begins_after_what_is_heard_is_no_voice(write):
    late = write(np.concatenate([np.zeros(20 * RATE), sound(5)]))
    assert "it holds no sound in its first 15 s" in fault(late)
    assert fault(late, SPECS["indextts-1.5"].clip_rules) is None


def test_two_channels_that_cancel_each_other_are_silent(write):
    assert "no sound" in fault(write(np.stack([sound(4), -sound(4)], axis=1)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_told(write, wrong):
    samples = sound(4)
    samples[50_000] = wrong
    assert "samples that are not numbers" in fault(write(samples, subtype="FLOAT"))


def test_more_channels_or_another_rate_than_a_recording_of_a_voice(write):
    assert "it has 9 channels at 24000 Hz" in fault(write(np.zeros((RATE, 9))))
    assert "it has 1 channels at 1000 Hz" in fault(write(sound(4, 1000), 1000))
    assert "it has 1 channels at 384000 Hz" in fault(write(sound(1, 384_000), 384_000))


# Hostile ones


def test_a_header_that_promises_years_costs_no_memory(write):
    clip = write(sound(4), name="clip.mp3")
    content = bytearray(clip.read_bytes())
    at = content.index(b"Xing") + 8  # the number of frames stands there
    content[at : at + 4] = (0x7FFFFFFF).to_bytes(4, "big")
    clip.write_bytes(content)
    inspect(clip, CLONING)  # what is imported at first use does not count
    tracemalloc.start()
    try:
        told = fault(clip)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.fullmatch(r"its header promises \d{8} s and it holds 4\.\d s; save it again as a WAV file", told)
    assert most < 4 * 2**20


def test_a_recording_that_breaks_off_is_told(write):
    clip = write(sound(20), name="clip.mp3")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert re.match(r"its header promises 20 s and it holds (9|10)\.\d s", fault(clip))


def test_a_wav_that_breaks_off_is_as_long_as_what_is_there(write):
    clip = write(sound(20))
    clip.write_bytes(clip.read_bytes()[: RATE * 2 * 4])
    assert inspect(clip, CLONING) == Verdict()


def test_a_file_of_gigabytes_is_not_even_opened(tmp_path):
    with (tmp_path / "huge.wav").open("wb") as huge:
        huge.truncate(5_000_000_000)
    assert fault(tmp_path / "huge.wav") == "it is 5.0 GB big; cut it to 3 to 15 s of clean speech"


# Advice


@pytest.mark.parametrize(
    ("samples", "rate", "advice"),
    [
        (np.clip(sound(5, peak=3), -1, 1), RATE, "it is clipped: record it at a lower level"),
        (sound(5, 8000), 8000, "it has 8000 Hz only: 16000 Hz and more sound better"),
        (np.stack([sound(5), sound(5)], axis=1), RATE, "its 2 channels are mixed into one"),
        (sound(1.5), RATE, "it is 1.5 s long: 3 to 15 s of clean speech are best"),
        (sound(30), RATE, "it is 30 s long and only its first 15 s are heard: 3 to 15 s of clean speech are best"),
    ],
    ids=["clipped", "telephone", "stereo", "short", "long"],
)
def test_what_could_be_better_is_advice_and_no_fault(write, samples, rate, advice):
    assert inspect(write(samples, rate), CLONING) == Verdict(None, (advice,))


def test_a_loud_recording_is_not_taken_for_a_clipped_one(write):
    assert inspect(write(sound(5, peak=0.99)), CLONING).advice == ()


def test_all_of_a_long_recording_is_heard_by_1_5(write):
    (advice,) = inspect(write(sound(30)), SPECS["indextts-1.5"].clip_rules).advice
    assert "30 s long and all of it is heard" in advice


# For engines


def test_an_engine_is_told_which_recording_and_why(tmp_path):
    (tmp_path / "letter.wav").write_text("no recording")
    with pytest.raises(BadClip, match=r"^the prompt 'letter\.wav' cannot be used: it cannot be read as audio"):
        judged(tmp_path / "letter.wav", CLONING)


def test_a_good_recording_passes(write):
    judged(write(sound(4)), CLONING)


def test_knowing_the_rules_imports_nothing_heavy():
    code = "import sys, daemon.engines; print(sorted({'numpy', 'soundfile'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
