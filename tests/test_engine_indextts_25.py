"""IndexTTS 2.5 on a tiny random checkpoint, by the model's own code."""

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
from daemon.engines.base import Clip, EngineSettings, Segment, SegmentError, Utterance
from daemon.engines.indextts import SPECS
from daemon.errors import EngineUnavailable, SpeechFailed
from tests.tiny import qwen, room2, v25
from tests.tiny.room2 import Room2, spoken

pytestmark = pytest.mark.filterwarnings("default")

SPEC = next(spec for spec in SPECS if spec.name == "indextts-2.5")


def upstream_of(model_dir: Path) -> Any:
    from indextts25.infer_v2_5 import IndexTTS2

    return IndexTTS2(str(model_dir / "config.yaml"), str(model_dir), device="cpu")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room2:
    return room2.opened(tmp_path_factory, SPEC, v25.folder(tmp_path_factory), upstream_of)


@pytest.fixture
def say(room: Room2) -> Callable[..., Utterance]:
    return room.say


def test_a_segment_sounds_sample_for_sample_as_upstream(room, say):
    import torch

    utterance = say("你好，世界。", seed=7, lang="ZH")
    room.upstream.infer(str(room.clips[0].file), "Hm.", None, "EN")  # it shall know the voice
    torch.manual_seed(7)
    rate, wanted = room.upstream.infer(str(room.clips[0].file), "你好，世界。", None, "ZH")
    assert rate == room.engine.sample_rate
    assert spoken(room.engine, utterance) == [array.array("h", wanted.tobytes())]


def test_a_text_is_cut_and_joined_as_upstream_does(room):
    """Greedy codes, and the diffusion's noise made equal: what is left is how segments are put together."""
    import torch

    text = "The first sentence is here, and it goes on. The second one follows! And a third?"
    options = {"lang": "EN", "do_sample": False, "max_text_tokens_per_segment": 30}
    segments = room.engine.split(text, options)
    parts = []
    for segment in segments:
        with torch.random.fork_rng():
            (audio,) = room.engine.speak([Utterance(segment, room.clips[0], options, {}, 5)])
        parts.append(audio.pcm)
    joined = silence(segments[0].pause, room.engine.sample_rate).join(parts)
    torch.manual_seed(5)
    _, whole = room.upstream.infer(
        str(room.clips[0].file), text, None, "EN", do_sample=False, max_text_tokens_per_segment=30
    )
    assert len(segments) > 2
    assert len(joined) == len(whole.tobytes())
    assert joined[: len(parts[0]) + 2 * 4410] == whole.tobytes()[: len(parts[0]) + 2 * 4410]


def test_codes_in_company_are_upstream_s_greedy_ones(room, say):
    import torch

    greedy = {"lang": "EN", "do_sample": False}
    texts = ["Hello there.", "A much longer sentence than the others, it is.", "Hm!"]
    decoded = heard_codes(room, [say(text, index % 2, batched=True, **greedy) for index, text in enumerate(texts)])
    for index, text in enumerate(texts):
        wanted = upstream_codes(room, text, room.clips[index % 2], do_sample=False)
        assert torch.equal(decoded[index], wanted), text


def heard_codes(room: Room2, batch: list[Utterance]) -> list[Any]:
    """The codes that a batch is decoded to."""
    engine = room.engine
    return engine._groups.each([engine._asked(utterance).row for utterance in batch], engine._decode)


def upstream_codes(room: Room2, text: str, clip: Clip, **options: Any) -> Any:
    gpt, heard = room.upstream.gpt, []
    real = gpt.inference_speech
    gpt.inference_speech = lambda *args, **named: heard.append(real(*args, **named)) or heard[-1]
    try:
        room.upstream.infer(str(clip.file), text, None, "EN", **options)
    finally:
        gpt.inference_speech = real
    codes = heard[0][0]
    return codes[: (codes == gpt.stop_mel_token).nonzero()[0]]


def test_a_voice_is_computed_once(room, say, monkeypatch):
    spoken(room.engine, say("Hello.", voice=0), say("Hello.", voice=1))
    monkeypatch.setattr(room.engine._tts, "get_emb", None)
    spoken(room.engine, say("Hello.", voice=0), say("Hello.", voice=1))


def test_a_model_with_nothing_to_say_is_told_in_a_sentence(room, say):
    bias, stop = room.engine._tts.gpt.mel_head.bias, room.engine._tts.stop_mel_token
    kept = bias.detach().clone()
    try:
        bias.data[stop] += 1000
        batches = [[say("Hello.", batched=batched, num_beams=1)] for batched in (False, True)]
        results = [room.engine.speak(batch)[0] for batch in batches]
    finally:
        bias.data.copy_(kept)
    assert [type(result) for result in results] == [SegmentError, SegmentError]
    assert all("nothing to say for 'hello.'" in result.message for result in results)


FEELINGS = [{"emo_vector": [0.6, 0, 0, 0, 0, 0, 0, 0]}, {"emo_vector": [0, 0.6, 0, 0, 0, 0, 0, 0]}]


def test_feelings_reach_the_model(room, say):
    """A random model of this size does not change its words for them: what it is given must differ."""
    said = [say("Hello.", batched=True, **how) for how in ({}, *FEELINGS, {**FEELINGS[0], "emo_alpha": 0.2})]
    given = [room.engine._asked(utterance).row.conditioning for utterance in said]
    assert len({tuple(conditioning.flatten().tolist()) for conditioning in given}) == 4


def test_a_seed_means_the_same_for_a_voice_that_is_new(room, say):
    known = spoken(room.engine, say("Hello.", seed=5))
    room.engine._voices._kept.clear()
    assert spoken(room.engine, say("Hello.", seed=5)) == known


def test_a_feeling_s_weights_are_upstream_s(room, say):
    import torch

    how = {**FEELINGS[1], "emo_alpha": 0.7}
    torch.manual_seed(3)
    _, wanted = room.upstream.infer(str(room.clips[0].file), "Hello.", None, "EN", **how)
    assert spoken(room.engine, say("Hello.", seed=3, lang="EN", **how)) == [array.array("h", wanted.tobytes())]


def test_a_feeling_s_recording_is_upstream_s(room, say):
    import torch

    options = {"lang": "EN", "emo_audio": "voice_330.wav", "emo_alpha": 0.7}
    utterance = dataclasses.replace(say("Hello.", seed=3, **options), clips={"emo_audio": room.clips[1]})
    files = [str(clip.file) for clip in room.clips]
    room.upstream.infer(files[0], "Hm.", None, "EN", emo_audio_prompt=files[1])  # it shall know both
    torch.manual_seed(3)
    _, wanted = room.upstream.infer(files[0], "Hello.", None, "EN", emo_audio_prompt=files[1], emo_alpha=0.7)
    assert spoken(room.engine, utterance) == [array.array("h", wanted.tobytes())]


def test_a_described_feeling_needs_its_language_model(room):
    with pytest.raises(SpeechFailed, match=r"'emo_text' cannot be read: .* indextts-2\.5"):
        room.engine.split("Hello.", {"emo_text": "full of joy"})


def test_a_described_feeling_is_read_once_and_kept_in_the_segments(room, say, tmp_path, monkeypatch):
    reader = tmp_path / "qwen0.6bemo4-merge"
    qwen.build(reader)
    monkeypatch.setattr(room.engine._feelings, "_model_dir", tmp_path)
    told = say("Hello.", emo_text="wie ein stiller See")
    monkeypatch.setattr(room.engine._feelings, "_reader", None)
    calm = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert told.segment.payload["emo_vector"] == calm
    shutil.rmtree(reader)
    assert spoken(room.engine, told) == spoken(room.engine, say("Hello.", emo_vector=calm))


def test_a_duration_factor_makes_it_longer_and_shorter(room, say):
    short, plain, long = (
        len(spoken(room.engine, say("Hello.", lang="EN", do_sample=False, **how))[0])
        for how in ({"duration_factor": 0.8}, {}, {"duration_factor": 1.5})
    )
    assert short < plain < long


def test_marks_of_pronunciation_stay_whole(room):
    text = "我在银<行|XING2>里，银<行|HANG2>里，<going|G OW1 . IH0 NG>，还有很多很多别的话要说。" * 3
    segments = room.engine.split(text, {"max_text_tokens_per_segment": 40})
    assert len(segments) > 3
    marks = [piece for segment in segments for piece in segment.text.split("<|SPECIAL_TOKEN_2|>")[1::2]]
    assert marks == ["XING2", "HANG2"] * 3
    assert sum(segment.text.count("<|SPECIAL_TOKEN_1|>G OW1 . IH0 NG<|SPECIAL_TOKEN_1|>") for segment in segments) == 3


def test_numbers_are_read(room):
    (chinese,) = room.engine.split("共465篇", {})
    (english,) = room.engine.split("It costs $12.5.", {})
    assert chinese.text == "共四百六十五篇"
    assert english.text == "it costs twelve point five dollars."


def test_the_language_found_is_the_one_spoken(room):
    (segment,) = room.engine.split("Buenos días a todos", {})
    assert (segment.payload["lang"], segment.text) == ("ES", "BUENOS DÍAS A TODOS")
    (asked,) = room.engine.split("Buenos días a todos", {"lang": "en"})
    assert asked.payload["lang"] == "EN"


def test_segments_know_their_size_and_pause(room):
    segments = room.engine.split("One sentence here. Another sentence there.", {"max_text_tokens_per_segment": 25})
    assert len(segments) > 1
    assert {segment.pause for segment in segments} == {0.2}
    assert all(0 < segment.size <= 25 for segment in segments)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("…… ！？", {}, "nothing to speak"),
        ("<word|" + "X" * 700 + ">", {}, "a segment has 7.. text tokens, but the model takes at most 600"),
    ],
)
def test_what_cannot_be_spoken_is_told_in_a_sentence(room, text, options, said):
    with pytest.raises(SpeechFailed, match=said):
        room.engine.split(text, options)


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("gpt.pth", lambda file: file.write_bytes(file.read_bytes()[:-1000]), "gpt.pth"),
        ("codec.pth", lambda file: shutil.copy(file.parent / "s2mel.pth", file), "codec.pth"),
        ("hf_cache/campplus_cn_common.bin", Path.unlink, "campplus_cn_common.bin"),
        ("s2mel.pth", lambda file: shutil.copy(file.parent / "codec.pth", file), "s2mel.pth"),
    ],
)
def test_wrong_weights_are_told_in_a_sentence(room, tmp_path, file, damage, said):
    shutil.copytree(room.model_dir, tmp_path / "model", copy_function=os.link, ignore=lambda *_: ["cache"])
    damaged = tmp_path / "model" / file
    damaged.unlink()
    shutil.copyfile(room.model_dir / file, damaged)
    damage(damaged)
    with pytest.raises(EngineUnavailable, match=said):
        SPEC.load(EngineSettings(tmp_path / "model", "cpu", {}, tmp_path / "cache"))


def test_the_payload_survives_its_way_through_json(room, say):
    import json

    utterance = say("Hello there.", seed=4, lang="EN")
    segment = Segment(**json.loads(json.dumps(dataclasses.asdict(utterance.segment))))
    assert spoken(room.engine, dataclasses.replace(utterance, segment=segment)) == spoken(room.engine, utterance)
