"""What stands between a person and IndexTTS: packages, weights, devices. Each has its sentence; no pickle is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.engines.indextts import upstream
from daemon.errors import EngineUnavailable
from tests.tiny import room15, v15

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The process gets its own back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def model_dir(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the weights, to be damaged."""
    return Path(shutil.copytree(v15.folder(tmp_path_factory), tmp_path / "weights"))


def refusal(model_dir: Path, **settings: Any) -> str:
    with pytest.raises(EngineUnavailable) as refused:
        room15.load(model_dir, model_dir.parent / "cache", **settings)
    return str(refused.value)


class Hostile:
    """Unpickled, it would make the file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "plain pickle"])
def test_a_hostile_checkpoint_is_refused_and_does_nothing(model_dir: Path, tmp_path: Path, zipped: bool) -> None:
    import torch

    proof = tmp_path / "it ran"
    file = model_dir / "gpt.pth"
    torch.save({"model": Hostile(proof)}, file, _use_new_zipfile_serialization=zipped)
    said = refusal(model_dir)
    assert not proof.exists()
    assert f"{file} holds more than weights, it asks for " in said
    assert "weights_only" not in said  # the library's advice is to run it
    assert "indexttsd models download indextts-1.5" in said
    del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
    torch.load(file, weights_only=False)
    assert proof.exists()  # so the trap was a trap


def test_a_models_configuration_runs_nothing(model_dir: Path, tmp_path: Path) -> None:
    proof = tmp_path / "it ran"
    trap = f"trap: !!python/object/apply:os.mkdir ['{proof}']\n"
    file = model_dir / "config.yaml"
    file.write_text(trap + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert str(file) in refusal(model_dir)
    assert not proof.exists()
    yaml.unsafe_load(trap)
    assert proof.exists()  # so the trap was a trap


@pytest.mark.parametrize("name", ["gpt.pth", "bigvgan_generator.pth"])
def test_a_truncated_checkpoint_is_named(model_dir: Path, name: str) -> None:
    content = (model_dir / name).read_bytes()
    (model_dir / name).write_bytes(content[: len(content) // 2])
    said = refusal(model_dir)
    assert name in said
    assert "cut short" in said


def test_a_checkpoint_damaged_in_its_middle_is_named(model_dir: Path) -> None:
    content = bytearray((model_dir / "gpt.pth").read_bytes())
    at = content.index(b"data.pkl")
    content[at + 40 : at + 400] = bytes(360)
    (model_dir / "gpt.pth").write_bytes(content)
    assert refusal(model_dir).startswith(f"{model_dir / 'gpt.pth'} ")


def test_a_missing_file_is_named(model_dir: Path) -> None:
    (model_dir / "bpe.model").unlink()
    said = refusal(model_dir)
    assert "bpe.model" in said
    assert "indexttsd models download indextts-1.5" in said


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"set engine\.model_dir"):
        room15.load(None, tmp_path / "cache")  # type: ignore[arg-type]


def test_a_gpt_of_other_sizes_does_not_fit(model_dir: Path) -> None:
    import torch

    state = torch.load(model_dir / "gpt.pth")
    state["model"] = {name: weight[:1] for name, weight in state["model"].items()}
    torch.save(state, model_dir / "gpt.pth")
    assert f"{model_dir / 'gpt.pth'} does not fit this engine, as if it were of another version" in refusal(model_dir)


def test_a_vocoder_of_another_kind_does_not_fit(model_dir: Path) -> None:
    import torch

    torch.save({"net": {}}, model_dir / "bigvgan_generator.pth")
    said = refusal(model_dir)
    assert f"{model_dir / 'bigvgan_generator.pth'} does not fit this engine" in said


def test_the_configuration_of_version_2_does_not_fit(model_dir: Path) -> None:
    config = (
        (model_dir / "config.yaml")
        .read_text()
        .replace("  model_dim: 32", "  model_dim: 32\n  emo_condition_module: {}")
    )
    (model_dir / "config.yaml").write_text(config)
    said = refusal(model_dir)
    assert f"{model_dir} does not fit this engine" in said
    assert "emo_condition_module" in said


def test_a_tokenizer_that_is_none_is_told(model_dir: Path) -> None:
    (model_dir / "bpe.model").write_bytes(b"this is no model")
    assert str(model_dir) in refusal(model_dir)


# --- packages, devices ---------------------------------------------------------------------------------------------


def test_a_package_that_is_not_installed_is_told_with_what_installs_it() -> None:
    with pytest.raises(EngineUnavailable, match=r"No module named 'indextts_of_nobody'.*make install INDEXTTS=1"):
        upstream.module("indextts_of_nobody")


def test_a_module_that_meddles_with_the_environment_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meddler.py").write_text("import os; os.environ['HF_HUB_CACHE'] = './checkpoints/hf_cache'")
    monkeypatch.syspath_prepend(tmp_path)
    upstream.prepare(tmp_path)
    upstream.module("meddler")
    assert os.environ["HF_HUB_CACHE"] == str(tmp_path / "huggingface" / "hub")
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "cuda"}, "engine.device is 'cuda', but the installed PyTorch"),
        ({"device": "cuda:7"}, "engine.device is 'cuda:7', but"),
        ({"device": "tpu"}, "IndexTTS knows auto, cpu, cuda and cuda:N"),
        ({"precision": "fp16"}, "a CPU speaks in fp32"),
    ],
    ids=str,
)
def test_a_device_that_cannot_be_had_is_told(model_dir: Path, settings: dict[str, str], said: str) -> None:
    assert said in refusal(model_dir, **settings)


def test_without_a_gpu_auto_means_the_cpu_and_the_log_says_that_it_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    from daemon.engines.indextts import gpu

    assert gpu.choose_device("auto") == "cpu"
    assert "no usable GPU" in caplog.text
    assert gpu.choose_precision("auto", "cpu", "fp16") == "fp32"
    assert gpu.choose_precision("auto", "cuda:0", "fp16") == "fp16"
