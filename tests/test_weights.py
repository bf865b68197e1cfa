"""A folder of weights: what is missing, what is damaged, whose it is; told before anything heavy is loaded."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.engines import SPECS
from daemon.engines.indextts.files import WEIGHTS_2, WEIGHTS_15, WEIGHTS_25
from daemon.engines.weights import inspect, require
from daemon.errors import EngineUnavailable
from tests.weight_files import checkpoint, fill, safetensors

ALL = [WEIGHTS_15, WEIGHTS_2, WEIGHTS_25]
each = pytest.mark.parametrize("weights", ALL, ids=[weights.engine for weights in ALL])


def complaint(weights, folder):
    with pytest.raises(EngineUnavailable) as raised:
        require(weights, folder)
    return str(raised.value)


@each
def test_a_whole_folder_is_taken_with_and_without_what_only_some_options_need(tmp_path, weights):
    assert require(weights, fill(tmp_path / "all", weights)) == tmp_path / "all"
    assert require(weights, fill(tmp_path / "needed", weights, optional=False)) == tmp_path / "needed"


@each
def test_every_needed_file_is_missed(tmp_path, weights):
    fill(tmp_path, weights, optional=False)
    for state in inspect(weights, tmp_path):
        if not state.file.serves:
            path = tmp_path / state.file.path
            path.rename(tmp_path / "away")
            assert f"lacks {state.file.path}; run: {weights.command}" in complaint(weights, tmp_path)
            (tmp_path / "away").rename(path)


def test_without_a_folder_the_key_to_set_is_named():
    assert complaint(WEIGHTS_2, None) == (
        "IndexTTS 2 needs its weights: set engine.model_dir to a folder for them, "
        "then run: indexttsd models download indextts-2"
    )


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert f"the folder {tmp_path / 'none'} (engine.model_dir) does not exist" in complaint(
        WEIGHTS_15, tmp_path / "none"
    )


def test_many_missing_files_are_counted_and_few_are_named(tmp_path):
    needed = sum(not file.serves for file in WEIGHTS_2.files)
    assert f"lacks bpe.model, config.yaml, feat1.pt, feat2.pt and {needed - 4} more files;" in complaint(
        WEIGHTS_2, tmp_path
    )


@pytest.mark.parametrize("theirs", ALL, ids=[weights.engine for weights in ALL])
@pytest.mark.parametrize("ours", ALL, ids=[weights.engine for weights in ALL])
def test_a_folder_of_another_version_is_recognised(tmp_path, ours, theirs):
    fill(tmp_path, theirs, optional=False)
    if ours is theirs:
        require(ours, tmp_path)
    else:
        assert f"holds the weights of {theirs.engine}, not of {ours.engine}: set engine.name to {theirs.engine}, " in (
            complaint(ours, tmp_path)
        )


def header_of(text):
    """A safetensors file that begins so."""
    return len(text).to_bytes(8, "little") + text.encode()


def rotten(**places):
    """A checkpoint whose archive has other bytes at these places of its table of contents."""
    archive = bytearray(checkpoint(100))
    table = archive.index(b"PK\1\2")
    for place, byte in places.items():
        archive[table + int(place[1:])] = byte
    return bytes(archive)


DAMAGES = [
    ("gpt.pth", b"", "empty"),
    ("gpt.pth", checkpoint(50_000)[:-40], "cut short"),
    ("gpt.pth", checkpoint(50_000)[:1000], "cut short"),
    ("gpt.pth", b"<!doctype html><title>404</title>", "not a PyTorch checkpoint"),
    ("gpt.pth", rotten(_6=255), "not a PyTorch checkpoint"),  # of a version of zip that will never be
    ("gpt.pth", rotten(_9=8, _46=255), "not a PyTorch checkpoint"),  # with a name that it calls UTF-8
    ("gpt.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a git-lfs pointer"),
    ("bpe.model", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a git-lfs pointer"),
    ("config.yaml", b"", "empty"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", safetensors(1000)[:-1], "cut short"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", safetensors(1000)[:40], "cut short"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", b"\x08" + bytes(7) + b"not json", "not a safetensors file"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", b"\x02" + bytes(7) + b"[]", "not a safetensors file"),
    (
        "hf_cache/w2v-bert-2.0/model.safetensors",
        header_of('{"a": {"data_offsets": [0, "9"]}}'),
        "not a safetensors file",
    ),
    ("hf_cache/w2v-bert-2.0/model.safetensors", header_of('{"a": {"data_offsets": [0]}}'), "not a safetensors file"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", header_of("[" * 9_999), "not a safetensors file"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", b"<!doctype html>", "not a safetensors file"),
    ("hf_cache/w2v-bert-2.0/model.safetensors", b"{", "cut short"),
]


@pytest.mark.parametrize(("name", "damaged", "fault"), DAMAGES)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, name, damaged, fault):
    fill(tmp_path, WEIGHTS_2)
    (tmp_path / name).write_bytes(damaged)
    assert re.search(rf"holds damaged files: {re.escape(name)} \({fault}", complaint(WEIGHTS_2, tmp_path))


def test_missing_and_damaged_files_are_told_apart(tmp_path):
    fill(tmp_path, WEIGHTS_15)
    (tmp_path / "bpe.model").unlink()
    (tmp_path / "gpt.pth").write_bytes(b"")
    assert "lacks bpe.model and holds damaged files: gpt.pth (empty); run: " in complaint(WEIGHTS_15, tmp_path)


def test_a_folder_in_a_files_place_is_a_fault(tmp_path):
    fill(tmp_path, WEIGHTS_15)
    (tmp_path / "gpt.pth").unlink()
    (tmp_path / "gpt.pth").mkdir()
    assert "gpt.pth (cannot be read: Is a directory)" in complaint(WEIGHTS_15, tmp_path)


def test_checkpoints_of_an_old_torch_are_taken(tmp_path):
    fill(tmp_path, WEIGHTS_15)
    (tmp_path / "gpt.pth").write_bytes(pickle.dumps({"model": 1}, protocol=2))
    require(WEIGHTS_15, tmp_path)


def test_links_into_a_cache_are_followed(tmp_path):
    fill(tmp_path / "blobs", WEIGHTS_15)
    (tmp_path / "model").mkdir()
    for file in (tmp_path / "blobs").iterdir():
        (tmp_path / "model" / file.name).symlink_to(file)
    require(WEIGHTS_15, tmp_path / "model")
    (tmp_path / "blobs" / "gpt.pth").unlink()
    assert "lacks gpt.pth" in complaint(WEIGHTS_15, tmp_path / "model")


@each
def test_the_table_of_engines_names_its_weights_and_no_two_files_share_a_place(weights):
    assert SPECS[weights.engine].weights is weights
    places = [file.path for file in weights.files]
    assert len(places) == len(set(places))
    assert not any(Path(place).is_absolute() or ".." in Path(place).parts for place in places)


def test_looking_at_weights_imports_nothing_heavy():
    program = (
        "import sys; from daemon.engines import SPECS\n"
        "print({'torch', 'numpy', 'yaml', 'huggingface_hub', 'safetensors'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
