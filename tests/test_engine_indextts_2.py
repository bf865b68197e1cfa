"""IndexTTS 2 on a tiny random checkpoint, by the model's own code."""

from __future__ import annotations

import array
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.audio import silence
from daemon.engines.base import EngineSettings, SegmentError, Utterance
from daemon.engines.indextts import SPECS
from daemon.errors import EngineUnavailable, SpeechFailed
from tests.tiny import qwen, room2, v2
from tests.tiny.room2 import Room2, spoken

pytestmark = pytest.mark.filterwarnings("default")

SPEC = next(spec for spec in SPECS if spec.name == "indextts-2")


def upstream_of(model_dir: Path) -> Any:
    from indextts import infer_v2

    from daemon.engines.indextts.v2 import from_files

    with from_files(infer_v2, model_dir / "hf_cache"):
        return infer_v2.IndexTTS2(str(model_dir / "config.yaml"), str(model_dir), device="cpu")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room2:
    return room2.opened(tmp_path_factory, SPEC, v2.folder(tmp_path_factory), upstream_of)


@pytest.fixture
def say(room: Room2) -> Callable[..., Utterance]:
    return room.say


def test_segments_sound_sample_for_sample_as_upstream_and_are_joined_as_there(room):
    """Every segment of upstream's stream is made under the seed that its utterance has here."""
    import torch

    text, options = (
        "你好世界，今天天气很好。我们一起去公园散步！共465篇文章，你读过吗？",
        {"max_text_tokens_per_segment": 16},
    )
    segments = room.engine.split(text, options)
    ours = [
        room.engine.speak([Utterance(segment, room.clips[0], options, {}, seed)])[0].pcm
        for seed, segment in enumerate(segments)
    ]
    room.upstream.infer(str(room.clips[0].file), "你好。", None)  # it shall know the voice
    torch.manual_seed(0)
    heard = []
    stream = room.upstream.infer(
        str(room.clips[0].file), text, None, max_text_tokens_per_segment=16, stream_return=True
    )
    for wave in stream:
        heard.append(wave.type(torch.int16).numpy().tobytes())
        torch.manual_seed((len(heard) + 1) // 2)
    assert len(segments) > 2
    assert ours == heard[0::2][: len(ours)]
    assert {silence(segment.pause, room.engine.sample_rate) for segment in segments} == set(heard[1::2])


def test_codes_in_company_are_upstream_s_greedy_ones(room, say):
    import torch

    greedy = {"batched": True, "do_sample": False}
    texts = ["你好。", "今天天气很好，我们一起去公园散步，晚上再回家吃饭！", "HELLO WORLD."]
    batch = [say(text, voice=index % 2, **greedy) for index, text in enumerate(texts)]
    engine = room.engine
    asked = [engine._asked(utterance) for utterance in batch]
    decoded = engine._groups.each([one.row for one in asked], engine._decode)
    gpt = room.upstream.gpt
    for one, codes in zip(asked, decoded, strict=True):
        named = {**one.question.named, "do_sample": False}
        with torch.no_grad():
            wanted, _ = gpt.inference_speech(*one.question.given, **named)
        assert codes.tolist() == wanted[0][: len(codes)].tolist()
        assert wanted[0][len(codes)] == gpt.stop_mel_token


def test_a_voice_is_computed_once(room, say, monkeypatch):
    spoken(room.engine, say("你好。", voice=0), say("你好。", voice=1))
    monkeypatch.setattr(room.engine._tts, "get_emb", None)
    spoken(room.engine, say("你好。", voice=0), say("你好。", voice=1))


def test_a_model_with_nothing_to_say_is_told_in_a_sentence(room, say):
    bias, stop = room.engine._tts.gpt.mel_head.bias, room.engine._tts.stop_mel_token
    kept = bias.detach().clone()
    try:
        bias.data[stop] += 1000
        batches = [[say("你好。", batched=batched, num_beams=1)] for batched in (False, True)]
        results = [room.engine.speak(batch)[0] for batch in batches]
    finally:
        bias.data.copy_(kept)
    assert [type(result) for result in results] == [SegmentError, SegmentError]
    assert all("nothing to say for" in result.message for result in results)


@pytest.mark.parametrize("batched", [False, True])
def test_feelings_are_heard(room, say, batched):
    vector = {"emo_vector": [0.6, 0, 0, 0, 0, 0, 0, 0]}
    said = [say("你好。", batched=batched, **how) for how in ({}, vector, {**vector, "emo_alpha": 0.2})]
    assert len({tuple(spoken(room.engine, one)[0]) for one in said}) == 3


def test_a_seed_means_the_same_for_a_voice_that_is_new(room, say):
    known = spoken(room.engine, say("你好。", seed=5))
    room.engine._voices._kept.clear()
    assert spoken(room.engine, say("你好。", seed=5)) == known


def test_a_feeling_s_recording_is_upstream_s(room, say):
    import torch

    utterance = say("你好。", seed=3, emo_audio="voice_330.wav", emo_alpha=0.7)
    files = [str(clip.file) for clip in room.clips]
    room.upstream.infer(files[0], "你好。", None, emo_audio_prompt=files[1])  # it shall know both
    torch.manual_seed(3)
    _, wanted = room.upstream.infer(files[0], "你好。", None, emo_audio_prompt=files[1], emo_alpha=0.7)
    ours = spoken(room.engine, dataclasses.replace(utterance, clips={"emo_audio": room.clips[1]}))
    assert ours == [array.array("h", wanted.tobytes())]


def test_a_described_feeling_needs_its_language_model(room):
    with pytest.raises(SpeechFailed, match=r"'emo_text' cannot be read: .* indextts-2"):
        room.engine.split("你好。", {"emo_text": "full of joy"})


def test_a_described_feeling_is_read_once_and_kept_in_the_segments(room, say, tmp_path, monkeypatch):
    reader = tmp_path / "qwen0.6bemo4-merge"
    qwen.build(reader)
    monkeypatch.setattr(room.engine._feelings, "_model_dir", tmp_path)
    told = say("你好。", emo_text="wie ein stiller See")
    monkeypatch.setattr(room.engine._feelings, "_reader", None)
    calm = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert told.segment.payload["emo_vector"] == calm
    shutil.rmtree(reader)
    assert spoken(room.engine, told) == spoken(room.engine, say("你好。", emo_vector=calm))


def test_marks_of_pronunciation_stay_as_they_are(room):
    (segment,) = room.engine.split("共465个，最zhong4要的。", {})
    assert segment.text == "共四百六十五个,最ZHONG4要的."


def lacking_a_layer(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    kept = {name: weight for name, weight in weights.items() if not name.startswith("encoder.layers.3.")}
    save_file(kept, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("gpt.pth", lambda file: shutil.copyfile(file.parent / "s2mel.pth", file)),
        ("s2mel.pth", lambda file: shutil.copyfile(file.parent / "gpt.pth", file)),
        ("hf_cache/w2v-bert-2.0/model.safetensors", lacking_a_layer),
    ],
)
def test_wrong_weights_are_told_in_a_sentence(room, tmp_path, file, damage):
    shutil.copytree(room.model_dir, tmp_path / "model", copy_function=os.link)
    damaged = tmp_path / "model" / file
    damaged.unlink()
    shutil.copyfile(room.model_dir / file, damaged)
    damage(damaged)
    with pytest.raises(EngineUnavailable, match=f"{Path(file).name} does not fit this engine"):
        SPEC.load(EngineSettings(tmp_path / "model", "cpu", {}, tmp_path / "cache"))
