"""The embedded engine with its real model: what it reads, how it cuts, how it sounds, what it refuses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from daemon.audio import Audio
from daemon.engines.base import Clip, EngineSettings, Segment, SegmentError, Utterance
from daemon.engines.kokoro import SPEC, KokoroOptions, KokoroSettings
from daemon.engines.kokoro.engine import KokoroEngine
from daemon.engines.kokoro.files import MODEL_NAME
from daemon.engines.kokoro.loudness import PEAK_DBFS, SPEECH_DBFS, level, to_pcm, trim
from daemon.errors import EngineUnavailable

PROMPTS = Path(__file__).parent.parent / "prompts"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kokoro")


@pytest.fixture(scope="module")
def engine(cache_dir: Path) -> KokoroEngine:
    return SPEC.load(EngineSettings(model_dir=None, device="auto", options={}, cache_dir=cache_dir))


def utterance(segment: Segment, prompt: Path = PROMPTS / "female_zh.wav", **options: object) -> Utterance:
    digest = hashlib.sha256(prompt.read_bytes()).hexdigest()
    return Utterance(segment, Clip(prompt, digest), options)


def samples_of(audio: Audio | SegmentError) -> np.ndarray:
    assert isinstance(audio, Audio), audio
    return np.frombuffer(audio.pcm, "<i2").astype(np.float64) / 32768


# --- how it sounds -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(engine: KokoroEngine) -> list[np.ndarray]:
    """A Chinese and an English segment of two voices, spoken side by side."""
    batch = [
        utterance(engine.split("你好，很高兴见到你。", {})[0]),
        utterance(engine.split("Good morning, everyone!", {})[0], PROMPTS / "male_zh.wav"),
    ]
    return [samples_of(audio) for one in range(0, 2, engine.max_batch) for audio in engine.speak(batch[one:][:2])]


def test_a_segment_sounds_the_same_alone_and_in_company(engine: KokoroEngine, spoken: list[np.ndarray]) -> None:
    alone = engine.speak([utterance(engine.split("你好，很高兴见到你。", {})[0])])
    assert np.array_equal(samples_of(alone[0]), spoken[0])


def test_a_seed_changes_nothing(engine: KokoroEngine) -> None:
    segment = engine.split("好。", {})[0]
    digest = hashlib.sha256((PROMPTS / "female_zh.wav").read_bytes()).hexdigest()
    first, second = (
        engine.speak([Utterance(segment, Clip(PROMPTS / "female_zh.wav", digest), seed=seed)])[0] for seed in (1, 2)
    )
    assert first == second


def test_loudness_is_common_and_nothing_clips(spoken: list[np.ndarray]) -> None:
    for samples in spoken:
        frames = samples[: len(samples) // 480 * 480].reshape(-1, 480)
        rms = np.sqrt((frames**2).mean(axis=1))
        active = np.sqrt((rms[rms > rms.max() / 31.6] ** 2).mean())
        assert 20 * np.log10(active) == pytest.approx(SPEECH_DBFS, abs=1.0)
        assert 20 * np.log10(np.abs(samples).max()) <= PEAK_DBFS + 0.01


def test_the_silence_at_the_ends_is_cut(spoken: list[np.ndarray]) -> None:
    for samples in spoken:
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        assert loud[0] < 0.15 * 24_000
        assert len(samples) - loud[-1] < 0.2 * 24_000


def test_audio_is_24_khz_and_of_a_plausible_length(engine: KokoroEngine, spoken: list[np.ndarray]) -> None:
    assert engine.sample_rate == 24_000
    assert all(0.8 * 24_000 < len(samples) < 4 * 24_000 for samples in spoken)


def test_double_speed_takes_about_half_the_time(engine: KokoroEngine, spoken: list[np.ndarray]) -> None:
    fast = engine.speak([utterance(engine.split("你好，很高兴见到你。", {})[0], speed=2.0)])
    assert 0.35 < len(samples_of(fast[0])) / len(spoken[0]) < 0.7


def test_a_peak_too_high_for_the_common_level_is_kept_below_the_limit() -> None:
    quiet = 0.01 * np.sin(np.arange(24_000, dtype=np.float32) / 10)
    quiet[12_000] = 2.0
    levelled = level(quiet)
    assert np.abs(levelled).max() == pytest.approx(10 ** (PEAK_DBFS / 20), rel=1e-3)
    assert np.abs(np.frombuffer(to_pcm(levelled), "<i2").astype(int)).max() < 32767


def test_silence_and_nothing_pass_the_levelling_unharmed() -> None:
    for length in (0, 10, 24_000):
        silent = np.zeros(length, np.float32)
        assert not level(trim(silent)).any()


# --- which voice ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "voice"),
    [("female_zh.wav", "zf_xiaoxiao"), ("male_zh.wav", "zm_yunxi"), ("female_en.wav", "af_heart")],
)
def test_the_shipped_prompts_find_their_voices(engine: KokoroEngine, prompt: str, voice: str) -> None:
    name, similarity = engine.closest_voice(PROMPTS / prompt)
    assert name == voice
    assert similarity > 0.85


def test_the_same_clip_finds_the_same_voice_whatever_its_format(engine: KokoroEngine, tmp_path: Path) -> None:
    samples, rate = soundfile.read(PROMPTS / "male_zh.wav", dtype="float32")
    soundfile.write(tmp_path / "clip.mp3", samples, rate)
    soundfile.write(tmp_path / "clip.ogg", samples, rate)
    soundfile.write(tmp_path / "clip.flac", np.stack([samples, samples / 2], axis=1), rate)
    eighth = np.stack([samples[::3]] * 2, axis=1)
    soundfile.write(tmp_path / "telephone.wav", eighth, 8000)
    for clip in sorted(tmp_path.iterdir()):
        assert engine.closest_voice(clip)[0] == "zm_yunxi", clip.name


def spoken_with(engine: KokoroEngine, prompt: Path) -> str:
    (answer,) = engine.speak([utterance(Segment("好", payload=[50]), prompt)])
    assert isinstance(answer, SegmentError)
    assert prompt.name in answer.message
    return answer.message


def test_a_prompt_of_25_milliseconds_is_too_short(engine: KokoroEngine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "blip.wav", np.full(600, 0.5), 24_000)
    assert "0.03 s long" in spoken_with(engine, tmp_path / "blip.wav")


def test_a_text_file_named_wav_cannot_be_read(engine: KokoroEngine, tmp_path: Path) -> None:
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam, this is no recording.")
    assert "cannot be read as audio" in spoken_with(engine, tmp_path / "letter.wav")


def test_a_headerless_recording_cannot_be_read(engine: KokoroEngine, tmp_path: Path) -> None:
    (tmp_path / "clip.raw").write_bytes(bytes(range(256)) * 400)
    assert "cannot be read as audio" in spoken_with(engine, tmp_path / "clip.raw")


def test_a_silent_prompt_holds_no_sound(engine: KokoroEngine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hush.wav", np.zeros(48_000), 24_000)
    assert "holds no sound" in spoken_with(engine, tmp_path / "hush.wav")


def test_a_prompt_that_is_gone_is_named(engine: KokoroEngine, tmp_path: Path) -> None:
    utter = Utterance(Segment("好", payload=[50]), Clip(tmp_path / "gone.wav", "0" * 64))
    (answer,) = engine.speak([utter])
    assert isinstance(answer, SegmentError)
    assert "'gone.wav' cannot be used: it cannot be read: No such file" in answer.message


def test_a_bad_prompt_does_not_hurt_its_neighbour(engine: KokoroEngine, tmp_path: Path) -> None:
    if engine.max_batch < 2:
        pytest.skip("one core: there are no neighbours")
    (tmp_path / "letter.wav").write_text("no recording")
    segment = engine.split("好。", {})[0]
    bad, good = engine.speak([utterance(segment, tmp_path / "letter.wav"), utterance(segment)])
    assert isinstance(bad, SegmentError)
    assert isinstance(good, Audio)


def test_noise_as_a_prompt_still_gets_a_voice(engine: KokoroEngine, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 48_000)
    soundfile.write(tmp_path / "noise.wav", noise, 24_000)
    assert engine.closest_voice(tmp_path / "noise.wav")[1] < 0.76


# --- options, files, loading ---------------------------------------------------------------------------------------


def test_speed_may_be_an_int_but_not_a_string_or_out_of_range() -> None:
    assert KokoroOptions.model_validate({"speed": 1}).speed == 1.0
    assert KokoroOptions.model_validate({}).speed == 1.0
    for wrong in ({"speed": "1"}, {"speed": 0.4}, {"speed": 2.1}, {"speed": float("nan")}, {"pitch": 1}):
        with pytest.raises(ValidationError):
            KokoroOptions.model_validate(wrong)
    with pytest.raises(ValidationError):
        KokoroSettings.model_validate({"threads": 0})


def test_the_spec_is_imported_without_any_heavy_library() -> None:
    code = (
        "import sys; import daemon.engines.kokoro as kokoro; kokoro.SPEC;"
        "print(sorted({'numpy', 'onnxruntime', 'jieba', 'soundfile', 'wetext'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def unavailable(tmp_path: Path, **changes: object) -> str:
    parts = {"model_dir": None, "device": "cpu", "options": {}, "cache_dir": tmp_path, **changes}
    with pytest.raises(EngineUnavailable) as error:
        SPEC.load(EngineSettings(**parts))
    return str(error.value)


def test_a_model_of_another_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL_NAME).write_bytes(b"not the model")
    assert "sha256 must be 6e742170" in unavailable(tmp_path, model_dir=tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    assert f"no {MODEL_NAME} in {tmp_path}" in unavailable(tmp_path, model_dir=tmp_path)


def test_a_damaged_cached_model_is_made_again(tmp_path: Path, cache_dir: Path, engine: KokoroEngine) -> None:
    (tmp_path / MODEL_NAME).write_bytes(b"half a model")
    SPEC.load(EngineSettings(model_dir=None, device="cpu", options={}, cache_dir=tmp_path))
    assert (tmp_path / MODEL_NAME).stat().st_size == (cache_dir / MODEL_NAME).stat().st_size
    assert engine.identity.startswith("kokoro ")


def test_another_device_than_the_cpu_is_refused(tmp_path: Path) -> None:
    assert "set engine.device to auto or cpu" in unavailable(tmp_path, device="cuda:0")


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from pathlib import Path\n"
        "from daemon.engines.kokoro import SPEC\n"
        "from daemon.engines.base import EngineSettings\n"
        f"SPEC.load(EngineSettings(None, 'cpu', {{}}, Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "EngineUnavailable: The kokoro engine needs the package onnxruntime" in done.stderr
    assert done.stdout == ""
