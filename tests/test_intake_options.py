"""A request's `options` are judged at the door, against the configured engine, while the GPU sleeps."""

from __future__ import annotations

import pytest

from daemon.engines import SPECS
from daemon.engines.indextts.options import Options2, Options15, Options25
from daemon.errors import BadRequest
from tests.intake_room import Counter

ALL = ["indextts-1.5", "indextts-2", "indextts-2.5"]
FEELING = ["indextts-2", "indextts-2.5"]
CALM = [0, 0, 0, 0, 0, 0, 0.45, 0.2]


@pytest.fixture(scope="module")
def counter(tmp_path_factory, empty_ledger):
    counter = Counter(tmp_path_factory.mktemp("intake"), empty_ledger)
    yield counter
    counter.store.close()


def ask(counter, engine, options, **keys):
    counter.single(counter.made(spec=SPECS[engine]), options=options, **keys)


def refusal(counter, engine, options, **keys):
    with pytest.raises(BadRequest) as refused:
        ask(counter, engine, options, **keys)
    return str(refused.value)


GOOD = [
    {},
    {"do_sample": True, "temperature": 0.7, "top_k": 10, "top_p": 0.5, "num_beams": 3, "repetition_penalty": 2.0},
    {"max_mel_tokens": 300, "max_text_tokens_per_segment": 60},
    {"temperature": 1, "top_p": 1, "repetition_penalty": 10},
    {"temperature": None, "num_beams": None},
]
GOOD_FEELINGS = [
    {"emo_audio": "bob.wav"},
    {"emo_audio": "bob.wav", "emo_alpha": 0.5},
    {"emo_vector": CALM},
    {"emo_text": "quietly amused", "emo_alpha": 1},
    {"emo_audio": None, "emo_vector": None, "emo_text": None, "emo_alpha": None},
]


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("options", GOOD, ids=str)
def test_sampling_is_taken_by_every_version(counter, engine, options):
    ask(counter, engine, options)


@pytest.mark.parametrize("engine", FEELING)
@pytest.mark.parametrize("options", GOOD_FEELINGS, ids=str)
def test_feelings_are_taken_by_2_and_25(counter, engine, options):
    ask(counter, engine, options)


@pytest.mark.parametrize("lang", ["ZH", "en", "Ja", "es", "AR", None])
def test_a_language_is_taken_by_25_in_any_case(counter, lang):
    ask(counter, "indextts-2.5", {"lang": lang, "duration_factor": 1.2})


BAD = [
    ({"temperature": 0}, "'options': 'temperature' must be at least 0.01"),
    ({"temperature": "hot"}, "'options': 'temperature' must be a number"),
    ({"temperature": 5.1}, "'options': 'temperature' must be at most 5"),
    ({"top_k": 0}, "'options': 'top_k' must be at least 1"),
    ({"top_k": 1.5}, "'options': 'top_k' must be a whole number"),
    ({"top_p": 0}, "'options': 'top_p' must be more than 0"),
    ({"top_p": 1.01}, "'options': 'top_p' must be at most 1"),
    ({"num_beams": 0}, "'options': 'num_beams' must be at least 1"),
    ({"num_beams": 11}, "'options': 'num_beams' must be at most 10"),
    ({"repetition_penalty": -1}, "'options': 'repetition_penalty' must be at least 0.1"),
    ({"max_mel_tokens": 0}, "'options': 'max_mel_tokens' must be at least 1"),
    ({"max_text_tokens_per_segment": 4}, "'options': 'max_text_tokens_per_segment' must be at least 5"),
    ({"max_text_tokens_per_segment": 601}, "'options': 'max_text_tokens_per_segment' must be at most 600"),
    ({"do_sample": 1}, "'options': 'do_sample' must be true or false"),
    ({"temprature": 1}, "'options': unknown key 'temprature'; did you mean 'temperature'?"),
    ({"fp16": True}, "'options': unknown key 'fp16'"),
    ({"precision": "fp16"}, "'options': unknown key 'precision'"),
]


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize(("options", "sentence"), BAD, ids=str)
def test_wrong_sampling_is_refused_with_the_key(counter, engine, options, sentence):
    assert refusal(counter, engine, options).startswith(sentence)


BAD_FEELINGS = [
    ({"emo_vector": [0.1] * 7}, "'options': 'emo_vector' must be 8 numbers from 0 to 1"),
    ({"emo_vector": [0.1] * 7 + [1.1]}, "'options': 'emo_vector' must be 8 numbers from 0 to 1"),
    ({"emo_vector": [-0.1] + [0.1] * 7}, "'options': 'emo_vector' must be 8 numbers from 0 to 1"),
    ({"emo_vector": [0.2] * 8}, "'options': the weights of 'emo_vector' add up to 1.6; 1 is the most"),
    ({"emo_audio": "nobody.wav"}, "Specified prompt 'nobody.wav' not found."),
    ({"emo_audio": "../prompts/bob.wav"}, "Specified prompt '../prompts/bob.wav' not found."),
    ({"emo_audio": ""}, "'options': 'emo_audio' must not be empty"),
    ({"emo_text": "sad", "emo_vector": CALM}, "'options': 'emo_vector' and 'emo_text' exclude each other"),
    ({"emo_audio": "bob.wav", "emo_text": "sad"}, "'options': 'emo_audio' and 'emo_text' exclude each other"),
    ({"emo_alpha": 0.5}, "'options': 'emo_alpha' says how much of a feeling"),
    ({"emo_audio": "bob.wav", "emo_alpha": 1.5}, "'options': 'emo_alpha' must be at most 1"),
]


@pytest.mark.parametrize("engine", FEELING)
@pytest.mark.parametrize(("options", "sentence"), BAD_FEELINGS, ids=str)
def test_wrong_feelings_are_refused_with_the_key(counter, engine, options, sentence):
    assert refusal(counter, engine, options).startswith(sentence)


@pytest.mark.parametrize("key", ["emo_audio", "emo_vector", "emo_text", "emo_alpha", "lang", "duration_factor"])
def test_15_knows_neither_feelings_nor_languages(counter, key):
    assert refusal(counter, "indextts-1.5", {key: 1}).startswith(f"'options': unknown key '{key}'")


def test_who_sends_another_engines_option_is_told_which_engines_know_it(counter):
    told = "'? It is an option of indextts-2, indextts-2.5, and the engine here is indextts-1.5"
    assert refusal(counter, "indextts-1.5", {"emo_vector": CALM}).endswith(told)
    assert refusal(counter, "indextts-1.5", {"temprature": 1}).endswith("did you mean 'temperature'?")


def test_an_unknown_language_is_refused_with_the_known_ones(counter):
    assert "'ZH'" in refusal(counter, "indextts-2.5", {"lang": "fr"})


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 2, "do_sample": True}], ids=str)
def test_sampling_with_beams_is_refused_in_batch_mode_only(counter, engine, options):
    sentence = refusal(counter, engine, options, infer_mode="批次推理")
    assert sentence.startswith(
        f"'options': 'num_beams' {options['num_beams']} with sampling is not possible in 批次推理"
    )
    ask(counter, engine, options, infer_mode="普通推理")


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 3, "do_sample": False}, {"do_sample": False}, {}])
def test_one_beam_or_a_greedy_search_is_taken_in_batch_mode(counter, engine, options):
    ask(counter, engine, options, infer_mode="批次推理")


def test_2_refuses_a_greedy_search_that_its_own_infer_would_ignore(counter):
    assert "always samples" in refusal(counter, "indextts-2", {"do_sample": False})


@pytest.mark.parametrize(
    ("options", "beams"), [({}, 1), ({"do_sample": False}, 3), ({"do_sample": False, "num_beams": 2}, 2)]
)
def test_batches_follow_one_sampled_beam_or_upstreams_number_of_greedy_ones(options, beams):
    assert Options15(**options).batched()["num_beams"] == beams


def test_the_defaults_are_each_versions_own():
    assert (Options15().batched()["temperature"], Options15().batched()["max_mel_tokens"]) == (1.0, 600)
    for table in (Options2, Options25):
        assert (table().batched()["temperature"], table().batched()["max_mel_tokens"]) == (0.8, 1500)
    assert Options15().given() == {}
