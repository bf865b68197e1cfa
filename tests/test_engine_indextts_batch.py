"""Many segments at once: codes and sound of each are what they are alone, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.engines.base import Utterance
from tests.tiny import room15
from tests.tiny.room15 import Room15, message, samples

TEXTS = ("今天天气很好，我们去散步。", "HELLO WORLD", "你好，世界。今天我们一起去公园，晚上再回家吃饭！", "好天气")
#: Of 32768; the vocoder's input comes out of a matrix product of another shape.
ROUNDING = 2


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room15]:
    with room15.opened(tmp_path_factory, max_batch=8) as opened:
        yield opened


def batch(room: Room15, seed: int = 100, **options: Any) -> list[Utterance]:
    """Texts of several lengths in several voices, each with a seed of its own."""
    return [
        room.utterance(text, voice, seed + 10 * voice + number, batched=True, **options)
        for number, text in enumerate(TEXTS)
        for voice in (0, 1)
    ]


def speak(room: Room15, utterances: Sequence[Utterance]) -> list[np.ndarray]:
    return [samples(result) for result in room.engine.speak(utterances)]


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal length, and equal sound but for rounding."""
    return len(first) == len(second) and np.abs(first.astype(int) - second.astype(int)).max() <= ROUNDING


# --- codes ---------------------------------------------------------------------------------------------------------


def rows(room: Room15, **sampling: Any) -> list[Any]:
    from daemon.engines.indextts.decode import Row
    from daemon.engines.indextts.options import Options15

    conditioning = [room.upstream.conditioning(voice) for voice in room.voices]
    asked = Options15(**sampling).batched()
    return [
        Row(conditioning[number % 3], room.upstream.ids(text), asked, seed=number)
        for number, text in enumerate(TEXTS * 2)
    ]


def decoded(room: Room15, of: Sequence[Any]) -> list[list[int]]:
    from daemon.engines.indextts import decode, upstream

    with upstream.quiet():
        return [codes.tolist() for codes in decode.decode(room.upstream.tts.gpt, of)]


@pytest.mark.parametrize("beams", [1, 3])
def test_codes_of_a_search_are_upstreams_one_by_one(room: Room15, beams: int) -> None:
    together = decoded(room, rows(room, do_sample=False, num_beams=beams))
    for number, (codes, text) in enumerate(zip(together, TEXTS * 2, strict=True)):
        room.upstream.infer(room.voices[number % 3], text, do_sample=False, num_beams=beams)
        assert codes == room.upstream.said[0]
    assert len({len(codes) for codes in together}) > 1
    assert len({str(codes) for codes in together}) == len(together)


def test_drawn_codes_depend_on_the_rows_own_seed_and_on_nobody_else(room: Room15) -> None:
    of = rows(room)
    together = decoded(room, of)
    assert [decoded(room, [row])[0] for row in of] == together
    assert decoded(room, of[::-1])[::-1] == together
    assert decoded(room, of[2:5]) == together[2:5]


def test_noise_of_gumbel_draws_as_often_as_the_model_asks_for(room: Room15) -> None:
    import torch

    from daemon.engines.indextts.decode import RowGumbel

    logits = torch.tensor([[3.0, 2.0, 1.0, 0.5, -1.0]])
    draw = RowGumbel([4], temperature=2.0, top_k=3, top_p=1.0)
    drawn = torch.tensor([int(draw(torch.zeros(1, 1), logits).argmax()) for _ in range(4000)])
    frequencies = torch.bincount(drawn, minlength=5) / 4000
    wanted = torch.tensor([*torch.softmax(torch.tensor([1.5, 1.0, 0.5]), 0), 0, 0])
    assert torch.allclose(frequencies, wanted, atol=0.03)


# --- sound ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_a_search_sounds_as_upstream_alone(room: Room15, beams: int) -> None:
    options = {"do_sample": False, "num_beams": beams}
    spoken = speak(room, batch(room, **options))
    alone = [room.upstream.infer(room.voices[voice], text, **options) for text in TEXTS for voice in (0, 1)]
    assert all(map(same, spoken, alone))


def test_what_is_drawn_sounds_the_same_alone_in_another_order_and_in_other_company(room: Room15) -> None:
    utterances = batch(room)
    together = speak(room, utterances)
    assert all(map(same, together, [speak(room, [utterance])[0] for utterance in utterances]))
    assert all(map(same, together, speak(room, utterances[::-1])[::-1]))
    assert all(map(same, together[3:6], speak(room, utterances[3:6])))


def test_a_seed_gives_the_same_again_and_another_one_something_else(room: Room15) -> None:
    first, again, other = (speak(room, batch(room, seed)) for seed in (1, 1, 1000))
    assert all(map(np.array_equal, first, again))
    assert not any(map(same, first, other))


def test_more_than_fit_and_options_that_differ_are_grouped_and_answered_in_order(room: Room15) -> None:
    options = [{}, {"do_sample": False}, {"temperature": 3.0, "top_k": 50}, {"max_mel_tokens": 5}]
    utterances = [
        room.utterance(text, number % 3, number, batched=True, **asked)
        for number, (text, asked) in enumerate(zip(TEXTS * 4, [each for each in options for _ in TEXTS], strict=True))
    ]
    together = speak(room, utterances)
    assert len(utterances) > room.engine.max_batch
    assert all(map(same, together, [speak(room, [utterance])[0] for utterance in utterances]))
    assert {len(audio) for audio in together[12:]} == {5 * 1024}


def test_segments_of_both_modes_can_come_in_one_call(room: Room15) -> None:
    plain, together = room.utterance("HELLO WORLD", 1), room.utterance("HELLO WORLD", 0, batched=True)
    first, second, third = speak(room, [together, plain, together])
    assert np.array_equal(second, speak(room, [plain])[0])
    assert same(first, third)
    assert same(first, speak(room, [together])[0])


def test_a_row_that_cannot_be_spoken_hurts_only_itself(room: Room15, tmp_path: Path) -> None:
    (tmp_path / "letter.wav").write_text("no recording")
    good = batch(room)
    bad = room.utterance("HELLO WORLD", tmp_path / "letter.wav", batched=True)
    first, *rest, last = room.engine.speak([bad, *good, bad])
    assert message(first).startswith("the prompt 'letter.wav' cannot be used")
    assert message(last) == message(first)
    assert all(map(same, map(samples, rest), speak(room, good)))


def test_a_voice_is_computed_once_for_both_modes(room: Room15, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = [room.utterance("HELLO", voice, batched=batched) for voice in (0, 1) for batched in (False, True)]
    before = speak(room, utterances)
    tts = room.engine._tts
    for net in (tts.gpt.conditioning_encoder, next(tts.bigvgan.speaker_encoder.children())):
        monkeypatch.setattr(net, "forward", None)
    assert all(map(np.array_equal, before, speak(room, utterances)))


def test_rows_of_like_length_go_together(room: Room15) -> None:
    from daemon.engines.indextts.decode import Groups

    lengths: list[list[int]] = []

    def work(group: list[Any]) -> list[None]:
        lengths.append([len(row.tokens) for row in group])
        return [None] * len(group)

    Groups(2).each(rows(room), work)
    assert lengths == sorted(lengths)
    assert [len(set(pair)) for pair in lengths] == [1] * len(TEXTS)


# --- memory --------------------------------------------------------------------------------------------------------


def test_a_group_too_big_for_the_gpu_is_halved_once_and_the_smaller_size_is_remembered(room: Room15) -> None:
    import torch

    from daemon.engines.indextts.decode import Groups

    groups, tried, fits = Groups(8), [], 4

    def work(group: list[Any]) -> list[int]:
        tried.append(len(group))
        if len(group) > fits:
            raise torch.OutOfMemoryError("no memory")
        return [row.seed for row in group]

    of = rows(room)
    assert groups.each(of, work) == [row.seed for row in of]
    assert groups.each(of, work) == [row.seed for row in of]
    assert tried == [8, 4, 4, 4, 4]
    fits = 1
    with pytest.raises(torch.OutOfMemoryError):
        groups.each(of, work)
    assert tried[5:] == [4, 2]
