"""The one counter: what either door brings becomes tasks in the ledger, all of it or nothing."""

from __future__ import annotations

import json
import threading

import pytest

from daemon.config import LimitsConfig
from daemon.errors import BadRequest, QueueFull
from daemon.intake import Intake
from daemon.prompts import Prompts
from daemon.store import Store
from daemon.tasks import Receipt, parse_id
from tests.intake_room import SPEC, Counter
from tests.live import write_wav


@pytest.fixture(scope="module")
def counter(tmp_path_factory, empty_ledger):
    counter = Counter(tmp_path_factory.mktemp("intake"), empty_ledger)
    yield counter
    counter.store.close()


def number(receipt: Receipt) -> int:
    n = parse_id(receipt.task_id)
    assert n is not None
    return n


# What a request leaves open


def test_an_accepted_task_has_its_voice_and_seed_fixed(counter):
    seeds = set()
    for _ in range(3):
        counter.single()
        task = counter.last()
        assert task.prompt in ("alice.wav", "bob.wav")
        assert 0 <= task.seed < 2**32
        seeds.add(task.seed)
    assert len(seeds) > 1


def test_what_a_request_names_is_kept(counter):
    counter.single(prompt_name="bob.wav", seed=0, priority=9, format="mp3", infer_mode="批次推理")
    task = counter.last()
    assert (task.prompt, task.seed, task.priority, task.format) == ("bob.wav", 0, 9, "mp3")
    assert task.infer_mode == "批次推理"


def test_null_is_as_good_as_absent(counter):
    keys = ("prompt_path", "prompt_name", "seed", "priority", "format", "options", "infer_mode")
    counter.single(**dict.fromkeys(keys))
    assert (counter.last().priority, counter.last().format) == (5, "wav")


def test_the_configured_voice_speaks_when_none_is_named(counter):
    counter.single(counter.made("bob.wav"))
    assert counter.last().prompt == "bob.wav"


def test_round_robin_takes_the_voices_in_turn(counter):
    intake = counter.made("round_robin")
    assert [counter.single(intake) and counter.last().prompt for _ in range(3)] == ["alice.wav", "bob.wav", "alice.wav"]


def test_the_engines_options_are_kept_without_nulls(counter):
    counter.single(options={"speed": 2, "style": None})
    claims = iter(counter.store.claim, None)
    assert next(claim for claim in claims if claim.task_id == counter.last().task_id).options == {"speed": 2}


# Refusals


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"options": {"sped": 1}}, "'options': unknown key 'sped'; did you mean 'speed'?"),
        ({"options": {"unknown": None}}, "'options': unknown key 'unknown'"),
        ({"options": {"speed": 0}}, "'options': 'speed' must be more than 0"),
        ({"options": {"speed": "fast"}}, "'options': 'speed' must be a number"),
        ({"options": []}, "'options' must be an object"),
        ({"prompt_path": "zz.wav"}, "Specified prompt 'zz.wav' not found."),
        ({"prompt_path": "../prompts/alice.wav"}, "Specified prompt '../prompts/alice.wav' not found."),
        ({"prompt_path": ""}, "Specified prompt '' not found."),
        ({"text": "x" * 100_001}, "a text of 100001 characters is too long; limits.text_chars allows 100000"),
        ({"output_path": "/elsewhere"}, "output.roots"),
        ({"idempotency_key": "x"}, "unknown key 'idempotency_key'"),
    ],
)
def test_a_wrong_request_is_refused_and_does_not_count(counter, keys, words):
    before = counter.store.accepted()
    with pytest.raises(BadRequest) as caught:
        counter.single(**keys)
    assert words in str(caught.value)
    assert counter.store.accepted() == before


def test_the_longest_text_is_counted_in_characters(counter):
    assert counter.single(text="好" * 100_000)


def test_the_limit_holds_for_every_text_of_a_batch(counter):
    with pytest.raises(BadRequest, match="6 characters is too long"):
        body = {"output_directory": "long", "speeches": {"a.wav": "x", "b.wav": "xxxxxx"}}
        counter.made(text_chars=5).submit(json.dumps(body).encode(), batch=True, key=None)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b'[{"text": "x", "output_path": "x"}]'])
def test_a_body_must_be_one_object(counter, body):
    with pytest.raises(BadRequest, match="one JSON object"):
        counter.intake.submit(body, batch=False, key=None)


def test_without_any_prompt_nothing_is_accepted(counter, tmp_path):
    intake = Intake(counter.store, Prompts(tmp_path, "random"), counter.outputs, SPEC, LimitsConfig())
    with pytest.raises(BadRequest, match=r"^No prompt audio files found in the 'prompts' directory\.$"):
        counter.single(intake)


def test_a_full_queue_refuses_what_is_new_but_knows_what_it_has(counter):
    first = counter.single(key="full")
    intake = counter.made(queue=1)
    with pytest.raises(QueueFull):
        counter.single(intake)
    assert counter.single(intake, key="full") == first
    assert not intake.has_room()
    assert counter.intake.has_room()


def test_who_finds_the_queue_full_leaves_no_folder(counter):
    counter.single()
    with pytest.raises(QueueFull):
        counter.single(counter.made(queue=1), output_path="refused/for/now")
    assert not (counter.root / "refused").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({f"k{n}": 1 for n in range(101)}, "the request has 103 keys"),
        ({"options": {f"k{n}": 1 for n in range(101)}}, "'options' has 101 keys"),
    ],
    ids=["of ours", "of the engine's"],
)
def test_a_crowd_of_keys_is_refused_before_each_is_looked_at(counter, more, words):
    with pytest.raises(BadRequest, match=words):
        counter.single(**more)


# Names of a batch's files


def test_a_promised_name_is_refused_wherever_the_folder_is_written(counter):
    counter.batch("promised", "a.wav", "b.wav")
    for folder in ("promised/", "./promised", str(counter.root / "promised"), "x/../promised"):
        with pytest.raises(BadRequest, match=r"another unfinished batch will write b\.wav"):
            counter.batch(folder, "b.wav", "c.wav")
    assert counter.batch("promised", "c.wav")
    assert counter.batch("promised", "a.wav", overwrite=True)


def test_a_promise_ends_with_its_batch(counter):
    counter.store.cancel(counter.batch("ended", "a.wav").task_id)
    assert counter.batch("ended", "a.wav")


def test_a_name_that_exists_is_refused_unless_it_may_be_replaced(counter):
    (counter.root / "there").mkdir()
    (counter.root / "there" / "a.wav").symlink_to("nowhere")
    with pytest.raises(BadRequest, match=r"a\.wav exists already"):
        counter.batch("there", "a.wav", "b.wav")
    assert counter.batch("there", "a.wav", "b.wav", overwrite=True).total_files == 2


# Idempotency keys


def test_the_same_key_and_body_is_the_first_task_again(counter):
    first = counter.single(key="again", seed=1)
    before = counter.store.accepted()
    body = b'{ "seed":1,"prompt_path":null, "output_path":"x","text":"Hello\\u002e" }'
    assert counter.intake.submit(body, batch=False, key="again") == first
    assert counter.store.accepted() == before


def test_a_replay_does_not_care_what_became_of_prompt_and_folder(counter):
    write_wav(counter.folder / "prompts" / "carol.wav")
    first = counter.single(key="gone", prompt_path="carol.wav")
    (counter.folder / "prompts" / "carol.wav").unlink()
    assert counter.single(key="gone", prompt_path="carol.wav") == first


def test_a_replay_does_not_care_what_became_of_the_limits(counter):
    first = counter.single(key="limits", text="A longer text.")
    assert counter.single(counter.made(text_chars=1), key="limits", text="A longer text.") == first


def test_a_replayed_batch_is_not_refused_for_its_own_names(counter):
    first = counter.batch("own", "a.wav", key="own")
    (counter.root / "own" / "a.wav").touch()
    assert counter.batch("own", "a.wav", key="own") == first


@pytest.mark.parametrize("other", [{"text": "Other."}, {"seed": 1}, {"output_path": "y"}])
def test_a_key_with_another_body_is_refused(counter, other):
    counter.single(key=f"other {other}")
    with pytest.raises(BadRequest, match="used for another request"):
        counter.single(key=f"other {other}", **other)


def test_a_key_is_one_for_tasks_and_batches(counter):
    counter.single(key="both")
    with pytest.raises(BadRequest, match="used for another request"):
        counter.batch("both", "a.wav", key="both")


def test_a_refused_request_does_not_use_up_its_key(counter):
    with pytest.raises(BadRequest):
        counter.single(key="later", prompt_path="zz.wav")
    assert counter.single(key="later", prompt_path="bob.wav")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0", "\u200b"])
def test_a_key_is_1_to_255_printable_characters(counter, key):
    with pytest.raises(BadRequest, match="1 to 255 printable"):
        counter.single(key=key)


def test_one_key_from_many_threads_is_one_task(counter):
    before = counter.store.accepted()
    start, found = threading.Barrier(12), []

    def post():
        start.wait()
        found.append(counter.single(key="crowd"))

    threads = [threading.Thread(target=post) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert len(set(found)) == 1
    assert counter.store.accepted() == before + 1


def test_numbers_count_from_0_without_gaps(tmp_path, empty_ledger):
    counter = Counter(tmp_path, empty_ledger)
    found = [counter.single(key="a"), counter.batch("x", "a.wav"), counter.single(key="a")]
    with pytest.raises(BadRequest):
        counter.single(text="")
    with pytest.raises(BadRequest):
        counter.batch("x", "a.wav")
    found.append(counter.single())
    assert [number(receipt) for receipt in found] == [0, 1, 0, 2]
    counter.store.close()
    counter.store = Store(tmp_path / "ledger.db")
    assert number(counter.single(counter.made())) == 3
    counter.store.close()
