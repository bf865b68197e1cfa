"""The faster form of the embedded engine's model: it sounds as the original, and a bad copy is made again."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from daemon.engines.base import EngineSettings
from daemon.engines.kokoro import SPEC, files
from daemon.engines.kokoro.files import MODEL_NAME, REWRITTEN_NAME, model_file, rewritten_model_file, sha256
from daemon.engines.kokoro.model import Model
from daemon.engines.kokoro.voices import VoiceBook

PROMPTS = Path(__file__).parent.parent / "prompts"
TOKENS = [50, 83, 54, 156, 57, 135, 16, 65, 156, 43, 102, 16, 53, 44, 56, 83, 4]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rewrite")


@pytest.fixture(scope="module")
def original(cache_dir: Path) -> Path:
    return model_file(EngineSettings(model_dir=None, device="cpu", options={}, cache_dir=cache_dir))


@pytest.fixture(scope="module")
def rewritten(original: Path, cache_dir: Path) -> Path:
    path = rewritten_model_file(original, cache_dir)
    assert path is not None
    return path


def loudness_of_bands(samples: np.ndarray) -> np.ndarray:
    """Decibels of 40 bands, frame by frame."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.round(np.geomspace(3, 500, 41)).astype(int))
    return 10 * np.log10(np.add.reduceat(power[:, :500], edges[:-1], axis=1) + 1e-4)


def test_the_rewritten_model_sounds_as_the_original(original: Path, rewritten: Path) -> None:
    voice = VoiceBook().listen(PROMPTS / "female_en.wav").style
    before, after = (Model(path).speak(TOKENS, voice, 1.0) for path in (original, rewritten))
    assert len(before) == len(after)
    assert np.corrcoef(before, after)[0, 1] > 0.85
    # 1.0 to 1.3 dB were measured on whole sentences; the bound leaves room for other CPUs.
    assert np.abs(loudness_of_bands(before) - loudness_of_bands(after)).mean() < 2.0


def test_a_damaged_rewritten_model_is_made_again(original: Path, rewritten: Path, cache_dir: Path) -> None:
    good, made = sha256(rewritten), rewritten.stat().st_mtime_ns
    assert rewritten_model_file(original, cache_dir) == rewritten
    assert rewritten.stat().st_mtime_ns == made
    with rewritten.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    assert rewritten_model_file(original, cache_dir) == rewritten
    assert sha256(rewritten) == good
    assert {path.name for path in cache_dir.iterdir()} >= {MODEL_NAME, REWRITTEN_NAME}
    assert not [path.name for path in cache_dir.iterdir() if path.name.startswith(".")]


def test_without_the_rewritten_model_the_original_speaks(
    cache_dir: Path, original: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(files, "REWRITTEN_NAME", "another.onnx")
    with caplog.at_level(logging.WARNING):
        engine = SPEC.load(EngineSettings(model_dir=original.parent, device="cpu", options={}, cache_dir=cache_dir))
    assert " original " in engine.identity
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the faster form of the model cannot be made, the original is used"
    ]
