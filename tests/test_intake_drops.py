"""Dropped files as tasks: objects, batches and arrays, all of a file or nothing."""

from __future__ import annotations

import json

import pytest

from daemon.config import LimitsConfig
from daemon.errors import BadRequest
from daemon.intake import Intake
from daemon.prompts import Prompts
from tests.intake_room import SPEC, Counter


@pytest.fixture(scope="module")
def counter(tmp_path_factory, empty_ledger):
    counter = Counter(tmp_path_factory.mktemp("intake"), empty_ledger)
    yield counter
    counter.store.close()


def test_a_dropped_object_is_a_task_or_by_its_speeches_a_batch(counter):
    [task] = counter.drop({"text": "Hello.", "output_path": "x"})
    [batch] = counter.drop({"speeches": {"a.wav": "Hello."}, "output_directory": "dropped"})
    assert (task.batch, batch.batch) == (False, True)


def test_a_dropped_file_may_leave_its_folder_out(counter):
    task, batch = counter.drop([{"text": "Hello."}, {"speeches": {"a.wav": "x"}, "output_directory": None}], "a.b.JSON")
    assert task.directory == batch.directory == str(counter.root / "a.b")


def test_an_array_is_taken_in_its_order(counter):
    tasks = counter.drop([{"text": "Hello.", "seed": seed} for seed in (3, 1, 2)])
    assert [task.seed for task in tasks] == [3, 1, 2]
    assert [task.n for task in tasks] == list(range(tasks[0].n, tasks[0].n + 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text": " "}, "'text' is blank"),
        ({"text": "x", "prompt_path": "zz"}, "not found"),
        ({"text": "x", "output_path": "/"}, "output.roots"),
        ({"text": "x", "idempotency_key": 5}, "printable"),
        ({"speeches": {"a": "x"}}, "must end with .wav"),
        ("text", "must be a JSON object"),
        ([], "must be a JSON object"),
        (None, "must be a JSON object"),
    ],
)
def test_one_wrong_object_refuses_the_whole_array_by_its_index(counter, wrong, words):
    before = counter.store.accepted()
    with pytest.raises(BadRequest) as caught:
        counter.drop([{"text": "Good."}, wrong, {"text": "Good."}])
    assert words in str(caught.value)
    assert caught.value.index == 1
    assert counter.store.accepted() == before


def test_names_promised_twice_in_one_array_are_refused(counter):
    batch = {"speeches": {"a.wav": "x"}, "output_directory": "twice"}
    with pytest.raises(BadRequest) as caught:
        counter.drop([batch, batch])
    assert caught.value.index == 1


def test_an_empty_array_is_refused(counter):
    with pytest.raises(BadRequest, match="the array is empty"):
        counter.drop([])


def test_an_array_longer_than_the_queue_is_refused(counter):
    item = {"text": "a", "output_path": "x"}
    intake = counter.made(queue=2)
    with pytest.raises(BadRequest, match=r"an array of 3 tasks is too large; limits\.queue is 2"):
        intake.submit_drop(json.dumps([item] * 3).encode(), "uid-long", "long.json")
    assert len(intake.submit_drop(json.dumps([item] * 2).encode(), "uid-fits", "fits.json")) == 2


def test_broken_json_is_located(counter):
    with pytest.raises(BadRequest) as caught:
        counter.intake.submit_drop(b'[{"text": "x",}]', "broken", "x.json")
    assert (caught.value.line, caught.value.column) == (1, 15)


def test_a_key_in_a_dropped_file_is_the_key_of_the_header(counter):
    first = counter.single(key="door", output_path="x")
    [task] = counter.drop({"text": "Hello.", "output_path": "x", "idempotency_key": "door"})
    assert task.task_id == first.task_id


def test_checking_a_file_stores_and_makes_nothing(counter):
    checker = Intake(None, Prompts(counter.folder / "prompts", "random"), counter.outputs, SPEC, LimitsConfig())
    before = counter.store.accepted()
    found = checker.check(b'[{"text": "x", "output_path": "never"}, {"speeches": {"a.wav": "x"}}]', "check.json")
    assert [new.batch for new in found] == [False, True]
    with pytest.raises(BadRequest) as caught:
        checker.check(b'[{"text": "x"}, {"text": ""}]', "check.json")
    assert caught.value.index == 1
    assert counter.store.accepted() == before
    assert not (counter.root / "never").exists()
    assert not (counter.root / "check").exists()
